"""`bongsu watch` and `bongsu alerts`, as a user meets them: processes, pipes, signals, full disks."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from serving_http import always, serving

pytestmark = pytest.mark.slow

MAIN = [sys.executable, "-c", "from bongsu.cli import main; main()"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stands in for a bundle: what has the word fire or flood passes (see `PRELUDE`)."""
    return tmp_path_factory.mktemp("made")


PRELUDE = """
import sys, numpy as np
from bongsu.cli import main
import bongsu.cli.watching as watching
class Made:
    names, threshold, version, engine = ("other", "disaster"), 0.5, "0", "made"
    def probabilities(self, texts):
        if any("panic" in text for text in texts): raise BaseException("made panic")
        return np.array([[1 - p, p] for p in ("fire" in text or "flood" in text for text in texts)], float)
def load(model):
    print("loaded", file=sys.stderr, flush=True)
    return Made()
watching._detector = load
watching._alarm = lambda detector, classes: detector
watching._desk = lambda detector, store: None  # this detector cannot learn
main()
"""


def command(*words: object) -> list[str]:
    return [sys.executable, "-c", PRELUDE, "watch", *map(str, words)]


def watch(*words: object, given: bytes = b"", **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command("bongsu:x", *words), input=given, capture_output=True, timeout=600, **options)


def record(number: int, text: str = "fire in Paris", **fields: Any) -> str:
    return json.dumps({"id": str(number), "text": f"{text} {number}", **fields})


def until(true: Callable[[], object]) -> None:
    limit = time.monotonic() + 600
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.05)


def passed(done: subprocess.CompletedProcess[bytes]) -> list[str]:
    return [json.loads(line)["text"] for line in done.stdout.splitlines()]


STREAMS = {
    "lines": "\n".join(map(record, range(3))).encode(),
    "half an emoji, and no number": b'{"text": "fire in Paris 0 \\ud83d", "score": NaN}\n'
    + record(1).encode()
    + b"\n"
    + record(2).encode(),
    "a byte order mark": b"\xef\xbb\xbf" + "\n".join(map(record, range(3))).encode(),
    "UTF-16": "\n".join(map(record, range(3))).encode("utf-16"),
    "an array": ("[" + ",".join(map(record, range(3))) + "]").encode(),
    "a printed array": json.dumps([json.loads(record(number)) for number in range(3)], indent=2).encode(),
    "printed objects": "\n".join(json.dumps(json.loads(record(number)), indent=2) for number in range(3)).encode(),
    "a table": b'id,text,author\n0,"fire in Paris 0",a\n1,"fire in\nParis 1",b\n2,"a ""fire"" in Paris 2",c\n',
    "a table with semicolons": "번호;내용\n0;fire in Paris 0\n1;fire in Paris 1\n2;fire in Paris 2\n".encode("cp949"),
    "plain text": b"fire in Paris 0\nfire in Paris 1\nfire in Paris 2\n",
    "Twitter's second version": "\n".join(
        json.dumps(
            {"data": {"id": str(n), "text": f"fire in Paris {n}", "author_id": "1", "created_at": "2023-11-14T22:13:20.000Z"}}
        )
        for n in range(3)
    ).encode(),
}


@pytest.mark.parametrize("form", STREAMS)
def test_what_people_send_is_read(form: str) -> None:
    done = watch("--messages", given=STREAMS[form])
    assert done.returncode == 0, done.stderr
    texts = passed(done)
    assert len(texts) == 3
    assert all(str(number) in text for number, text in enumerate(texts))


def test_packed_input_and_named_columns(tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"when,said\n2023/11/14 22:13:20,fire 0\n14/Nov/2023:22:13:20 +0000,flood 1\n"))
    done = watch(path, "--messages", "--columns", "text=said,time=when")
    assert passed(done) == ["fire 0", "flood 1"]
    wrong = watch(path, "--columns", "text=nothing")
    assert wrong.returncode == 1
    assert b"no column nothing; there are when, said" in wrong.stderr


@pytest.mark.parametrize("time_form", ["the 3rd of May", "31/31/2023"])
def test_nothing_readable_is_an_error(time_form: str) -> None:
    given = "\n".join(record(number, time=time_form) for number in range(30)).encode()
    done = watch(given=given)
    assert done.returncode == 1
    assert b"100% of 30 records are unreadable, first: {" in done.stderr
    assert b"30 unreadable" in done.stderr
    assert b"Not one record could be read" in done.stderr


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ([], b"standard input is closed"),
        (["nothing.jsonl"], b"nothing.jsonl: no such file"),
        (["--store", "nowhere/a.db"], b"there is no folder nowhere"),
        (["--store", "/dev/null"], b"/dev/null"),
        (["--webhook", "https://hooks..x/secret"], b"--webhook: write it as https://host/path"),
        (["ftp://me:secret@x/"], b"no such kind of source"),
        (["--timezone", "Nowhere/None"], b"no such zone"),
        (["--columns", "texts=a"], b"text=COLUMN"),
    ],
)
def test_errors_are_one_line(words: list[str], error: bytes, tmp_path: Path) -> None:
    line = ["sh", "-c", 'exec "$@" <&-', "sh", *command("bongsu:x", *words)]
    environment = {**os.environ, "COLUMNS": "300", "PYTHONPATH": os.getcwd()}
    done = subprocess.run(line, capture_output=True, timeout=600, cwd=tmp_path, env=environment)
    assert done.returncode == 1
    assert error in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"secret" not in done.stderr


def test_a_full_disk_is_one_line() -> None:
    given = "\n".join(map(record, range(3))).encode()
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command("bongsu:x", "--messages"), input=given, stdout=full, stderr=subprocess.PIPE, timeout=600)
    assert done.returncode == 1
    assert b"the disk is full" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_reader_that_goes_away_ends_the_watch(tmp_path: Path) -> None:
    given = tmp_path / "a.jsonl"
    given.write_text("\n".join(map(record, range(10_000))))
    line = ["sh", "-c", f'"$@" < {given} | head -1', "sh", *command("bongsu:x", "--messages")]
    done = subprocess.run(line, capture_output=True, timeout=600)
    assert len(done.stdout.splitlines()) == 1
    assert b"Traceback" not in done.stderr


def test_a_message_that_breaks_the_detector_is_stepped_over() -> None:
    given = "\n".join(record(number, "panic fire" if number == 5 else "fire") for number in range(20)).encode()
    done = watch("--messages", given=given)
    assert len(done.stdout.splitlines()) == 19
    assert b"1 failed" in done.stderr
    assert b"made panic" in done.stderr


def test_a_source_that_fails_is_tried_again_alone_and_one_that_is_refused_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(record(0) + "\n")

    async def main() -> tuple[str, str]:
        async with serving(always(502)) as (failing, seen), serving(always(404)) as (refusing, _):
            sources = [f"http://127.0.0.1:{port}/api/v1/streaming?token=secret" for port in (failing, refusing)]
            process = await asyncio.create_subprocess_exec(
                *command("bongsu:x", path, *sources, "--follow", "--messages"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            assert process.stdout is not None
            first = await process.stdout.readline()
            while len(seen) < 3:
                await asyncio.sleep(0.05)
            with open(path, "a") as file:
                file.write(record(1) + "\n")
            second = await process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            errors = (await process.communicate())[1].decode()
            assert b"fire" in first
            assert b"fire" in second
            assert process.returncode == 0
            return errors, str(failing)

    errors, failing = asyncio.run(asyncio.wait_for(main(), 600))
    lines = [json.loads(line) for line in errors.splitlines() if line.startswith("{")]
    words = [line["message"] for line in lines if line["level"] == "warning"]
    assert len([line for line in words if failing in line and "answered 502" in line]) == 1  # told once
    assert len([line for line in words if "answered 404" in line and "given up" in line]) == 1
    assert "secret" not in errors
    assert "Traceback" not in errors


def test_when_all_sources_are_refused_the_watch_ends_with_their_error() -> None:
    async def main() -> tuple[bytes, int | None]:
        async with serving(always(401)) as (port, _):
            process = await asyncio.create_subprocess_exec(
                *command("bongsu:x", f"http://127.0.0.1:{port}/x"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            return (await process.communicate())[1], process.returncode

    errors, code = asyncio.run(asyncio.wait_for(main(), 600))
    assert code == 1
    assert b"answered 401; is the address right, is a token needed?" in errors


def test_at_a_terminal_the_view_is_drawn_and_the_messages_reach_their_file(tmp_path: Path) -> None:
    given, out = tmp_path / "a.jsonl", tmp_path / "out"
    given.write_text("\n".join(record(number, "fire \x9b2J \u202e") for number in range(42)))
    master, slave = pty.openpty()
    shown = bytearray()

    def drain() -> None:
        while True:
            try:
                shown.extend(os.read(master, 65536))
            except OSError:
                return

    thread = threading.Thread(target=drain, daemon=True)
    thread.start()
    with open(out, "wb") as file:
        environment = {**os.environ, "TERM": "xterm"}
        words = command("bongsu:x", given, "--messages")
        assert subprocess.run(words, stdout=file, stderr=slave, timeout=600, env=environment).returncode == 0
    os.close(slave)
    thread.join(600)
    assert len(out.read_bytes().splitlines()) == 42
    assert b"running alerts" in shown
    assert b"\xc2\x9b" not in shown
    assert "\u202e".encode() not in shown


def test_a_running_watch_can_be_read_asked_and_reloaded(tmp_path: Path) -> None:
    store, path = tmp_path / "watch.db", tmp_path / "a.jsonl"
    start = 1_700_000_000
    quiet = [(start + 60 * minute, f"fire in Oslo {minute} {minute * 7919 % 1000}") for minute in range(120)]
    burst = [(start + 7200 + n, f"flood in Manila {n * 7919 % 1000} {n}") for n in range(40)]
    lines = [{"id": f"{time}", "time": time, "text": text} for time, text in [*quiet, *burst]]
    after = [{"id": f"a{number}", "time": start + 7400, "text": "fire"} for number in range(15)]
    path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, *after]))

    def alerts(*words: object) -> subprocess.CompletedProcess[bytes]:
        line = [sys.executable, "-c", "from bongsu.cli import main; main()", "alerts", str(store), *map(str, words)]
        return subprocess.run(line, capture_output=True, timeout=600)

    with subprocess.Popen(
        command("bongsu:x", path, "--follow", "--store", store), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        deadline = threading.Timer(600, process.kill)
        deadline.start()
        assert process.stdout is not None
        assert process.stderr is not None
        opened = json.loads(process.stdout.readline())
        assert (opened["state"], opened["title"]) == ("opened", "flood: manila")
        assert stat.S_IMODE(store.stat().st_mode) == 0o600
        listed = alerts()
        assert b"flood: manila" in listed.stdout, listed.stderr
        second = watch(path, "--store", store)
        assert second.returncode == 1
        assert b"another watch uses it" in second.stderr
        assert alerts("--acknowledge", "nothing").returncode == 1
        assert alerts("--acknowledge", opened["id"]).returncode == 0
        updated = json.loads(process.stdout.readline())
        assert (updated["id"], updated["state"]) == (opened["id"], "updated")
        assert updated["acknowledged"] is not None
        process.send_signal(signal.SIGHUP)
        while b"opened anew" not in process.stderr.readline():
            pass
        assert alerts("--silence", "flood/manila").returncode == 0
        with open(path, "a") as file:
            later = [{"id": f"l{minute}", "time": start + 9000 + 60 * minute, "text": "flood"} for minute in range(400)]
            file.write("".join(json.dumps(line) + "\n" for line in later))
        until(lambda: b"closed" in alerts("--closed").stdout)
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=600)[0] == b""  # the end was silenced
        deadline.cancel()
    assert json.loads(alerts("--closed", "--json").stdout.splitlines()[0])["silenced"] is True


def test_the_page_obeys_host_and_key_and_has_the_numbers_of_the_watch(bundle: Path, tmp_path: Path) -> None:
    path, key = tmp_path / "a.jsonl", tmp_path / "key"
    path.write_text(record(0) + "\n")
    key.write_text("열쇠 key\n")
    words = ["watch", str(bundle), str(path), "--follow", "--page", "0", "--host", "127.0.0.2", "--api-key-file", str(key)]
    with subprocess.Popen([*MAIN, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = threading.Timer(600, process.kill)
        deadline.start()
        assert process.stderr is not None
        line = next(line for line in process.stderr if "page:" in line)
        address = line.split()[-1]
        assert address.startswith("http://127.0.0.2:")
        until(lambda: b"bongsu_watch_received_total 1.0" in urllib.request.urlopen(f"{address}/metrics").read())
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{address}/v1/stream")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=600)
        deadline.cancel()
