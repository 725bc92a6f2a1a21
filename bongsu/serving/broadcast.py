"""Relays the events of a running watch to listeners within one process, and remembers what a new listener must know.

The events are those of `bongsu.live_events`. The first event of a listener who comes later is a `snapshot`: the last status,
the running and the latest closed alerts, the latest messages, and the end, if it has come.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from threading import Lock
from typing import TypeAlias

from bongsu.live_events import (
    AlertEvent,
    DeletionEvent,
    EndedEvent,
    Event,
    EvidenceBody,
    MessageEvent,
    SnapshotEvent,
    StatusEvent,
    takes_back,
)

KEPT = 256
"""Events that a listener may be behind; one who falls further behind is sent a new snapshot instead."""
MESSAGES = 50
"""Messages in a snapshot."""
CLOSED = 20
"""Closed alerts in a snapshot."""
Sent: TypeAlias = Event | SnapshotEvent
"""What a listener is sent."""


class History:
    """The state of a watch as its events tell it."""

    def __init__(self) -> None:
        self.begun = False
        self._status: StatusEvent | None = None
        self._ended: EndedEvent | None = None
        self._running: OrderedDict[str, AlertEvent] = OrderedDict()
        self._closed: deque[AlertEvent] = deque(maxlen=CLOSED)
        self._messages: deque[MessageEvent] = deque(maxlen=MESSAGES)

    def add(self, event: Event) -> None:
        """Take in an event."""
        self.begun = True
        match event["type"]:
            case "status":
                self._status, self._ended = event, None
            case "message":
                self._messages.append(event)
            case "alert":
                self._running.pop(event["id"], None)
                if event["state"] == "closed":
                    self._closed.append(event)
                else:
                    self._running[event["id"]] = event
            case "deletion":
                self._delete(event)
            case "ended":
                self._ended = event

    def snapshot(self) -> SnapshotEvent:
        """Return what a new listener must know, alerts and messages from old to new."""
        return {
            "type": "snapshot",
            "status": self._status,
            "alerts": [*self._closed, *self._running.values()],
            "messages": list(self._messages),
            "ended": self._ended,
        }

    def _delete(self, deletion: DeletionEvent) -> None:
        """Forget what was taken back. Running alerts are published anew without it, closed ones are not."""

        def kept(message: MessageEvent | EvidenceBody) -> bool:
            return not takes_back(deletion, message)

        self._messages = deque(filter(kept, self._messages), MESSAGES)
        closed: list[AlertEvent] = [{**alert, "evidence": list(filter(kept, alert["evidence"]))} for alert in self._closed]
        self._closed = deque(closed, CLOSED)


class Subscription:
    """One listener's events, from the moment it was made until it is closed."""

    def __init__(self, client: str, loop: asyncio.AbstractEventLoop, snapshot: Callable[[], SnapshotEvent]) -> None:
        self.client = client
        self.loop = loop
        self.queue: asyncio.Queue[Sent | None] = asyncio.Queue(KEPT)
        self._snapshot = snapshot

    async def events(self, quiet: float) -> AsyncIterator[Sent | None]:
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

    def put(self, event: Sent | None) -> None:
        """Add an event, in the listener's own thread; where the listener is too far behind, a snapshot replaces the rest."""
        if self.queue.full():
            while not self.queue.empty():
                self.queue.get_nowait()
            self.queue.put_nowait(self._snapshot())
        self.queue.put_nowait(event)


class Broadcaster:
    """Hands events to every listener without ever waiting for one."""

    def __init__(self) -> None:
        self._listeners: set[Subscription] = set()
        self._closed = False
        self._history = History()
        self._lock = Lock()

    def __len__(self) -> int:
        """Return how many listen."""
        return len(self._listeners)

    def count(self, client: str) -> int:
        """Return how many listen from one address."""
        return sum(listener.client == client for listener in self._listeners)

    def publish(self, event: Event) -> None:
        """Hand an event on; may be called from any thread."""
        with self._lock:
            self._history.add(event)
            self._send(event)

    def close(self) -> None:
        """End every subscription, and those to come."""
        self._closed = True
        with self._lock:
            self._send(None)

    def subscribe(self, client: str = "") -> Subscription:
        """Listen from now on; call `unsubscribe` at the end. Must be called in a running event loop."""
        listener = Subscription(client, asyncio.get_running_loop(), self._snapshot)
        with self._lock:
            if self._history.begun:
                listener.put(self._history.snapshot())
            self._listeners.add(listener)
        if self._closed:
            listener.put(None)
        return listener

    def unsubscribe(self, listener: Subscription) -> None:
        """Listen no more."""
        with self._lock:
            self._listeners.discard(listener)

    def _snapshot(self) -> SnapshotEvent:
        with self._lock:
            return self._history.snapshot()

    def _send(self, event: Event | None) -> None:
        for listener in self._listeners:
            listener.loop.call_soon_threadsafe(listener.put, event)
