from __future__ import annotations

import itertools
import json
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from watching import START, Kept, made_stream, run, write

from bongsu.errors import WorkspaceError
from bongsu.watch.messages import Arrival, Deletion, Message
from bongsu.watch.replay import Paced
from bongsu.watch.sources.base import Tally
from bongsu.watch.sources.lines import File, Lines
from bongsu.watch.sources.records import decoded, item_of, message_of, parsed
from bongsu.watch.store import Store
from bongsu.watch.times import read_time

_NAMES = st.sampled_from(["id", "text", "time", "author", "MSG_CN", "SN", "CRT_DT", "delete"])
_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2)


@settings(deadline=None)
@given(st.binary(max_size=200) | st.dictionaries(_NAMES, _VALUES, max_size=5).map(lambda record: json.dumps(record).encode()))
def test_garbage_is_no_message_and_no_error(line: bytes) -> None:
    item = item_of(parsed(decoded(line)), "test", 0.0)
    assert item is None or not isinstance(item, Message) or item.text


@settings(deadline=None)
@given(st.binary(max_size=300), st.lists(st.integers(1, 40), max_size=20))
def test_lines_are_those_of_the_whole_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    lines, found, at = Lines(), list[bytes](), 0
    for cut in [*cuts, 1000]:
        found += lines.split(data[at : at + cut])
        at += cut
    assert b"".join([*found, lines.rest()]) == data
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in found)


def test_times_in_every_usual_form() -> None:
    for form in ("2023-11-14T22:13:20Z", START, START * 1e3, str(START * 1e6)):
        assert read_time(form) == START
    assert read_time("yesterday") is read_time(float("nan")) is read_time(True) is read_time([]) is None
    assert message_of({"text": "a"}, "x", None) is None


def test_a_replay_tells_the_same_at_any_speed(tmp_path: Path) -> None:
    path, told = write(tmp_path / "stream.jsonl", made_stream(0)), []
    for speed in (None, 10.0, 1e5):
        source: Any = File(path, replayed=True)
        now = [0.0]

        async def sleep(seconds: float, now: list[float] = now) -> None:
            now[0] += seconds

        kept = Kept()
        paced = source if speed is None else Paced(source, speed, lambda now=now: now[0], sleep)
        watch = run([paced], Store(None), [kept], replayed=True, queue=64, batch=16 if speed else 256)
        assert watch.statistics.received == len(made_stream(0))
        told.append(kept.bodies)
    assert told[0] == told[1] == told[2]
    assert len({body["id"] for body in told[0]}) == 2


class Flood:
    """A source that does not wait."""

    name, tally, live = "flood", Tally(), True

    async def arrivals(self, cursor: Any) -> AsyncIterator[Arrival]:
        for number in range(500):
            yield Arrival(Message(str(number), "stay safe", START + number), patient=False)


def test_drops_are_counted_and_the_queue_is_bounded() -> None:
    watch = run([Flood()], Store(None), [], queue=10, batch=5, replayed=True)
    assert watch.statistics.dropped > 0
    assert watch.statistics.dropped + watch.statistics.received == 500


def test_deleted_messages_leave_the_store_and_the_evidence(tmp_path: Path) -> None:
    path = write(tmp_path / "stream.jsonl", made_stream(0))
    kept = Kept()
    store = Store(tmp_path / "a.db")
    run([File(path, replayed=True)], store, [kept], replayed=True)
    gone = next(body for body in kept.bodies if body["state"] == "closed")["evidence"][0]
    count = "SELECT count(*) FROM messages WHERE id = ?"
    assert store.connection.execute(count, (gone["id"],)).fetchone() == (1,)
    store.save(deletions=[Deletion(gone["id"], source=gone["source"])])
    assert store.connection.execute(count, (gone["id"],)).fetchone() == (0,)
    assert not any(gone["text"] in body for (body,) in store.connection.execute("SELECT body FROM alerts"))
    store.close()


def test_a_store_of_another_version_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.db")
    store.save(resume=({"clock": 1.0}, {}))
    store.close()
    Store(tmp_path / "a.db").close()
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("PRAGMA user_version=1")
    connection.close()
    with pytest.raises(WorkspaceError, match="another version"):
        Store(tmp_path / "a.db")


class Written:
    """A sink that writes, and may be killed before and after."""

    name = "written"

    def __init__(self, path: Path, count: Callable[[], None]) -> None:
        self._path, self._count = path, count

    async def send(self, seq: int, body: dict[str, Any]) -> None:
        self._count()
        with open(self._path, "a") as file:
            file.write(f"{seq} {body['id']} {body['state']} {body['messages']}\n")
        self._count()


def watch_in_a_child(stream: Path, folder: Path, moment: int) -> int:
    """Runs a watch in a process that kills itself at its n-th SQL statement or hand-over; returns the exit status."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = itertools.count(moment, -1)

    def count(_: str = "") -> None:
        if next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    store = Store(folder / "watch.db")
    store.connection.set_trace_callback(count)
    run([File(stream, replayed=True)], store, [Written(folder / "told", count)], replayed=True, batch=16)
    os._exit(0)


def test_killed_at_fifty_moments_loses_no_alert_and_repeats_at_most_one(tmp_path: Path) -> None:
    stream = write(tmp_path / "stream.jsonl", made_stream(0, hours=1.5, quiet=40))
    (tmp_path / "whole").mkdir()
    assert watch_in_a_child(stream, tmp_path / "whole", -1) == 0
    whole = (tmp_path / "whole" / "told").read_text().splitlines()
    assert len(whole) > 5
    killed = 0
    for moment in range(3, 253, 5):
        folder = tmp_path / str(moment)
        folder.mkdir()
        killed += watch_in_a_child(stream, folder, moment) == -signal.SIGKILL
        assert watch_in_a_child(stream, folder, -1) == 0
        told = (folder / "told").read_text().splitlines()
        assert list(dict.fromkeys(told)) == whole
        assert len(told) <= len(whole) + 1
    assert killed == 50
