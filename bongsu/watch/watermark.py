"""Up to when all messages have come: for each source and partition by itself, and for all of them.

A message's delay is the clock's time when it came less its own. A source has come as far as the clock less the median delay
of its latest messages: so one message dated into the future moves nothing, and a slow source moves with the clock. While a
source is behind or away the clock stands still for it. Of all sources the one that is least far counts; one that is away and
has been silent for a minute is no longer waited for.
"""

from __future__ import annotations

import math
import statistics
from collections import deque

_LATEST = 15
_ENOUGH = 8
"""Of fewer delays the longest is taken."""
_IDLE = 60.0
Key = tuple[str, str]
"""A source's name and a partition."""


class _Progress:
    def __init__(self, now: float) -> None:
        self.delays: deque[float] = deque(maxlen=_LATEST)
        self.seen = now
        self.reached = -math.inf


class Watermarks:
    """How far each source has come. Times are seconds since 1970; a replay gives a clock that stands still."""

    def __init__(self, idle: float = _IDLE) -> None:
        """Args: idle: seconds after which a silent source that is away is not waited for."""
        self._idle = idle
        self._progress: dict[Key, _Progress] = {}
        self._slowest = -math.inf

    def expect(self, key: Key, now: float) -> None:
        """Wait for a source from now on."""
        self._progress.setdefault(key, _Progress(now))

    def observe(self, key: Key, time: float, now: float) -> None:
        """Take in a message's time."""
        self.expect(key, now)
        progress = self._progress[key]
        progress.delays.append(now - time)
        progress.seen = now

    def touch(self, key: Key, now: float) -> None:
        """Note that a source is at work, though what it has waits elsewhere."""
        if key in self._progress:
            self._progress[key].seen = now

    def end(self, source: str) -> None:
        """Wait for a source no longer."""
        self._progress = {key: progress for key, progress in self._progress.items() if key[0] != source}

    def reached(self, live: frozenset[str], now: float) -> float:
        """Return the time up to which all have come; -inf when that is not known.

        Args:
            live: the sources that have nothing older than what happens now.
        """
        found = []
        for (source, _), progress in self._progress.items():
            if source not in live and now - progress.seen > self._idle:
                continue
            if progress.delays:
                enough = len(progress.delays) >= _ENOUGH
                delay = statistics.median_high(progress.delays) if enough else max(progress.delays)
                progress.reached = max(progress.reached, (now if source in live else progress.seen) - delay)
            elif source in live:
                progress.reached = max(progress.reached, now)
            found.append(progress.reached)
        self._slowest = min(found, default=-math.inf)
        return self._slowest

    def ahead(self, key: Key) -> float:
        """Return by how many seconds a source has come farther than the slowest that is waited for; 0 when not known."""
        reached = self._progress[key].reached if key in self._progress else -math.inf
        return reached - self._slowest if math.isfinite(reached) and math.isfinite(self._slowest) else 0.0
