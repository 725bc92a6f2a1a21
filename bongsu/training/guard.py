"""The guard: a step whose loss or gradient is no number, or whose loss leaps, does not touch the weights.

What it remembers is part of the loop's `State`, so that a run that was killed and goes on judges each step as it would have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bongsu.recipe import Optimization

SMOOTHING = 0.95  # of the usual loss: about the last twenty steps
SLOWER = 0.5  # learning rate after going back to a checkpoint
MOST_ROLLBACKS = 3


@dataclass
class Guard:
    """Judges each step by its loss and the norm of its gradient."""

    usual_loss: float | None = None
    """Exponential mean of the loss of good steps."""
    skipped: int = 0
    """Steps left out so far."""
    in_a_row: int = 0
    rollbacks: int = 0

    def accepts(self, loss: float, norm: float, spike: float | None) -> bool:
        """Whether a step may change the weights; counts it if not."""
        usual = loss if self.usual_loss is None else self.usual_loss
        if not (math.isfinite(loss) and math.isfinite(norm)) or (spike is not None and loss > spike * usual):
            self.skipped += 1
            self.in_a_row += 1
            return False
        self.usual_loss = SMOOTHING * usual + (1 - SMOOTHING) * loss
        self.in_a_row = 0
        return True

    def gives_up(self, settings: Optimization) -> bool:
        """Whether so many steps in a row were left out that going on makes no sense."""
        return self.in_a_row >= settings.max_skipped

    def may_roll_back(self, settings: Optimization) -> bool:
        return settings.on_divergence == "rollback" and self.rollbacks < MOST_ROLLBACKS

    def rolled_back(self, before: Guard) -> None:
        """Called on a checkpoint's guard: what happened since stays counted."""
        self.skipped, self.in_a_row, self.rollbacks = before.skipped, 0, before.rollbacks + 1

    @property
    def learning_rate_factor(self) -> float:
        return SLOWER**self.rollbacks
