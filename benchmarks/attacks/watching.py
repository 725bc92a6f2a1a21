"""`bongsu watch` as a process: broken sources, rotated files, full disks, stores of others."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import random
import re
import socket
import sqlite3
import stat
import subprocess
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

from benchmarks.attacks import BONGSU, DETECTOR, ENVIRONMENT, attack, call, last_line, measure

_FIRE = "Huge wildfire destroyed homes near Athens, residents evacuated, several people were killed"
_WATCH = ("watch", DETECTOR)
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def _records(count: int, start: float | None = None, every: float = 1.0) -> bytes:
    lines = [
        {"id": str(n), "text": f"{_FIRE} {n * 7919 % 997}", **({} if start is None else {"time": start + n * every})}
        for n in range(count)
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def _received(said: str) -> int:
    found = re.findall(r"([\d,]+) messages, ", said)
    return int(found[-1].replace(",", "")) if found else -1


def _rows(target: str, kind: str = "") -> list[str]:
    """Return the English texts of the bundled data: no disasters (0) or disasters (1), of one kind or of all but explosions."""
    path = files("bongsu") / "data" / "messages.csv"
    rows = [row for row in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))) if row["lang"] == "en"]
    wanted = [row for row in rows if row["target"] == target]
    return [row["text"] for row in wanted if (row["kind"] == kind if kind else row["kind"] != "explosion")]


def _day(begin: float, hours: float, boston: float | None, seed: int) -> bytes:
    """Everyday messages, one every 20 s; reports from all over, one every 4 minutes; and from a time on an explosion in Boston.

    The first the detector mostly rejects, the others it mostly accepts. The explosion is told of by 45 in ten minutes.
    """
    draw = random.Random(seed)
    told = [(begin + 20 * n, text) for n, text in enumerate(draw.sample(_rows("0"), int(180 * hours)))]
    told += [(begin + 240 * n + 7, text) for n, text in enumerate(draw.sample(_rows("1"), int(15 * hours)))]
    if boston is not None:
        event = draw.sample(_rows("1", "explosion"), 45)
        told += [(boston + 13 * n, f"{text} #Boston") for n, text in enumerate(event)]
    lines = [{"id": str(n), "text": text, "time": moment} for n, (moment, text) in enumerate(sorted(told))]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


@attack("watch: two files after an outage", "half counted late, no alert")
def _outage(folder: Path) -> str:
    """Each holds half of what was said of the event."""
    now = time.time()
    parts = _day(now - 14_400, 2.0, now - 9600, 0), _day(now - 7200, 2.0, now - 9000, 1)
    for name, part in zip(("old.jsonl", "new.jsonl"), parts, strict=True):
        (folder / name).write_bytes(part)
    done = call(*_WATCH, folder / "old.jsonl", folder / "new.jsonl")
    return _judge(done, sum(part.count(b"\n") for part in parts))


@attack("watch: a source that was down for longer than it is waited for")
def _down(folder: Path) -> str:
    """Its backlog, with the event, comes when the other source and the clock have long gone on."""
    now = time.time()
    up, down = _day(now - 14_400, 4.0, None, 0), _day(now - 3600, 0.5, now - 3000, 1)
    (folder / "up.jsonl").write_bytes(up)
    watch = subprocess.Popen(
        [*BONGSU, *_WATCH, str(folder / "up.jsonl"), "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    measure(watch.pid)
    time.sleep(20)  # all of the file is counted
    said, errors = watch.communicate(down, timeout=120)
    done = subprocess.CompletedProcess([], watch.returncode, said, errors)
    return _judge(done, up.count(b"\n") + down.count(b"\n"))


async def _seen(count: int, seconds: float, *words: str) -> set[str]:
    """Watch until so many different messages have passed the detector; return their ids."""
    watch = await asyncio.create_subprocess_exec(
        *BONGSU, *_WATCH, *words, "--messages", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT
    )
    measure(watch.pid)
    seen = set[str]()
    assert watch.stdout is not None
    async with asyncio.timeout(seconds):
        while len(seen) < count:
            seen.add(json.loads(await watch.stdout.readline())["id"])
    watch.terminate()
    await watch.wait()
    return seen


def _judge(done: subprocess.CompletedProcess[bytes], sent: int) -> str:
    """Say what came of the event: all messages must have been counted, most of them rejected, and one alert opened, its own."""
    told = last_line(done)
    assert (_received(told), done.returncode) == (sent, 0), told
    assert " late" not in told.replace(" 0 late", ""), told
    passed = int(re.findall(r"([\d,]+) passed", told)[0].replace(",", ""))
    assert passed < sent / 3, told
    opened = [body["title"] for body in map(json.loads, done.stdout.splitlines()) if body["state"] == "opened"]
    assert len(opened) == 1, (opened, told)
    assert "boston" in opened[0], opened
    return f"1 alert, of the event ({opened[0]}); {passed} of {sent} messages pass"


def _meet(answer: Answer | None, scheme: str) -> tuple[int | None, str]:
    """Watch a made server, or a port where none is; return the exit code (None: tried again) and what was said until then."""

    async def main() -> tuple[int | None, str]:
        made = await asyncio.start_server(answer or (lambda reader, writer: None), "127.0.0.1", 0)
        address = f"{scheme}://127.0.0.1:{made.sockets[0].getsockname()[1]}/api"
        if answer is None:
            made.close()
        watch = await asyncio.create_subprocess_exec(
            *BONGSU, *_WATCH, address, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=ENVIRONMENT
        )
        assert watch.stderr is not None
        measure(watch.pid)
        said = b""
        async with asyncio.timeout(120):
            while b"tried again" not in said and (line := await watch.stderr.readline()):
                said += line
        ended = b"tried again" not in said
        if not ended:
            watch.terminate()
        code = await watch.wait()
        made.close()
        return code if ended else None, said.decode(errors="replace")

    code, text = asyncio.run(main())
    assert "Traceback" not in text, text[-500:]
    return code, text


@attack("watch: sources that answer 404, a page, a redirect, an endless or packed event", "silent for ever")
def _sources(folder: Path) -> str:
    import zlib

    def always(head: str, body: bytes = b"", endless: bytes = b"") -> Answer:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(f"HTTP/1.1 {head}\r\nConnection: close\r\n\r\n".encode() + body)
                while endless:
                    writer.write(endless)
                    await writer.drain()
                await writer.drain()
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        return answer

    stream = "200 OK\r\nContent-Type: text/event-stream"
    bomb = zlib.compress(b"data: " + b"x" * 500_000_000, 9)
    ends = {
        "404": always("404 Not Found"),
        "401": always("401 Unauthorized"),
        "redirected to itself": always("302 Found\r\nLocation: /api"),
    }
    goes_on = {
        "502": always("502 Bad Gateway"),
        "a page": always("200 OK\r\nContent-Type: text/html", b"<html>hello</html>"),
        "an event without end": always(stream, b"data: ", b"x" * 65536),
        "a packed bomb": always(f"{stream}\r\nContent-Encoding: deflate", bomb),
    }
    for name, answer in ends.items():
        code, text = _meet(answer, "http")
        assert (code, bool(text.strip())) == (1, True), (name, code, text)
    for name, answer in goes_on.items():
        code, text = _meet(answer, "http")
        assert (code, "tried again" in text) == (None, True), (name, code, text)
    code, text = _meet(ends["404"], "ws")
    assert code == 1, (code, text)
    return f"{len(ends) + 1} end with a line, {len(goes_on)} are told and tried again"


@attack("watch: Kafka without a broker, and one that answers with something else", "hang")
def _no_broker(folder: Path) -> str:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 100)
        writer.close()

    said = []
    for answer in (None, other):
        code, text = _meet(answer, "kafka")
        assert code is None, (code, text)
        assert all(line.startswith("{") for line in text.splitlines()), text  # a log of JSON alone
        said.append(text)
    assert "no broker answers there" in said[0], said[0]
    return f"{len(said)} of {len(said)} told and tried again"


@attack("watch: an event of 8 MiB on a Jetstream", "nothing after it ever arrived")
def _large(folder: Path) -> str:
    from websockets.asyncio.server import ServerConnection, serve

    def post(number: int, text: str) -> str:
        commit = {"operation": "create", "collection": "app.bsky.feed.post", "rkey": str(number), "record": {"text": text}}
        return json.dumps({"did": "did:a", "time_us": times[number], "kind": "commit", "commit": commit})

    now = time.time_ns() // 1000 - 60_000_000
    times = [now + 3_000_000 * number for number in range(20)]

    async def play(socket: ServerConnection) -> None:
        cursor = int((re.findall(r"cursor=(\d+)", socket.request.path if socket.request else "") or [0])[0])
        for number, moment in enumerate(times):
            if moment >= cursor:
                await socket.send(post(number, "x" * (8 << 20) if number == 10 else f"{_FIRE} {number}"))
        await asyncio.sleep(60)

    async def main() -> str:
        async with serve(play, "127.0.0.1", 0) as made:
            port = next(iter(made.sockets)).getsockname()[1]
            seen = await _seen(19, 90, f"ws://127.0.0.1:{port}/subscribe")
            return f"{len(seen)} of the 19 others arrived"

    return asyncio.run(main())


@attack("watch: a log renamed, copied and cut while it is read", "up to 10 lines lost")
def _rotated(folder: Path) -> str:
    path, lines = folder / "a.jsonl", _records(90).splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:10]))
    with open(folder / "said", "wb") as said:
        watch = subprocess.Popen(
            [*BONGSU, *_WATCH, str(path), "--follow", "--messages"], stdout=said, stderr=subprocess.DEVNULL, env=ENVIRONMENT
        )

    measure(watch.pid)

    def seen() -> set[str]:
        return {json.loads(line)["id"] for line in (folder / "said").read_bytes().splitlines() if line.endswith(b"}")}

    def wait(count: int) -> None:
        limit = time.monotonic() + 60
        while len(seen()) < count and time.monotonic() < limit:
            time.sleep(0.1)

    wait(10)
    for turn in range(4):
        first = 10 + 20 * turn
        with open(path, "ab") as file:
            file.write(b"".join(lines[first : first + 10]))
            file.flush()
            if turn % 2:
                wait(first + 10)
                (folder / f"a.jsonl.{turn}").write_bytes(path.read_bytes())
                os.truncate(path, 0)
            else:
                path.rename(folder / f"a.jsonl.{turn}")
                file.write(lines[first + 10])  # its writer does not know yet
        with open(path, "ab") as file:
            file.write(b"".join(lines[first + 10 + (turn % 2 == 0) : first + 20]))
        wait(first + 20)
    watch.terminate()
    watch.wait(60)
    assert len(seen()) == 90, sorted(set(map(str, range(90))) - seen())
    return "90 of 90 lines read"


@attack("watch: | head -1, a closed input, a full disk", "hang or traceback")
def _pipes(folder: Path) -> str:
    (folder / "a.jsonl").write_bytes(_records(2000))
    command = " ".join([*BONGSU, *_WATCH, "--messages"])
    said = []
    for shell in (f"{command} {folder}/a.jsonl | head -1", f"{command} <&-", f"{command} {folder}/a.jsonl > /dev/full"):
        done = subprocess.run(["bash", "-c", shell], capture_output=True, timeout=180, env=ENVIRONMENT, check=False)
        assert b"Traceback" not in done.stderr, done.stderr
        said.append(done.stderr.decode().strip().splitlines()[-1:])
    return f"ends with a line each: {said[2][0][:60]}"


@attack("watch: a store that is no place, of another version, in use, a folder, garbage", "hang or traceback")
def _stores(folder: Path) -> str:
    given = _records(3)
    sqlite3.connect(folder / "newer.db").executescript(
        "CREATE TABLE messages (a); CREATE TABLE outbox (a); PRAGMA user_version = 99;"
    )
    sqlite3.connect(folder / "history.db").executescript("CREATE TABLE visits (url TEXT); INSERT INTO visits VALUES ('x');")
    others = {name: (folder / name).read_bytes() for name in ("newer.db", "history.db")}
    (folder / "garbage.db").write_bytes(os.urandom(10_000))
    (folder / "is.db").mkdir()
    for name in ("no/such/folder.db", "newer.db", "history.db", "garbage.db", "is.db"):
        done = call(*_WATCH, "--store", folder / name, given=given)
        assert (done.returncode, bool(last_line(done))) == (1, True), (name, done)
    assert others == {name: (folder / name).read_bytes() for name in others}, "what is another's was written to"
    first = subprocess.Popen(
        [*BONGSU, *_WATCH, "-", "--store", str(folder / "a.db")],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
    )
    while not (folder / "a.db").exists():
        time.sleep(0.1)
    time.sleep(1)
    second = call(*_WATCH, "--store", folder / "a.db", given=given)
    first.communicate(given, timeout=60)
    assert (second.returncode, first.returncode) == (1, 0), (second, first.returncode)
    assert stat.S_IMODE((folder / "a.db").stat().st_mode) == 0o600
    return f"6 of 6 refused, none changed: {last_line(second)[-40:]}"


@attack("watch: half an emoji, control signs and line ends in every field of a record")
def _fields(folder: Path) -> str:
    odd = ["\\ud83d", "\\u0000", "\\n", "\\u001b]52;c;AAAA\\u0007", "\\u202e", "😀" * 3000]
    lines = [
        f'{{"id": "{n}{sign}", "text": "{_FIRE} {n} {sign}", "author": "{sign}", "url": "http://a.example/{sign}"}}'
        for n, sign in enumerate(odd * 4)
    ]
    lines += ['{"delete": "\\ud83d"}', '{"delete": ' + "9" * 5000 + "}", '{"delete": {"status": {"id": "\\ud83d"}}}']
    name = folder / os.fsdecode(b"\xff\n.jsonl")
    name.write_text("\n".join(lines) + "\n")
    done = call(*_WATCH, name, "--messages", "--store", folder / "a.db")
    assert (done.returncode, _received(last_line(done))) == (0, 24), last_line(done)
    return last_line(done)[:110]


@attack("watch: input of 300 MB in one line, packed a thousandfold, of other kinds")
def _inputs(folder: Path) -> str:
    import gzip
    import zlib

    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join([*(packer.compress(b"x" * 2**20) for _ in range(500)), packer.flush()])
    two = gzip.compress(_records(5)) + gzip.compress(_records(9)[len(_records(5)) :])
    wanted = {"line": b"x" * 300_000_000, "bomb": bomb, "nested": b"[" * 50_000_000}
    for name, given in wanted.items():
        done = call(*_WATCH, given=given)
        assert done.returncode in (0, 1), (name, last_line(done))
    done = call(*_WATCH, given=two)
    assert _received(last_line(done)) == 9, last_line(done)
    for encoding in ("utf-16", "utf-16-be", "utf-8-sig"):
        done = call(*_WATCH, given=_records(9).decode().encode(encoding))
        assert _received(last_line(done)) == 9, (encoding, last_line(done))
    return "read to the end; gzip in two parts, UTF-16 and marks are read"


@attack("watch: its store removed while it runs", "went on; all it learned was lost at its end")
def _removed(folder: Path) -> str:
    watch = subprocess.Popen(
        [*BONGSU, *_WATCH, "-", "--store", str(folder / "a.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    measure(watch.pid)
    assert watch.stdin is not None
    watch.stdin.write(_records(3))
    watch.stdin.flush()
    while not _stored(folder / "a.db"):
        time.sleep(0.2)
    (folder / "a.db").unlink()
    errors = watch.communicate(_records(9), timeout=120)[1]
    done = subprocess.CompletedProcess([], watch.returncode, b"", errors)
    assert (done.returncode, b"Traceback" in errors) == (1, False), errors[-500:]
    assert "was removed or replaced" in last_line(done), last_line(done)
    return f"ends with a line: {last_line(done)[-90:]}"


def _stored(path: Path) -> int:
    """Return how many messages a store holds."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM messages").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


@attack("watch: stopped while its webhook answers each request after 30 s", "what was not delivered was lost")
def _slow(folder: Path) -> str:
    """First without a store, whose dead letters are sent again; then with one, from which the next watch delivers."""
    now = time.time()
    (folder / "a.jsonl").write_bytes(_day(now - 7200, 2.0, now - 3000, 0))

    async def stopped(*options: str) -> None:
        asked = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.set()
            await asyncio.sleep(30)
            writer.close()

        made = await asyncio.start_server(answer, "127.0.0.1", 0)
        address = f"http://127.0.0.1:{made.sockets[0].getsockname()[1]}/"
        watch = await asyncio.create_subprocess_exec(
            *BONGSU, *_WATCH, str(folder / "a.jsonl"), "--follow", "--webhook", address, "--allow-private", *options,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT, cwd=folder,
        )  # fmt: skip
        measure(watch.pid)
        async with asyncio.timeout(120):
            await asked.wait()
            watch.terminate()
            await watch.wait()
        made.close()

    async def delivered(*command: str) -> int:
        told = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            told.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            await writer.drain()
            writer.close()

        made = await asyncio.start_server(answer, "127.0.0.1", port)
        again = await asyncio.create_subprocess_exec(
            *BONGSU, *command, "--webhook", f"http://127.0.0.1:{port}/", "--allow-private",
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT, cwd=folder,
        )  # fmt: skip
        async with asyncio.timeout(120):
            assert await again.wait() == 0
        made.close()
        return len(told)

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    asyncio.run(stopped())
    letters = (folder / "watch.dead.jsonl").read_bytes().splitlines()
    assert letters
    sent = asyncio.run(delivered("watch", "--resend"))
    assert sent == len(letters), (sent, len(letters))
    asyncio.run(stopped("--store", "a.db"))
    stored = asyncio.run(delivered(*_WATCH, "a.jsonl", "--store", "a.db"))
    assert stored >= sent, (stored, sent)
    return f"{sent} of {len(letters)} delivered from the dead letters, {stored} from the store"


@attack("watch: a store on a disk that fills up")
def _full(folder: Path) -> str:
    """The disk is of 2 MB; when there is room again, the same command goes on."""
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, check=False)
    if mounted.returncode:
        return "not tried: it takes the right to mount"
    try:
        now = time.time()
        (folder / "a.jsonl").write_bytes(_day(now - 7200, 2.0, now - 3000, 0))
        (disk / "other").write_bytes(bytes(1_850_000))
        command = [*_WATCH, folder / "a.jsonl", "--store", disk / "a.db"]
        first = call(*command)
        assert (first.returncode, "the disk is full" in last_line(first)) == (1, True), first.stderr[-500:]
        (disk / "other").unlink()
        second = call(*command)
        assert second.returncode == 0, second.stderr[-500:]
        opened = [json.loads(line)["title"] for line in (first.stdout + second.stdout).splitlines() if b'"opened"' in line]
        assert len(opened) == 1, opened
        assert "boston" in opened[0], opened
        return f"ends with a line; then goes on: 1 alert in all, {_stored(disk / 'a.db')} messages kept"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@attack("watch: the hour that comes twice, in times without a zone")
def _twice(folder: Path) -> str:
    """An event in the second of the two hours from one to two, the night that summer time ends in New York."""
    begin, zone = datetime(2026, 11, 1, 3, tzinfo=UTC).timestamp(), ZoneInfo("America/New_York")
    lines = [json.loads(line) for line in _day(begin, 4.5, begin + 3.3 * 3600, 0).splitlines()]
    for line in lines:
        line["time"] = datetime.fromtimestamp(line["time"], zone).strftime("%Y-%m-%d %H:%M:%S")
    (folder / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = call(*_WATCH, folder / "a.jsonl", "--replay", "--timezone", "America/New_York")
    return _judge(done, len(lines))


@attack("watch: a file cut to nothing and filled anew with the same head")
def _refilled(folder: Path) -> str:
    path, lines = folder / "a.jsonl", _records(120).splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:60]))
    with open(folder / "said", "wb") as said:
        watch = subprocess.Popen(
            [*BONGSU, *_WATCH, str(path), "--follow", "--messages", "--store", str(folder / "a.db")],
            stdout=said,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
        )

    measure(watch.pid)

    def wait(count: int) -> None:
        limit = time.monotonic() + 60
        while _stored(folder / "a.db") < count and time.monotonic() < limit:
            time.sleep(0.2)

    wait(60)
    for end in (90, 120):  # shorter than it was, then as long
        path.write_bytes(b"".join([*lines[:10], *lines[end - 30 : end]]))
        wait(end)
    watch.terminate()
    watch.wait(60)
    found = _stored(folder / "a.db")
    assert found == 120, found
    return f"{found} of 120 messages kept, each once"


@attack("watch: a Jetstream that sends everything anew at each connection")
def _repeating(folder: Path) -> str:
    from websockets.asyncio.server import ServerConnection, serve

    now, connections = time.time(), 0
    lines = [json.loads(line) for line in _day(now - 7200, 2.0, now - 1800, 0).splitlines()]

    async def play(socket: ServerConnection) -> None:
        nonlocal connections
        connections += 1
        for line in lines:
            record = {"text": line["text"]}
            commit = {"operation": "create", "collection": "app.bsky.feed.post", "rkey": line["id"], "record": record}
            time_us = int(line["time"] * 1e6)
            await socket.send(json.dumps({"did": f"did:{line['id']}", "time_us": time_us, "kind": "commit", "commit": commit}))

    async def main() -> list[dict[str, object]]:
        async with serve(play, "127.0.0.1", 0) as made:
            port = next(iter(made.sockets)).getsockname()[1]
            watch = await asyncio.create_subprocess_exec(
                *BONGSU, *_WATCH, f"ws://127.0.0.1:{port}/subscribe",
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT,
            )  # fmt: skip
            measure(watch.pid)
            assert watch.stdout is not None
            async with asyncio.timeout(300):
                first = await watch.stdout.readline()
                after = connections + 3
                while connections < after:
                    await asyncio.sleep(0.5)
            watch.terminate()
            return [json.loads(line) for line in [first, *(await watch.communicate())[0].splitlines()]]

    told = asyncio.run(main())
    opened = [body["title"] for body in told if body["state"] == "opened"]
    most = max(int(str(body["messages"])) for body in told)
    assert len(opened) == 1, opened
    assert most <= 45, most
    return f"sent {connections} times: 1 alert, of {most} messages"


@attack("watch: 20,000 deletions and edits on a Mastodon stream, some before their posts")
def _deletions(folder: Path) -> str:
    def event(kind: str, data: str) -> bytes:
        return f"event: {kind}\ndata: {data}\n\n".encode()

    def post(number: int) -> str:
        created = datetime.fromtimestamp(time.time(), UTC).isoformat()
        account = {"acct": f"a{number}"}
        content = f"<p>{_FIRE} {number * 7919 % 997}</p>"
        return json.dumps({"id": str(number), "content": content, "created_at": created, "account": account})

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for number in range(10_000):
            writer.write(event("delete", str(number)) + event("status.update", post(number % 300)))
            await writer.drain()
        for number in range(9_900, 10_100):  # the first half was taken back before it came
            writer.write(event("update", post(number)))
            await writer.drain()
        await asyncio.sleep(120)

    async def main() -> set[str]:
        made = await asyncio.start_server(answer, "127.0.0.1", 0)
        address = f"http://127.0.0.1:{made.sockets[0].getsockname()[1]}/api"
        seen = await _seen(100, 120, address, "--queue", "50000")
        made.close()
        return seen

    seen = asyncio.run(main())
    assert seen == {str(number) for number in range(10_000, 10_100)}, sorted(seen)[:5]
    return "none of the 100 posts that were taken back arrived, all of the 100 others did"


@attack("watch: times with and without a zone mixed, of a zone nine hours ahead")
def _zones(folder: Path) -> str:
    lines = [json.loads(line) for line in _day(time.time() - 7200, 2.0, time.time() - 3000, 0).splitlines()]
    for number, line in enumerate(lines):
        moment = datetime.fromtimestamp(line["time"], timezone(timedelta(hours=9)))
        line["time"] = moment.isoformat() if number % 2 else moment.strftime("%Y-%m-%d %H:%M:%S")
    (folder / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    right = call(*_WATCH, folder / "a.jsonl", "--timezone", "+09:00")
    wrong = call(*_WATCH, folder / "a.jsonl")
    said = wrong.stderr.decode()
    assert (wrong.returncode, "--timezone" in said) == (0, True), said[-500:]
    misdated = re.findall(r"([\d,]+) misdated", said)
    return f"{_judge(right, len(lines))}; without --timezone {misdated[-1]} are called misdated, with a hint"
