"""Averages of a model's weights over training, evaluated and kept instead of the last ones."""

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
        live: the model that is trained.
        share: the share of the newest weights in the average, as a function of the steps taken.
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
        """Add the current weights to the average; call after each step."""
        self.steps += 1
        share = self.share(int(self.steps))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.live.parameters()), share)


def exponential(decay: float) -> Callable[[int], float]:
    """Return the shares of an exponential moving average, shorter at first so that the initial weights fade quickly."""
    return lambda steps: 1.0 - min(decay, (1.0 + steps) / (10.0 + steps))


def mean_from(start: int) -> Callable[[int], float]:
    """Return the shares of the plain mean of weights after step `start` (SWA, Izmailov et al. 2018); before, the newest."""
    return lambda steps: 1.0 / max(1, steps - start)
