"""The watch itself: sources fill a bounded queue, batches are classified, events found, everything saved, sinks told."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bongsu.watch.alerts import iso
from bongsu.watch.events import Events
from bongsu.watch.messages import Arrival, Classifies, Deletion, Message, Reference
from bongsu.watch.sinks import Sink
from bongsu.watch.sources.base import Source
from bongsu.watch.store import Store

_AHEAD = 60.0
"""Seconds: a message from further in the future than clocks differ is misdated, and would end every bin before it."""
_TICK = 1.0
_TOMBSTONES = 10_000
Listener = Callable[[dict[str, Any]], None]


@dataclass
class Statistics:
    """What a watch has done so far."""

    received: int = 0
    passed: int = 0
    dropped: int = 0
    """Messages that found the queue full."""
    misdated: int = 0
    deleted: int = 0
    latest: float = 0.0
    """The time of the last message."""
    rate: float = 0.0
    """Messages a second, of late."""
    lag: float | None = None
    """Seconds between the last message's time and its being worked off; None in a replay."""
    queue: int = 0


class Watch:
    """One run of a watch, over one or more sources."""

    def __init__(
        self,
        detector: Classifies,
        sources: Sequence[Source],
        events: Events,
        store: Store,
        sinks: Sequence[Sink],
        *,
        listener: Listener | None = None,
        queue: int = 4096,
        batch: int = 256,
        replayed: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            listener: called with every message that passes, every alert, and a status about once a second; it must not wait.
            queue: the most arrivals that wait; beyond that a patient source is kept waiting and others lose messages.
            batch: the most messages classified at a time; under light load a message does not wait for others.
            replayed: time is the messages' alone; otherwise the clock ends a bin when the sources fall silent.
        """
        self.statistics = Statistics()
        self.events = events
        self.sources = sources
        self._detector, self._store, self._sinks, self._listener = detector, store, sinks, listener
        self._queue: asyncio.Queue[tuple[str, Arrival] | None] = asyncio.Queue(queue)
        self._batch, self._replayed, self._clock = batch, replayed, clock
        self._cursors: dict[str, Any] = store.cursors()
        self._tombstones: OrderedDict[str, None] = OrderedDict()
        self._news = asyncio.Event()
        self._ended = False
        self._measured = (time.monotonic(), 0)
        if state := store.state():
            events.restore(state)

    async def run(self) -> None:
        """Watches until the sources end. Cancelled, it loses nothing that was saved."""
        async with asyncio.TaskGroup() as group:
            for sink in self._sinks:
                group.create_task(self._deliver(sink))
            group.create_task(self._feed_all())
            await self._work()
            self._ended = True
            self._news.set()

    async def _feed_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for source in self.sources:
                group.create_task(self._feed(source))
        await self._queue.put(None)

    async def _feed(self, source: Source) -> None:
        async for arrival in source.arrivals(self._cursors.get(source.name)):
            if arrival.patient or not self._queue.full():
                await self._queue.put((source.name, arrival))
            else:
                self.statistics.dropped += 1

    async def _work(self) -> None:
        """Takes batches off the queue until its end."""
        while True:
            batch, ended = await self._next_batch()
            await self._work_off(batch)
            if ended:
                told = self.events.finish()
                self._save([], [], told, resume=True)
                self._report(force=True)
                return

    async def _next_batch(self) -> tuple[list[tuple[str, Arrival]], bool]:
        batch: list[tuple[str, Arrival]] = []
        try:
            async with asyncio.timeout(_TICK):
                one = await self._queue.get()
        except TimeoutError:
            return [], False
        while one is not None:
            batch.append(one)
            if len(batch) == self._batch or self._queue.empty():
                return batch, False
            one = self._queue.get_nowait()
        return batch, True

    async def _work_off(self, batch: list[tuple[str, Arrival]]) -> None:
        messages = [arrival.item for _, arrival in batch if isinstance(arrival.item, Message)]
        probabilities: list[float] = []
        if messages:
            texts = list(dict.fromkeys(message.text for message in messages))  # what is sent again and again is read once
            table = await asyncio.to_thread(self._detector.probabilities, texts)
            column = np.asarray(table).reshape(len(texts), -1)[:, -1]
            of_text = dict(zip(texts, column.tolist(), strict=True))
            probabilities = [of_text[message.text] for message in messages]
        told: list[dict[str, Any]] = []
        passed: list[tuple[Message, float]] = []
        joined: list[tuple[str, str]] = []
        deletions: list[Deletion] = []
        scored = iter(probabilities)
        for source, arrival in batch:
            item = arrival.item
            if isinstance(item, Message):
                told += self._take(item, next(scored), passed)
                joined += self.events.joined.items()
                self.events.joined = {}
            elif isinstance(item, Deletion):
                self._bury(item)
                told += self.events.delete(item.id, item.author)
                passed = [
                    pair for pair in passed if pair[0].id != item.id and (not item.author or pair[0].author != item.author)
                ]
                deletions.append(item)
            elif isinstance(item, Reference):
                told += self.events.refer(item)
            if arrival.cursor is not None:
                self._cursors[source] = arrival.cursor
        if not batch and not self._replayed and all(source.live for source in self.sources):
            told += self.events.advance(self._clock() - _TICK)
        self._save(passed, joined, told, deletions=deletions)
        self._report()

    def _take(self, message: Message, probability: float, passed: list[tuple[Message, float]]) -> list[dict[str, Any]]:
        self.statistics.received += 1
        if message.time > self._clock() + _AHEAD:
            self.statistics.misdated += 1
            return []
        self.statistics.latest = message.time
        if probability >= self._detector.threshold and message.id not in self._tombstones:
            self.statistics.passed += 1
            passed.append((message, probability))
            self.events.add(message, probability)
            self._publish(
                {
                    "type": "message",
                    "id": message.id,
                    "text": message.text,
                    "time": iso(message.time),
                    "probability": probability,
                    "threshold": self._detector.threshold,
                }
            )
        return self.events.advance(message.time)

    def _bury(self, deletion: Deletion) -> None:
        """A deletion may come before its message."""
        self.statistics.deleted += 1
        if deletion.id:
            self._tombstones[deletion.id] = None
            if len(self._tombstones) > _TOMBSTONES:
                self._tombstones.popitem(last=False)

    def _save(
        self,
        passed: list[tuple[Message, float]],
        joined: list[tuple[str, str]],
        told: list[dict[str, Any]],
        *,
        deletions: Sequence[Deletion] = (),
        resume: bool = False,
    ) -> None:
        worked = self.events.take_worked() or bool(told) or bool(deletions) or resume
        if not worked and not passed:
            return
        state = (self.events.state(), self._cursors) if worked else None
        self._store.save(passed, joined, deletions, told, state)
        if told:
            self._news.set()
        for body in told:
            self._publish(body)

    async def _deliver(self, sink: Sink) -> None:
        """Tells a sink what is in the outbox, one after the other."""
        while True:
            self._news.clear()
            ended = self._ended
            while waiting := self._store.undelivered(sink.name):
                for seq, body in waiting:
                    await sink.send(seq, body)
                    self._store.tick_off(sink.name, seq)
            self._store.tidy([one.name for one in self._sinks])
            if ended:
                return
            if not self._ended:
                await self._news.wait()

    def _report(self, force: bool = False) -> None:
        """Tells the listener how it goes, about once a second."""
        now, (then, received) = time.monotonic(), self._measured
        if now - then < _TICK and not force:
            return
        statistics = self.statistics
        statistics.rate = (statistics.received - received) / max(now - then, 1e-9)
        if statistics.latest and not self._replayed:
            statistics.lag = max(0.0, self._clock() - statistics.latest)
        statistics.queue = self._queue.qsize()
        self._measured = (now, statistics.received)
        self._publish(
            {
                "type": "status",
                "time": iso(statistics.latest),
                "rate": statistics.rate,
                "lag": statistics.lag,
                "share": statistics.passed / max(1, statistics.received),
                "received": statistics.received,
                "passed": statistics.passed,
                "dropped": statistics.dropped,
                "misdated": statistics.misdated,
                "late": self.events.late,
                "garbage": sum(source.garbage for source in self.sources),
                "queue": statistics.queue,
                "alerts": len(self.events.open),
            }
        )

    def _publish(self, event: dict[str, Any]) -> None:
        if self._listener is not None:
            self._listener(event)
