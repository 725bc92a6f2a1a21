"""A recorded stream, again: at its own pace, faster, or as fast as possible."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from bongsu.watch.messages import Arrival, Message
from bongsu.watch.sources.base import Source


class Paced:
    """Hands over a source's messages `speed` times as fast as they were sent."""

    live = False

    def __init__(
        self,
        source: Source,
        speed: float,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name, self.tally = source.name, source.tally
        self._source, self._speed, self._clock, self._sleep = source, speed, clock, sleep

    async def arrivals(self, cursor: Any) -> AsyncIterator[Arrival]:
        """See `Source`."""
        started, first = self._clock(), None
        async for arrival in self._source.arrivals(cursor):
            if isinstance(arrival.item, Message):
                first = arrival.item.time if first is None else first
                wait = (arrival.item.time - first) / self._speed - (self._clock() - started)
                if wait > 0:
                    await self._sleep(wait)
            yield arrival
