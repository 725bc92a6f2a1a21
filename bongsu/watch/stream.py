"""The watch itself: sources fill a bounded queue, batches are classified, events found, all saved, and alerts sent to sinks."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from bongsu.errors import BongsuError, DataError
from bongsu.live_events import AlertEvent, Event, MessageEvent, StatusEvent
from bongsu.printable import printable
from bongsu.watch.alerts import Silence, iso, iso_or_none
from bongsu.watch.events import Events
from bongsu.watch.messages import Arrival, Classifies, Deletion, Message, Reference, unique
from bongsu.watch.sinks import Sink
from bongsu.watch.sources.base import Source, pause
from bongsu.watch.store import Store, WatchState
from bongsu.watch.watermark import Key, Watermarks

if TYPE_CHECKING:
    from bongsu.labelling.desk import Desk

_AHEAD = 60.0
"""Seconds by which a message's clock may be ahead of ours before it is called misdated."""
LOSSES: dict[Literal["dropped", "late", "misdated", "garbage"], str] = {
    "dropped": "dropped",
    "late": "late",
    "misdated": "misdated",
    "garbage": "unreadable",
}
"""What became of messages that were not counted in time, with the words for readers."""
_TICK = 1.0
_TOMBSTONES = 10_000
_FAR_AHEAD = 900.0
"""Seconds of the stream by which one source may be ahead of another before it is kept waiting."""
_UNREADABLE = 0.5
_ENOUGH_RECORDS = 20
_RECALLED = 50
"""Messages of an earlier watch on the same store that are shown again."""
Listener = Callable[[Event], None]
Report = Callable[[str], None]


@dataclass
class Statistics:
    """What a watch has done so far. What was received passed, or did not, or failed."""

    received: int = 0
    passed: int = 0
    failed: int = 0
    """Messages that the detector could not read."""
    dropped: int = 0
    """Messages that found the queue full."""
    misdated: int = 0
    """Messages dated into the future: they are counted at the time they came."""
    deleted: int = 0
    taken_back: int = 0
    """Messages whose deletion came before them."""
    silenced: int = 0
    """Changes of alerts that were reported to nobody, since somebody wished so."""
    failures: int = 0
    """Times that a source failed."""
    ended: int = 0
    """Sources that were given up."""
    latest: float = 0.0
    """The time of the last message."""
    rate: float = 0.0
    """Messages a second, of late."""
    lag: float | None = None
    """Seconds between the last message's time and its being counted; None in a replay."""
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
        desk: Desk | None = None,
        listener: Listener | None = None,
        report: Report = lambda text: None,
        queue: int = 4096,
        batch: int = 256,
        replayed: bool = False,
        keep_days: float = 30.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            desk: collects labels: it is offered every message, and learns from the labels.
            listener: called with every message that passes, every alert and deletion, a status about once a second, and
                the end; it must not wait.
            report: called with one line on whatever somebody should know.
            queue: the most arrivals that wait; beyond that a patient source is kept waiting and others lose messages.
            batch: the most messages classified at a time; under light load a message does not wait for others.
            replayed: time is the messages' alone; otherwise the clock ends a bin when the sources fall silent.
            keep_days: after which messages and closed alerts leave the store.
        """
        self.statistics = Statistics()
        self.events = events
        self.sources = list(sources)
        self.detector = detector
        self._store, self._sinks, self._listener, self._report_line = store, sinks, listener, report
        self._desk = desk
        self._learning: asyncio.Task[None] | None = None
        self._looked = 0.0
        self._queue: asyncio.Queue[tuple[Source, Arrival] | None] = asyncio.Queue(queue)
        self._batch, self._replayed, self._clock, self._keep = batch, replayed, clock, keep_days * 86400
        self._cursors = store.cursors()
        self._handed = dict(self._cursors)
        """Where each source stands, of what is in the queue: from there it is started again."""
        self._tombstones: OrderedDict[str, None] = OrderedDict()
        self._silences: list[Silence] = []
        self._watermarks = Watermarks()
        self._news = asyncio.Event()
        self._ended = False
        self._errors: list[BongsuError] = []
        self._warned: set[str] = set()
        self._acknowledged: set[str] = set()
        """Alerts of which it has been reported that they are acknowledged."""
        self._measured = (time.monotonic(), 0)
        self._wall = self._clock()
        if state := store.state():
            events.restore(state.events, store.message)
            self._silences = state.silences
            self._acknowledged = {alert.id for alert in events.open.values() if alert.acknowledged is not None}

    async def run(self) -> None:
        """Watch until the sources end. Cancelled, it loses nothing that was saved.

        Raises:
            BongsuError: when a sink or the store cannot be used, or all sources failed for good.
            BrokenPipeError: when nobody reads standard output any more.
        """
        for source in self.sources:
            self._watermarks.expect((source.name, ""), self._now())
        try:
            async with asyncio.TaskGroup() as group:
                for sink in self._sinks:
                    group.create_task(self._deliver(sink))
                group.create_task(self._feed_all())
                await self._work()
                self._ended = True
                self._news.set()
        except BaseExceptionGroup as several:
            self._publish_end("failed")
            raise _first(several) from None
        except asyncio.CancelledError:
            self._publish_end("stopped")
            raise
        self._publish_end("finished")
        if self._errors and len(self._errors) == len(self.sources):
            raise self._errors[0]

    async def _feed_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for source in self.sources:
                group.create_task(self._feed(source))
        await self._queue.put(None)

    async def _feed(self, source: Source) -> None:
        """Read a source to its end; when it fails, start it again from where it stood, alone."""
        attempt, reported = 0, ""
        while True:
            try:
                async with aclosing(source.arrivals(self._handed.get(source.name))) as arrivals:  # type: ignore[type-var]
                    async for arrival in arrivals:
                        if arrival.item is not None or arrival.cursor != self._handed.get(source.name):
                            if reported and arrival.item is not None:
                                self._report_line(f"{source.name}: works again")
                                reported = ""
                            attempt = 0
                        await self._hand_over(source, arrival)
                break
            except DataError as error:
                self.statistics.ended += 1
                self._errors.append(error)
                words = str(error) if str(error).startswith(source.name) else f"{source.name}: {error}"
                if len(self.sources) > 1 or self.statistics.received:
                    self._report_line(f"{words} This source is given up.")
                break
            except Exception as error:
                self.statistics.failures += 1
                words = str(error) if isinstance(error, BongsuError) else f"{source.name}: {type(error).__name__}: {error}"
                if words != reported:
                    self._report_line(f"{printable(words, 400)} It is tried again.")
                    reported = words
            await asyncio.sleep(pause(attempt))
            attempt += 1
        await self._queue.put((source, Arrival(None, partition="\nend")))

    async def _hand_over(self, source: Source, arrival: Arrival) -> None:
        key = (source.name, arrival.partition)
        while arrival.patient and not self._replayed and self._watermarks.ahead(key) > _FAR_AHEAD:
            self._watermarks.touch(key, self._now())
            await asyncio.sleep(0.05)
        if arrival.patient or not self._queue.full():
            if arrival.cursor is not None:
                self._handed[source.name] = arrival.cursor
            await self._queue.put((source, arrival))
        else:
            self.statistics.dropped += 1

    async def _work(self) -> None:
        """Take batches off the queue until its end."""
        while True:
            batch, ended = await self._next_batch()
            await self._take_batch(batch)
            if ended:
                changed = self.events.finish()
                self._save([], changed, resume=True)
                self._report_status(force=True)
                return

    async def _next_batch(self) -> tuple[list[tuple[Source, Arrival]], bool]:
        batch: list[tuple[Source, Arrival]] = []
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

    async def _take_batch(self, batch: list[tuple[Source, Arrival]]) -> None:
        messages = [arrival.item for _, arrival in batch if isinstance(arrival.item, Message)]
        of_text = await self._classify(list(dict.fromkeys(message.text for message in messages)))
        changed: list[AlertEvent] = []
        passed: list[tuple[Message, float]] = []
        deletions: list[Deletion] = []
        for source, arrival in batch:
            item = arrival.item
            key = (source.name, arrival.partition)
            if isinstance(item, Message):
                self._take(source, item, of_text.get(item.text), passed, key)
            elif isinstance(item, Deletion):
                self._delete(item)
                changed += self.events.delete(item)
                passed = [pair for pair in passed if not item.concerns(pair[0])]
                deletions.append(item)
            elif isinstance(item, Reference):
                changed += self.events.refer(item)
            elif arrival.partition == "\nend":
                self._watermarks.end(source.name)
            else:
                self._watermarks.expect(key, self._now())
            if arrival.cursor is not None:
                self._cursors[source.name] = arrival.cursor
        live = frozenset() if self._replayed else frozenset(source.name for source in self.sources if source.live)
        changed += await asyncio.to_thread(self.events.advance, self._watermarks.reached(live, self._now()))
        changed += self._obey_orders()
        self._save(passed, changed, deletions=deletions)
        if self._desk is not None:
            await self._ask(self._desk, messages, of_text, deletions)
        self._report_status()

    async def _ask(
        self, desk: Desk, messages: Sequence[Message], of_text: dict[str, float], deletions: Sequence[Deletion]
    ) -> None:
        """Let messages be asked about, and learn when there are enough new labels, wherever they were given."""
        from bongsu.labelling.store import Candidate

        candidates = [
            Candidate(one.source, one.id, one.author, one.text, one.time, of_text[one.text])
            for one in messages
            if one.text in of_text and one.uid not in self._tombstones
        ]
        news = await asyncio.to_thread(desk.offer, candidates)
        if news is not None:
            self._report_line(" ".join(news.words))
        for deletion in deletions:
            await asyncio.to_thread(desk.forget, deletion.source, deletion.id, deletion.author)
        if (now := time.monotonic()) - self._looked < _TICK:
            return
        self._looked = now
        if self._store.lasting:
            await asyncio.to_thread(desk.follow)
            await asyncio.to_thread(desk.show)
        if desk.due and (self._learning is None or self._learning.done()):
            self._learning = asyncio.create_task(self._learn(desk))

    async def _learn(self, desk: Desk) -> None:
        try:
            version = await asyncio.to_thread(desk.learn_when_due)
        except BongsuError as error:
            self._report_line(str(error))
            return
        if version is None:
            return
        self._publish(version.event())
        used = "is used from now on" if version.verdict.taken else "is not used"
        self._report_line(f"version {version.number}, learned from {version.labels:,} labels, {used}: {version.verdict}")

    def _now(self) -> float:
        return 0.0 if self._replayed else self._clock()

    async def _classify(self, texts: list[str]) -> dict[str, float]:
        """Return the probability of each text; of one that the detector fails on, none."""
        if not texts:
            return {}
        try:
            table = await asyncio.to_thread(self.detector.probabilities, texts)
            return dict(zip(texts, np.asarray(table).reshape(len(texts), -1)[:, -1].tolist(), strict=True))
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except BaseException as error:  # a panic of a library in Rust is no Exception
            if len(texts) > 1:
                half = len(texts) // 2
                return {**await self._classify(texts[:half]), **await self._classify(texts[half:])}
            if self.statistics.failed == 0:
                self._report_line(f"a message cannot be classified ({type(error).__name__}: {printable(str(error), 200)})")
            return {}

    def _take(
        self, source: Source, message: Message, probability: float | None, passed: list[tuple[Message, float]], key: Key
    ) -> None:
        self.statistics.received += 1
        if not self._replayed and message.time > (now := self._clock()):
            if message.time > now + _AHEAD:
                self.statistics.misdated += 1
                if source.name not in self._warned:
                    self._warned.add(source.name)
                    self._report_line(
                        f"{source.name}: a message is dated {message.time - now:,.0f} s ahead of this machine's clock; such "
                        "messages count when they come. Is the clock right, is --timezone?"
                    )
            message = replace(message, time=now)
        self.statistics.latest = message.time
        self._watermarks.observe(key, message.time, self._now())
        if probability is None:
            self.statistics.failed += 1
        elif probability >= self.detector.threshold:
            if message.uid in self._tombstones:
                self.statistics.taken_back += 1
                return
            self.statistics.passed += 1
            passed.append((message, probability))
            self.events.add(message, probability)
            self._publish(self._message_event(message, probability))

    def _message_event(self, message: Message, probability: float) -> MessageEvent:
        return {
            "type": "message",
            "id": message.id,
            "source": message.source,
            "author": message.author,
            "text": message.text,
            "time": iso_or_none(message.time),
            "url": message.url,
            "probability": probability,
            "threshold": self.detector.threshold,
        }

    def recall(self) -> list[Event]:
        """Return what the store remembers, as events: the latest messages and the open alerts."""
        messages = [self._message_event(message, probability) for message, probability in self._store.latest(_RECALLED)]
        return [*messages, *(alert.event("updated") for alert in self.events.open.values())]

    def _delete(self, deletion: Deletion) -> None:
        """Remember and publish a deletion, which may come before its message."""
        self.statistics.deleted += 1
        self._publish({"type": "deletion", "id": deletion.id, "author": deletion.author, "source": deletion.source})
        if deletion.id:
            self._tombstones[unique(deletion.source, deletion.id)] = None
            if len(self._tombstones) > _TOMBSTONES:
                self._tombstones.popitem(last=False)

    def _obey_orders(self) -> list[AlertEvent]:
        """Do what `bongsu alerts` asks for."""
        changed = []
        for order in self._store.take_orders() if self._store.lasting else []:
            if "silence" in order:
                self._silences = [one for one in self._silences if one.what != order["silence"]]
                self._silences.append(Silence(order["silence"], order["until"]))
            elif (alert := self.events.open.get(order["acknowledge"])) and alert.acknowledged is None:
                alert.acknowledged = self._clock()
                changed.append(alert.event("updated"))
        return changed

    def _save(
        self,
        passed: list[tuple[Message, float]],
        changed: list[AlertEvent],
        *,
        deletions: Sequence[Deletion] = (),
        resume: bool = False,
    ) -> None:
        joined, self.events.joined = list(self.events.joined.items()), {}
        now = self._clock()
        for alert in changed:
            known = alert["state"] == "updated" and alert["id"] in self._acknowledged
            alert["silenced"] = known or any(silence.covers(alert, now) for silence in self._silences)
            self.statistics.silenced += alert["silenced"]
            if alert["acknowledged"] is not None:
                self._acknowledged.add(alert["id"])
        ended = self.events.take_worked() or resume or bool(changed)
        if ended or passed or deletions or joined:
            if ended and self._store.lasting:
                self._store.save(passed, joined, deletions, changed, self._state(), self._cursors)
            else:
                self._store.save(passed, joined, deletions, changed)
        if ended:
            self._store.forget_before(self.events.watermark - self._keep)  # by the stream's own time: it may be of long ago
        if changed:
            self._news.set()
            if not self._sinks:
                self._store.tidy([])
        for alert in changed:
            self._publish(alert)

    def _state(self) -> WatchState:
        return WatchState(self.events.state(), [one for one in self._silences if one.until > self._clock()])

    async def _deliver(self, sink: Sink) -> None:
        """Send to a sink what is in the outbox; what a watch that is stopped would forget with it, the sink keeps."""
        try:
            await self._send_all(sink)
        except asyncio.CancelledError:
            while not self._store.lasting and (waiting := self._store.undelivered(sink.name)):
                for seq, alert in waiting:
                    sink.keep(seq, alert)
                    self._store.mark_delivered(sink.name, seq)
            raise

    async def _send_all(self, sink: Sink) -> None:
        """Send what is in the outbox, one after the other, until the watch ends."""
        while True:
            self._news.clear()
            ended = self._ended
            while waiting := self._store.undelivered(sink.name):
                for seq, alert in waiting:
                    await sink.send(seq, alert)
                    self._store.mark_delivered(sink.name, seq)
            self._store.tidy([one.name for one in self._sinks])
            if ended:
                return
            if not self._ended:
                await self._news.wait()

    def _report_status(self, force: bool = False) -> None:
        """Say how it goes, about once a second."""
        now, (then, received) = time.monotonic(), self._measured
        if now - then < _TICK and not force:
            return
        statistics = self.statistics
        statistics.rate = (statistics.received - received) / max(now - then, 1e-9)
        if statistics.latest and not self._replayed:
            statistics.lag = max(0.0, self._clock() - statistics.latest)
        statistics.queue = self._queue.qsize()
        self._measured = (now, statistics.received)
        self._warn_of_clock()
        self._warn_of_garbage(force)
        self._publish(self.status())

    def _warn_of_clock(self) -> None:
        before, self._wall = self._wall, self._clock()
        if self._wall < before - _AHEAD:
            self._report_line(
                f"this machine's clock was set back by {before - self._wall:,.0f} s; until it is there again, messages "
                "without a time of their own count as late"
            )

    def _warn_of_garbage(self, force: bool) -> None:
        for source in self.sources:
            tally = source.tally
            mostly = tally.garbage > _UNREADABLE * tally.read and (tally.read >= _ENOUGH_RECORDS or force)
            if mostly and f"garbage {source.name}" not in self._warned:
                self._warned.add(f"garbage {source.name}")
                share = tally.garbage / tally.read
                self._report_line(f"{source.name}: {share:.0%} of {tally.read:,} records are unreadable, first: {tally.sample}")

    def status(self) -> StatusEvent:
        """Return how it goes, as it is published."""
        statistics = self.statistics
        return {
            "type": "status",
            "time": iso_or_none(statistics.latest),
            "rate": statistics.rate,
            "lag": statistics.lag,
            "share": statistics.passed / max(1, statistics.received),
            "received": statistics.received,
            "passed": statistics.passed,
            "dropped": statistics.dropped,
            "misdated": statistics.misdated,
            "late": self.events.late,
            "overflow": self.events.overflow,
            "failed": statistics.failed,
            "garbage": self.garbage,
            "failures": statistics.failures,
            "silenced": statistics.silenced,
            "undelivered": sum(getattr(sink, "dead", 0) for sink in self._sinks),
            "queue": statistics.queue,
            "alerts": len(self.events.open),
            "running": [alert.progress() for alert in self.events.open.values()],
        }

    def _publish_end(self, reason: Literal["finished", "stopped", "failed"]) -> None:
        self._publish({"type": "ended", "time": iso(self._clock()), "reason": reason})

    @property
    def garbage(self) -> int:
        """Records that should hold a message and do not."""
        return sum(source.tally.garbage for source in self.sources)

    @property
    def nothing_readable(self) -> bool:
        """Whether there were records, and none of them held a message."""
        return self.garbage > 0 and self.garbage == sum(source.tally.read for source in self.sources)

    def _publish(self, event: Event) -> None:
        if self._listener is not None:
            self._listener(event)


def _first(several: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first of the errors that ended several tasks, since one is what is shown."""
    first = several.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
