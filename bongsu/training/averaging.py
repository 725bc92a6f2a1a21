"""Averages of a model's weights over its training, to be measured and kept instead of the last ones."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

ModelT = TypeVar("ModelT", bound=nn.Module)


class Averaged(nn.Module, Generic[ModelT]):
    """A model and an average of its weights, in one module, so that a checkpoint holds both.

    Args:
        live: what is trained.
        share: how much of the average the newest weights are, by the number of steps taken; 1 leaves nothing of the older.
    """

    steps: Tensor

    def __init__(self, live: ModelT, share: Callable[[int], float]) -> None:
        super().__init__()
        self.live = live
        self.average = copy.deepcopy(live).requires_grad_(False)
        self.share = share
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self) -> None:
        """To be called after each step."""
        self.steps += 1
        share = self.share(int(self.steps))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.live.parameters()), share)


def exponential(decay: float) -> Callable[[int], float]:
    """An exponential moving average. It begins short, or the first random weights would stay in it for long."""
    return lambda steps: 1.0 - min(decay, (1.0 + steps) / (10.0 + steps))


def mean_from(start: int) -> Callable[[int], float]:
    """The plain mean of the weights after each step past `start` (Izmailov et al. 2018, section 3.1); before, the newest."""
    return lambda steps: 1.0 / max(1, steps - start)
