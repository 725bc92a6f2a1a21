"""What all sources have in common."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any, Protocol

_LONGEST_PAUSE = 60.0


class Source(Protocol):
    """A stream of messages."""

    name: str
    """Under which its cursor is kept."""

    @property
    def garbage(self) -> int:
        """Records that held no message."""

    @property
    def live(self) -> bool:
        """Whether it has nothing older to hand over than what happens now."""

    def arrivals(self, cursor: Any) -> AsyncIterator[Any]:
        """The `Arrival`s after `cursor` (None: from the start, or from now); ends when the source does."""


def pause(attempt: int) -> float:
    """Seconds to wait before the attempt after `attempt` failed ones: exponential with full jitter (Brooker 2015)."""
    return random.uniform(0, min(_LONGEST_PAUSE, 2.0 ** min(attempt, 6)))
