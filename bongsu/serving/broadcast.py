"""Relays the events of a running watch to listeners within one process.

An event is a JSON object whose `type` says what it is: `message` (a message that passed the threshold), `alert` (an event
raised, updated or closed), `status` (rate, lag, share of disasters, drops).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

KEPT = 256  # events a slow listener may be behind; older ones are dropped


class Subscription:
    """One listener's events, from the moment it was made until it is closed."""

    def __init__(self, client: str, loop: asyncio.AbstractEventLoop) -> None:
        self.client = client
        self.loop = loop
        self.queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(KEPT)

    async def events(self, quiet: float) -> AsyncIterator[dict[str, Any] | None]:
        """Yield events until the broadcaster is closed; None after every `quiet` seconds without one."""
        while True:
            try:
                async with asyncio.timeout(quiet):
                    event = await self.queue.get()
            except TimeoutError:
                yield None
                continue
            if event is None:
                return
            yield event

    def put(self, event: dict[str, Any] | None) -> None:
        """Add an event, in the listener's own thread; where the listener is too far behind, the oldest is dropped."""
        if self.queue.full():
            self.queue.get_nowait()
        self.queue.put_nowait(event)


class Broadcaster:
    """Hands events to every listener without ever waiting for one."""

    def __init__(self) -> None:
        self._listeners: set[Subscription] = set()
        self._closed = False

    def __len__(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def count(self, client: str) -> int:
        """Return how many listen from one address."""
        return sum(listener.client == client for listener in self._listeners)

    def publish(self, event: dict[str, Any]) -> None:
        """Hand an event on; may be called from any thread."""
        self._send(event)

    def close(self) -> None:
        """End every subscription, and those to come."""
        self._closed = True
        self._send(None)

    def subscribe(self, client: str = "") -> Subscription:
        """Listen from now on; call `unsubscribe` at the end. Must be called in a running event loop."""
        listener = Subscription(client, asyncio.get_running_loop())
        self._listeners.add(listener)
        if self._closed:
            listener.put(None)
        return listener

    def unsubscribe(self, listener: Subscription) -> None:
        """Listen no more."""
        self._listeners.discard(listener)

    def _send(self, event: dict[str, Any] | None) -> None:
        for listener in list(self._listeners):
            listener.loop.call_soon_threadsafe(listener.put, event)
