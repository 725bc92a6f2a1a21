"""How far several sources have come, and what that means for alerts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from watching import START, Kept, made_stream, run, say, write

from bongsu.watch.messages import Arrival, Deletion, Message
from bongsu.watch.sources.base import SourceError, Tally
from bongsu.watch.sources.lines import File
from bongsu.watch.store import Store
from bongsu.watch.watermark import Watermarks

LIVE, AWAY = frozenset({"a", "b"}), frozenset[str]()


def test_one_misdated_message_moves_nothing_and_silence_moves_with_the_clock() -> None:
    marks = Watermarks()
    for second in range(100):
        ahead = 59.0 if second % 10 == 5 else 0.0
        marks.observe(("a", ""), START + second + ahead, START + second)
        assert marks.reached(LIVE, START + second) <= START + second
    assert marks.reached(LIVE, START + 99) == START + 99
    assert marks.reached(LIVE, START + 200) == START + 200


def test_the_slowest_source_counts_until_it_is_away_or_ended() -> None:
    marks = Watermarks(idle=60)
    marks.expect(("b", ""), START)
    for second in range(20):
        marks.observe(("a", "0"), START + second, START + second)
    assert marks.reached(AWAY, START + 20) < 0  # nobody knows what b has
    for second in range(20):
        marks.observe(("b", ""), START - 3600 + second, START + 20)
        marks.observe(("a", "0"), START + second, START + 20)
    assert marks.reached(AWAY, START + 20) < START - 3500
    assert marks.ahead(("a", "0")) > 3500
    assert marks.reached(frozenset("a"), START + 90) > START  # b has been away for more than a minute
    marks.observe(("b", ""), START - 3000, START + 100)
    marks.end("b")
    assert marks.reached(frozenset("a"), START + 100) > START


class Made:
    """A source of messages that are there."""

    live = False

    def __init__(self, name: str, messages: Sequence[Message], partition: str = "", fails_at: int | None = None) -> None:
        self.name, self.tally, self._partition, self._fails_at = name, Tally(), partition, fails_at
        self._messages = [replace(message, source=name) for message in messages]

    async def arrivals(self, cursor: Any) -> AsyncIterator[Arrival]:
        for number in range(cursor or 0, len(self._messages)):
            if number == self._fails_at:
                self._fails_at = None
                raise SourceError(f"{self.name}: made failure")
            yield Arrival(self._messages[number], number + 1, self._partition)


@pytest.mark.parametrize("half", [2, 3])
def test_after_an_outage_two_sources_give_the_alerts_of_one(half: int) -> None:
    """Each has every other message; read one after the other, half of all would be late."""
    messages = made_stream(0)
    parts = [messages[start::2] for start in range(2)]
    kept = Kept()
    watch = run([Made("a", parts[0]), Made("b", parts[1])], Store(None), [kept], queue=16 * half, batch=8)
    assert watch.statistics.received == len(messages)
    assert watch.events.late == 0
    assert len({body["id"] for body in kept.bodies if body["state"] == "opened"}) == 2


@pytest.mark.parametrize("event", [True, False])
def test_what_a_source_missed_while_it_was_away_raises_its_alerts_when_it_is_back(event: bool) -> None:
    """It was away for 20 minutes, longer than it is waited for, and alone saw what happened then."""
    now, kept = [START], Kept()
    gone, back = START + 5300, START + 6500
    seen = [one for one in made_stream(0) if event or not ("oston" in one.text or "Manila" in one.text)]
    parts = [one for n, one in enumerate(seen) if n % 2 and "oston" not in one.text], seen[::2]

    class Clocked(Made):
        async def arrivals(self, cursor: Any) -> AsyncIterator[Arrival]:
            for message in self._messages:
                now[0] = max(now[0], message.time)
                yield Arrival(message)

    class Away(Made):
        async def arrivals(self, cursor: Any) -> AsyncIterator[Arrival]:
            for message in self._messages:
                while now[0] < (message.time if not gone < message.time < back else back):
                    await asyncio.sleep(0)
                yield Arrival(message)

    watch = run([Clocked("a", parts[0]), Away("b", parts[1])], Store(None), [kept], clock=lambda: now[0], queue=1, batch=1)
    assert watch.statistics.received == len(parts[0]) + len(parts[1])
    assert watch.events.late == 0
    opened = [body for body in kept.bodies if body["state"] == "opened"]
    assert [body["title"].split()[1].strip(",") for body in opened] == (["manila", "boston"] if event else [])


def test_ids_are_each_sources_own() -> None:
    messages = [message for message in made_stream(0) if "lovely" not in message.text]
    other = [replace(message, text=f"{message.text} indeed") for message in messages]
    watch = run([Made("a", messages), Made("b", other)], Store(None), [], replayed=True)
    assert watch.statistics.passed == 2 * len(messages)
    deletion = Deletion(messages[0].id, source="a")
    assert deletion.concerns(replace(messages[0], source="a"))
    assert not deletion.concerns(replace(messages[0], source="b"))


def test_a_clock_that_is_wrong_and_messages_of_the_future_are_counted_when_they_come() -> None:
    now, reports, kept = [START], list[str](), Kept()
    messages = [replace(message, time=message.time + 130) for message in made_stream(0)]

    class Arriving(Made):
        async def arrivals(self, cursor: Any) -> AsyncIterator[Arrival]:
            for number, message in enumerate(self._messages):
                now[0] = max(now[0], message.time - 130)
                time = message.time + 1e9 * (number == 50)
                yield Arrival(replace(message, time=time))

    watch = run([Arriving("a", messages)], Store(None), [kept], clock=lambda: now[0], report=reports.append, queue=1, batch=1)
    assert watch.statistics.misdated > 0.8 * len(messages)
    assert watch.events.late == 0
    assert len({body["id"] for body in kept.bodies if body["state"] == "opened"}) == 2
    assert [line for line in reports if "--timezone" in line] == reports[:1]


def test_a_source_that_fails_goes_on_where_it_was() -> None:
    messages, reports = made_stream(0), list[str]()
    watch = run([Made("a", messages, fails_at=100)], Store(None), [], report=reports.append, replayed=True)
    assert watch.statistics.received == len(messages)
    assert (watch.statistics.failures, len(reports)) == (1, 2)
    assert "made failure" in reports[0]
    assert "works again" in reports[1]


def test_one_author_raises_no_alert() -> None:
    """Six posts on each of seventeen made-up places within minutes; six authors who say so would."""
    draw = random.Random(0)
    chatter = [message for message in made_stream(1, hours=3) if "oston" not in message.text and "anila" not in message.text]
    chatter = [replace(message, author=f"author {number}") for number, message in enumerate(chatter)]

    def posts(authors: int) -> list[Message]:
        flood = []
        for number in range(102):
            text = say(draw, f"Flood in {'abcdefghijklmnopq'[number % 17].upper()}burgtown")
            time = START + 7200 + 2 * number
            flood.append(Message(f"x{number}", text, time, f"shouter {number // 17 % authors}"))
        return flood

    opened = []
    for authors in (1, 6):
        kept = Kept()
        stream = sorted([*chatter, *posts(authors)], key=lambda message: message.time)
        run([Made("a", stream)], Store(None), [kept], replayed=True)
        opened.append(len({body["id"] for body in kept.bodies if body["state"] == "opened"}))
    assert opened[0] == 0
    assert 1 <= opened[1] <= 5  # a flood of places is a few alerts, not one each


def test_a_store_forgets_what_is_old(tmp_path: Path) -> None:
    path = write(tmp_path / "stream.jsonl", made_stream(0))
    store = Store(tmp_path / "a.db")
    run([File(path, replayed=True)], store, [Kept()], replayed=True, keep_days=1 / 24)
    [(oldest, newest)] = store.connection.execute("SELECT min(time), max(time) FROM messages").fetchall()
    assert newest - oldest < 3600 + 120
    store.close()
