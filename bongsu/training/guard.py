"""Skipping bad steps: a step whose loss or gradient is not finite, or whose loss spikes, does not change the weights.

The guard is part of the loop's `State`, so a resumed run judges each step as the uninterrupted run would have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bongsu.recipe import Optimization

SMOOTHING = 0.95  # of the usual loss: about the last twenty steps
SLOWER = 0.5  # factor on the learning rate after a rollback
MOST_ROLLBACKS = 3


@dataclass
class Guard:
    """Judges each step by its loss and the norm of its gradient."""

    usual_loss: float | None = None
    """Exponential mean of the loss of good steps."""
    skipped: int = 0
    """Steps skipped so far."""
    in_a_row: int = 0
    rollbacks: int = 0

    def accepts(self, loss: float, norm: float, spike: float | None) -> bool:
        """Return whether a step may change the weights; count it if not."""
        usual = loss if self.usual_loss is None else self.usual_loss
        if not (math.isfinite(loss) and math.isfinite(norm)) or (spike is not None and loss > spike * usual):
            self.skipped += 1
            self.in_a_row += 1
            return False
        self.usual_loss = SMOOTHING * usual + (1 - SMOOTHING) * loss
        self.in_a_row = 0
        return True

    def gives_up(self, settings: Optimization) -> bool:
        """Return whether `max_skipped` steps in a row were skipped."""
        return self.in_a_row >= settings.max_skipped

    def may_roll_back(self, settings: Optimization) -> bool:
        """Return whether training may continue from the last checkpoint at a lower learning rate."""
        return settings.on_divergence == "rollback" and self.rollbacks < MOST_ROLLBACKS

    def rolled_back(self, before: Guard) -> None:
        """Carry the counts over to the guard of the checkpoint that was rolled back to."""
        self.skipped, self.in_a_row, self.rollbacks = before.skipped, 0, before.rollbacks + 1

    @property
    def learning_rate_factor(self) -> float:
        """The factor on the learning rate after rollbacks."""
        return SLOWER**self.rollbacks
