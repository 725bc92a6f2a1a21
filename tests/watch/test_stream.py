from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from watching import START, Fake, Kept, made_stream, run, write

from bongsu.errors import WorkspaceError
from bongsu.labelling.store import LabelStore
from bongsu.live_events import AlertEvent
from bongsu.watch.addresses import redacted
from bongsu.watch.events import Events
from bongsu.watch.messages import Arrival, Deletion, Message
from bongsu.watch.replay import Paced
from bongsu.watch.sources.base import Tally
from bongsu.watch.sources.lines import File, Lines
from bongsu.watch.sources.records import Reading, Records, decoded, item_of, message_of, parsed
from bongsu.watch.store import Store, WatchState
from bongsu.watch.stream import Watch
from bongsu.watch.times import read_time, time_zone
from bongsu.watch.tracking import Settings

KILLS = int(os.environ.get("BONGSU_KILLS", "25"))
_NAMES = st.sampled_from(["id", "text", "time", "author", "MSG_CN", "SN", "CRT_DT", "delete"])
_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2)


@given(st.binary(max_size=200) | st.dictionaries(_NAMES, _VALUES, max_size=5).map(lambda record: json.dumps(record).encode()))
def test_garbage_is_no_message_and_no_error(line: bytes) -> None:
    item = item_of(parsed(decoded(line)), "test", 0.0)
    assert item is None or not isinstance(item, Message) or item.text


@given(st.binary(max_size=300), st.lists(st.integers(1, 40), max_size=20))
def test_lines_are_those_of_the_whole_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    lines, found, at = Lines(), list[bytes](), 0
    for cut in [*cuts, 1000]:
        found += lines.split(data[at : at + cut])
        at += cut
    assert b"".join([*found, lines.rest()]) == data
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in found)


FORMS = """2023-11-14T22:13:20Z|2023-11-14T22:13:20.000Z|2023-11-14 22:13:20|2023-11-14 22:13:20 UTC
2023-11-14 22:13:20 +0000|2023-11-15T07:13:20+09:00|2023-11-15 07:13:20 KST|2023/11/14 22:13:20
2023.11.14 22:13:20|2023. 11. 14. 22:13:20|20231114T221320Z|2023-11-14T22:13:20.000000001Z
Tue Nov 14 22:13:20 +0000 2023|Tue, 14 Nov 2023 22:13:20 GMT|Tue, 14 Nov 2023 22:13:20 +0000
14 Nov 2023 22:13:20 -0000|Tue Nov 14 22:13:20 2023|14/Nov/2023:22:13:20 +0000|11/14/2023 22:13:20
11/14/2023 10:13:20 PM|14.11.2023 22:13:20|Nov 14, 2023 10:13:20 PM|2023년 11월 14일 22시 13분 20초
2023년 11월 14일 오후 10:13:20|2023-11-14T22:13:20Z[UTC]|1700000000|1700000000.0|1.7e9|1700000000000
2023-11-14 22:13:20,000|2023/11/14 22:13:20 UTC|2023-11-14T22:13:20+0000"""


@pytest.mark.parametrize("form", FORMS.replace("\n", "|").split("|"))
def test_times_in_every_usual_form(form: str) -> None:
    assert read_time(form) == pytest.approx(START, abs=1e-6)


def test_times_that_are_numbers_none_or_without_a_zone() -> None:
    for form in (START, START * 1e3, str(START * 1e6), START * 1e9, {"$date": "2023-11-14T22:13:20Z"}):
        assert read_time(form) == START
    assert read_time("yesterday") is read_time(float("nan")) is read_time(True) is read_time([]) is None
    assert read_time("3/4/2023 10:00") is read_time(10**400) is read_time("2023-13-45") is None
    assert read_time("2023-11-15 07:13:20", time_zone("Asia/Seoul")) == START
    assert read_time("2023-11-15 07:13:20", time_zone("+09:00")) == START
    assert message_of({"text": "a"}, "x", None) is None


def _counted(lines: list[bytes]) -> tuple[int, int]:
    """Return how many items lines give, and how many of them are garbage."""
    records = Records("test", Reading())
    found = [item for line in lines for item in records.read(line, 0.0)]
    found += records.finish(0.0)
    return len(found), found.count(None)


def test_json_that_never_ends_is_garbage_after_a_while() -> None:
    start = [b"[\n", b'{"text": "a"},\n', b'{"text": [\n']
    assert _counted([*start, b"1]}\n", b"]\n"]) == (2, 1)  # an array is no text
    for line in (b"1,\n", b"{},\n", b'{"a":\n'):  # a quarter of an hour, were each line parsed with all before it
        count, garbage = _counted([*start, *[line] * 100_000])
        assert count == garbage + 1


def _spellings() -> dict[str, list[str]]:
    """Five records in the ways that people pipe them."""
    records = [{"id": str(number), "text": f"a fire {number} [see]", "tags": [{"text": "x"}]} for number in range(5)]
    one = [json.dumps(record) for record in records]
    return {
        "commas": [f"{line}," for line in one],
        "commas before": [one[0], *(f",{line}" for line in one[1:])],
        "array, a record a line": ["[", *(f"{line}," for line in one[:-1]), one[-1], "]"],
        "array with its brackets beside records": [f"[{one[0]},", *(f"{line}," for line in one[1:-1]), f"{one[-1]}]"],
        "array in a line": [json.dumps(records)],
        "printed array": json.dumps(records, indent=2).splitlines(),
        "printed records": [line for record in records for line in json.dumps(record, indent=2).splitlines()],
        "printed records with commas": [line for record in records for line in f"{json.dumps(record, indent=2)},".splitlines()],
        "printed, the first key beside the bracket": [line for text in one for line in text.replace(", ", ",\n").splitlines()],
        "list called data": [json.dumps({"data": records})],
        "printed list called data": json.dumps({"data": records}, indent=2).splitlines(),
        "several in a line": ["".join(one[:3]), " ".join(one[3:])],
        "a sequence": [f"\x1e{line}" for line in one],
        "after other lines": ["a log begins here", *(f"{line}," for line in one)],
    }


@pytest.mark.parametrize("spelling", _spellings())
def test_json_is_read_however_it_is_piped(spelling: str) -> None:
    records = Records("test", Reading())
    found = [item for line in _spellings()[spelling] for item in records.read(f"{line}\n".encode(), 0.0)]
    found += records.finish(0.0)
    assert None not in found
    assert [getattr(item, "id", "") for item in found][-5:] == list("01234")


def test_a_record_that_is_cut_short_takes_no_other_with_it() -> None:
    whole = b'{"text": "a fire"}\n'
    for cut in (b'{"text": "a fi\n', b'{"id": "1",\n', b'{"tags": ["a"\n', b'  "id": 3,\n'):
        count, garbage = _counted([cut, whole, whole])
        assert count - garbage == 2
        assert garbage >= 1


def test_a_text_may_begin_with_a_bracket_and_be_long() -> None:
    assert _counted(["[속보] 경주에 지진\n".encode(), b"[BREAKING] fire\n"]) == (2, 0)
    assert _counted([b"x" * 200_000 + b"\n", b"fire\n"]) == (2, 0)


def test_printed_json_is_read_as_soon_as_it_is_whole() -> None:
    records = Records("test", Reading())
    objects = [{"text": f"{{[ {number} ]}}" + '\\" {', "tags": [1, {"a": "}"}]} for number in range(3)]
    lines = json.dumps(objects, indent=1).encode().splitlines(keepends=True)
    closing = [number for number, line in enumerate(lines) if line.startswith(b" }")]
    assert [number for number, line in enumerate(lines) for item in records.read(line, 0.0) if item] == closing


def test_a_clock_that_is_set_back_is_reported() -> None:
    said, now = list[str](), [START]
    watch = Watch(Fake(), [], Events(Settings()), Store(None), [], report=said.append, clock=lambda: now[0])
    for moment in (START + 10, START - 3600, START - 3590):
        now[0] = moment
        watch._report_status(force=True)
    assert len(said) == 1
    assert "set back by 3,610 s" in said[0]


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_none(text: str) -> None:
    assert (time := read_time(text)) is None or time > 0


def test_a_replay_tells_the_same_at_any_speed(tmp_path: Path) -> None:
    path, told = write(tmp_path / "stream.jsonl", made_stream(0)), []
    for speed in (None, 10.0, 1e5):
        source: Any = File(path, replayed=True)
        now = [0.0]

        async def sleep(seconds: float, now: list[float] = now) -> None:
            now[0] += seconds

        kept = Kept()
        paced = source if speed is None else Paced(source, speed, lambda now=now: now[0], sleep)  # type: ignore[misc]
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


def test_a_damaged_state_is_refused_in_one_line(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.db")
    store.save(state=WatchState(Events(Settings()).state()))
    store.connection.execute("UPDATE parts SET body = '{\"watermark\": \"x\"}' WHERE name = 'clock'")
    with pytest.raises(WorkspaceError, match=r"damaged at events\.clock\.watermark"):
        store.state()
    store.close()


def test_a_store_of_another_version_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.db")
    store.save(state=WatchState(Events(Settings()).state()))
    store.close()
    Store(tmp_path / "a.db").close()
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("PRAGMA user_version=1")
    connection.close()
    with pytest.raises(WorkspaceError, match="another version"):
        Store(tmp_path / "a.db")


@pytest.mark.parametrize("open_store", [Store, LabelStore])
@pytest.mark.parametrize(
    "script",
    [
        "CREATE TABLE visits (url TEXT); INSERT INTO visits VALUES ('x')",
        "CREATE TABLE messages (a); CREATE TABLE outbox (a); CREATE TABLE label_form (form); "
        "INSERT INTO label_form VALUES (99); PRAGMA user_version = 99",
    ],
)
def test_a_file_that_is_refused_is_left_as_it_was(open_store: Callable[[Path], Any], script: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.executescript(script)
    before = (tmp_path / "other.db").read_bytes()
    with pytest.raises(WorkspaceError, match=r"other\.db: (not a store|another version)"):
        open_store(tmp_path / "other.db")
    assert (tmp_path / "other.db").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} <= {"other.db", "other.db.lock"}


class Written:
    """A sink that writes, and may be killed before and after."""

    name = "written"

    def __init__(self, path: Path, count: Callable[[], None]) -> None:
        self._path, self._count = path, count

    def keep(self, seq: int, alert: AlertEvent) -> None:
        raise AssertionError("a store remembers it")

    async def send(self, seq: int, alert: AlertEvent) -> None:
        self._count()
        with open(self._path, "a") as file:
            file.write(f"{seq} {alert['id']} {alert['state']} {alert['messages']}\n")
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


@pytest.mark.slow
def test_killed_at_many_moments_loses_no_alert_and_repeats_at_most_one(tmp_path: Path) -> None:
    stream = write(tmp_path / "stream.jsonl", made_stream(0, hours=1.5, quiet=40))
    (tmp_path / "whole").mkdir()
    assert watch_in_a_child(stream, tmp_path / "whole", -1) == 0
    whole = (tmp_path / "whole" / "told").read_text().splitlines()
    assert len(whole) > 5
    killed = 0
    for moment in (3 + number * 250 // KILLS for number in range(KILLS)):
        folder = tmp_path / str(moment)
        folder.mkdir()
        killed += watch_in_a_child(stream, folder, moment) == -signal.SIGKILL
        assert watch_in_a_child(stream, folder, -1) == 0
        told = (folder / "told").read_text().splitlines()
        assert list(dict.fromkeys(told)) == whole
        assert len(told) <= len(whole) + 1
    assert killed == KILLS


class Hanging(Kept):
    """A sink to which nothing can be delivered."""

    async def send(self, seq: int, alert: AlertEvent) -> None:
        await asyncio.Event().wait()


@pytest.mark.parametrize("stored", [True, False])
def test_what_was_not_delivered_when_a_watch_was_stopped_is_not_lost(stored: bool, tmp_path: Path) -> None:
    path = write(tmp_path / "stream.jsonl", made_stream(0))
    store, hanging, kept, whole = Store(tmp_path / "a.db" if stored else None), Hanging(), Kept(), Kept()
    source = File(path, replayed=True)
    run([source], Store(None), [whole], replayed=True)

    async def stop() -> None:
        watch = Watch(Fake(), [source], Events(Settings()), store, [hanging], replayed=True)
        task = asyncio.create_task(watch.run())
        while watch.statistics.received < len(made_stream(0)) or not watch._ended:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(stop())
    assert len(whole.bodies) > 5
    assert hanging.bodies == ([] if stored else whole.bodies)
    if stored:  # the next watch on it delivers them
        run([source], store, [kept], replayed=True)
        assert kept.bodies == whole.bodies
    store.close()


def test_without_a_sink_nothing_waits_to_be_sent(tmp_path: Path) -> None:
    path, store = write(tmp_path / "stream.jsonl", made_stream(0)), Store(tmp_path / "a.db")
    run([File(path, replayed=True)], store, [], replayed=True)
    assert store.connection.execute("SELECT count(*) FROM alerts").fetchone()[0] >= 2
    assert store.undelivered("somebody new") == []
    store.close()


@pytest.mark.parametrize("replaced", [True, False])
def test_a_store_that_is_taken_away_is_missed(replaced: bool, tmp_path: Path) -> None:
    store = Store(tmp_path / "a.db")
    store.save(passed=[(Message("1", "fire", START), 0.9)])
    (tmp_path / "a.db").rename(tmp_path / "b.db")
    if replaced:
        (tmp_path / "a.db").write_bytes(b"")
    with pytest.raises(WorkspaceError, match=r"a\.db: was removed or replaced"):
        store.save(passed=[(Message("2", "fire", START), 0.9)])
    (tmp_path / "b.db").rename(tmp_path / "a.db")
    store.save(passed=[(Message("3", "fire", START), 0.9)])
    store.close()


def test_a_store_of_the_version_before_is_gone_on_with(tmp_path: Path) -> None:
    """As it wrote it: texts in the state, ids without sources, addresses with their secrets."""
    path = tmp_path / "a.db"
    url = "https://host/streaming?access_token=secret"
    message = {"id": "1", "text": "flood in Manila", "time": START, "author": "a", "source": url}
    state = {
        "baseline": {"past": {}, "forgotten": [0.0, 0], "first": None, "latest": 0},
        "open": [],
        "waiting": [],
        "recent": {"messages": [[message, 0.9, 28333333, ["flood"], None]], "free": {"flood": [[28333333, 1]]}},
        "references": [],
        "watermark": START + 100,
        "next": 28333334,
    }
    with sqlite3.connect(path) as connection:
        connection.executescript(
            "CREATE TABLE messages (id TEXT PRIMARY KEY, time REAL NOT NULL, text TEXT NOT NULL, probability REAL NOT NULL,"
            " author TEXT NOT NULL, source TEXT NOT NULL, joined TEXT);"
            "CREATE INDEX messages_author ON messages (author);"
            "CREATE TABLE alerts (id TEXT PRIMARY KEY, state TEXT NOT NULL, body TEXT NOT NULL);"
            "CREATE TABLE outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL);"
            "CREATE TABLE delivered (sink TEXT PRIMARY KEY, seq INTEGER NOT NULL);"
            "CREATE TABLE cursors (source TEXT PRIMARY KEY, cursor TEXT NOT NULL);"
            "CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), body TEXT NOT NULL); PRAGMA user_version=2;"
        )
        connection.execute("INSERT INTO messages VALUES ('1', ?, 'flood in Manila', 0.9, 'a', ?, NULL)", (START, url))
        connection.execute("INSERT INTO cursors VALUES (?, '7')", (url,))
        connection.execute("INSERT INTO delivered VALUES ('webhook:https://hooks/secret', 3)")
        connection.execute("INSERT INTO state VALUES (1, ?)", (json.dumps(state),))
    connection.close()
    store = Store(path)
    name = redacted(url)
    assert store.cursors() == {name: 7}
    events = Events(Settings())
    saved = store.state()
    assert saved is not None
    events.restore(saved.events, store.message)
    events.add(Message("1", "flood in Manila", START + 200, source=name), 0.9)
    assert events.state().waiting == []  # it is known
    store.close()
    store = Store(path)  # and again
    assert "secret" not in "\n".join(store.connection.iterdump())
    store.close()


def test_deletions_leave_no_text_in_the_file(tmp_path: Path) -> None:
    messages = [replace(message, author="a") for message in made_stream(0)]
    path, store = write(tmp_path / "stream.jsonl", messages), Store(tmp_path / "a.db")
    kept = Kept()
    run([File(path, replayed=True)], store, [kept], replayed=True)
    gone = next(body for body in kept.bodies if body["state"] == "opened")["evidence"][0]
    store.save(deletions=[Deletion(gone["id"], source=gone["source"])])
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert gone["text"].encode() not in (tmp_path / "a.db").read_bytes()
    store.close()


def test_a_store_of_version_3_is_used_on(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    Store(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE messages DROP COLUMN url")
        connection.execute("INSERT INTO messages VALUES ('s', '1', 5.0, 'flood', 0.9, 'a', NULL)")
        connection.execute("PRAGMA user_version=3")
    connection.close()
    store = Store(path)
    store.save(passed=[(Message("2", "fire", 6.0, "b", "s", "https://example.org/2"), 0.8)])
    assert [(message.id, message.url, probability) for message, probability in store.latest(5)] == [
        ("1", "", 0.9),
        ("2", "https://example.org/2", 0.8),
    ]
    store.close()


def test_a_watch_tells_what_it_remembers_how_alerts_go_on_and_its_end(tmp_path: Path) -> None:
    messages = made_stream(3)
    middle = next(number for number, message in enumerate(messages) if message.time > START + 1.7 * 3600)
    path, heard = write(tmp_path / "stream.jsonl", messages[:middle]), list[dict[str, Any]]()
    store = Store(tmp_path / "a.db")
    watch = run([File(path, replayed=True)], store, [], listener=heard.append, replayed=True)
    alerts = watch.events.open
    assert alerts
    assert heard[-1]["type"] == "ended"
    assert heard[-1]["reason"] == "finished"
    progress = [event for event in heard if event["type"] == "status"][-1]["running"]
    assert {one["id"]: one["messages"] for one in progress} == {name: alert.messages for name, alert in alerts.items()}
    store.close()
    store = Store(tmp_path / "a.db")
    recalled = Watch(Fake(), [], Events(Settings()), store, []).recall()
    passed = [message for message in messages[:middle] if "lovely" not in message.text]
    assert [event["text"] for event in recalled if event["type"] == "message"] == [message.text for message in passed[-50:]]
    assert {event["id"] for event in recalled if event["type"] == "alert"} == set(alerts)
    store.close()
