"""A watch whose messages are labelled while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from bongsu.inference.onnx import BundlePredictor
from bongsu.labelling.desk import Desk
from bongsu.labelling.store import LabelStore
from bongsu.live_events import Event
from bongsu.watch.alarm import Alarm
from bongsu.watch.events import Events
from bongsu.watch.messages import Arrival, Deletion, Message
from bongsu.watch.store import Store
from bongsu.watch.stream import Watch
from bongsu.watch.tracking import Settings

START = 1_700_000_000.0


class Slow:
    """A source that gives all it has and then waits until somebody has labelled."""

    name, live, patient = "made", False, True

    def __init__(self, items: list[Message | Deletion], last: list[Deletion], done: asyncio.Event) -> None:
        from bongsu.watch.sources.base import Tally

        self.tally = Tally()
        self._items, self._last, self._done = items, last, done

    async def arrivals(self, cursor: Any) -> AsyncIterator[Arrival]:
        for item in self._items:
            yield Arrival(item)
        await self._done.wait()
        for item in self._last:
            yield Arrival(item)


def test_labels_of_another_process_are_learned_from_while_the_watch_runs(
    detector: BundlePredictor, sentences: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "watch.db"
    heard: list[Event] = []

    async def main() -> Watch:
        done = asyncio.Event()
        messages = [Message(str(n), text, START + n, f"a{n}", "made") for n, text in enumerate(sentences[200:300])]
        memory, desk = Store(path), Desk(LabelStore(path))
        source = Slow(list(messages), [Deletion(id=messages[0].id, source="made")], done)
        alarm = Alarm(desk.open(detector), [])
        watch = Watch(alarm, [source], Events(Settings()), memory, [], desk=desk, listener=heard.append)
        desk.listeners.append(lambda used: setattr(watch, "detector", Alarm(used, [])))
        running = asyncio.create_task(watch.run())
        other = LabelStore(path)  # as `bongsu label watch.db` in another terminal
        labelled = 0
        while labelled < 10:
            await asyncio.sleep(0.05)
            for asked in other.asked()[: 10 - labelled]:
                assert asked.base is not None
                other.add(asked, labelled % 2, "kim", 1.0)
                labelled += 1
        while not any(event["type"] == "version" for event in heard):
            await asyncio.sleep(0.05)
        [version] = desk.store.versions(detector.bundle.version)
        assert version.labels == 10
        desk.use(version.number, "kim")
        assert watch.detector is not alarm
        assert desk.detector.version == f"{detector.bundle.version}+1"
        done.set()
        await running
        memory.close()
        return watch

    watch = asyncio.run(asyncio.wait_for(main(), 600))
    assert watch.statistics.received == 100
    store = LabelStore(path)
    assert "0" not in {each.asked.id for each in store.labels()}
    again = Desk(store)
    assert again.open(detector).version == f"{detector.bundle.version}+1"
