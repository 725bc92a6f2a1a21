"""What the training loop can train."""

from __future__ import annotations

from typing import Any, Protocol

from torch import nn

from bongsu.training.log import Outcome
from bongsu.training.optimizers import ParameterGroup


class Trainable(Protocol):
    """A model with its data and its loss."""

    @property
    def model(self) -> nn.Module:
        """The module to train and to save."""

    def batch(self, n: int) -> Any:
        """Return batch `n`, a pure function of `n`, or this process's share of it; called in the background."""

    def loss(self, batch: Any) -> Outcome:
        """Return the loss of a batch; called under autocast."""

    def evaluate(self) -> dict[str, float]:
        """Return metrics on held-out data; called in evaluation mode, without gradients, under autocast."""

    def groups(self) -> list[ParameterGroup]:
        """Return parameter groups, each with its `peak` learning rate."""

    def after_step(self) -> None:
        """Do what is due after each optimizer step, such as bounding norms."""
