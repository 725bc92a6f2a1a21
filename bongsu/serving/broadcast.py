"""What a running watch tells, relayed to whoever listens, within one process.

An event is a JSON object whose `type` says what it is: `message` (a message that passed the threshold), `alert` (an event
raised, updated or closed), `status` (rate, lag, share of disasters, drops).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

KEPT = 256  # events a slow listener may be behind; older ones are dropped


class Broadcaster:
    """Hands events to every listener without ever waiting for one."""

    def __init__(self) -> None:
        self._listeners: dict[asyncio.Queue[dict[str, Any] | None], asyncio.AbstractEventLoop] = {}
        self._closed = False

    def __len__(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def publish(self, event: dict[str, Any]) -> None:
        """Hands an event on; may be called from any thread."""
        self._send(event)

    def close(self) -> None:
        """Ends every subscription, those to come too."""
        self._closed = True
        self._send(None)

    async def subscribe(self, quiet: float) -> AsyncIterator[dict[str, Any] | None]:
        """The events from now on, until the broadcaster is closed; None after every `quiet` seconds without one."""
        if self._closed:
            return
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(KEPT)
        self._listeners[queue] = asyncio.get_running_loop()
        try:
            while True:
                try:
                    async with asyncio.timeout(quiet):
                        event = await queue.get()
                except TimeoutError:
                    yield None
                    continue
                if event is None:
                    return
                yield event
        finally:
            del self._listeners[queue]

    def _send(self, event: dict[str, Any] | None) -> None:
        for queue, loop in list(self._listeners.items()):
            loop.call_soon_threadsafe(_put, queue, event)


def _put(queue: asyncio.Queue[dict[str, Any] | None], event: dict[str, Any] | None) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(event)
