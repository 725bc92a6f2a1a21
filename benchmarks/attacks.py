"""Hostile input, each in a process of its own under a memory limit: what came of it, the peak memory, the seconds.

    python -m benchmarks.attacks [NAME ...]

The memory is that of the whole process, with the libraries that it imports and the making of the input.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.measuring import markdown, peak_megabytes

_LIMIT = 4 * 2**30
_SECONDS = 120
_ZIP = zipfile.ZIP_DEFLATED
Attack = Callable[[Path], str]
ATTACKS: dict[str, tuple[Attack, str]] = {}


def attack(name: str, before: str = "") -> Callable[[Attack], Attack]:
    """Enter an attack under its name, with what it did when it was reported."""

    def enter(run: Attack) -> Attack:
        ATTACKS[name] = run, before
        return run

    return enter


def _read(path: Path, **settings: str) -> str:
    from bongsu.corpus.readers import ReadStats, read
    from bongsu.errors import BongsuError
    from bongsu.recipe import Source

    stats, count, characters = ReadStats(1000), 0, 0
    try:
        for document in read(Source.model_validate({"path": str(path), **settings}), stats):
            count, characters = count + 1, characters + len(document.text)
    except BongsuError as error:
        return f"refused: {str(error).replace(str(path), path.name)[:90]}"
    return f"{count:,} rows, {characters:,} characters read; {stats.count} refused"


@attack("Parquet: run-length dictionary", "6.2 GB")
def _dictionary(folder: Path) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), pa.array(["x" * 100_000]))
    pq.write_table(pa.table({"text": text}), folder / "a.parquet", compression="zstd")
    return _read(folder / "a.parquet")


@attack("Parquet: false footer", "6 GB")
def _footer(folder: Path) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a"] * 10}), folder / "a.parquet")
    content = (folder / "a.parquet").read_bytes()
    (folder / "a.parquet").write_bytes(content[:-8] + (2**31 - 1).to_bytes(4, "little") + b"PAR1")
    return _read(folder / "a.parquet")


@attack("xlsx: one shared string in 1,000 cells", "6.5 GB")
def _shared(folder: Path) -> str:
    import openpyxl

    book = openpyxl.Workbook()
    for row in [["SID", "원문", "번역문"], *([number, "SHARED", "SHARED"] for number in range(500))]:
        book.active.append(row)
    made = io.BytesIO()
    book.save(made)
    with zipfile.ZipFile(made) as old, zipfile.ZipFile(folder / "a.xlsx", "w", _ZIP) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"SHARED", b"x" * 6_000_000))
    return _read(folder / "a.xlsx")


@attack("zstd: a wide list", "3.3 GB")
def _wide(folder: Path) -> str:
    import zstandard

    (folder / "a.json.zst").write_bytes(zstandard.compress(b'{"data": [' + b"[],[]," * 20_000_000 + b"[]]}"))
    return _read(folder / "a.json.zst")


@attack("zstd: one line of 1 GB")
def _line(folder: Path) -> str:
    import zstandard

    packer = zstandard.ZstdCompressor().compressobj()
    with open(folder / "a.jsonl.zst", "wb") as file:
        file.write(packer.compress(b'{"text": "'))
        for _ in range(1024):
            file.write(packer.compress(b"x" * 2**20))
        file.write(packer.flush())
    return _read(folder / "a.jsonl.zst")


@attack("JSON: 10,000,000 brackets deep")
def _deep(folder: Path) -> str:
    (folder / "a.json").write_bytes(b"[" * 10_000_000)
    return _read(folder / "a.json")


@attack("xlsx: entities within entities")
def _entities(folder: Path) -> str:
    names = "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(10))
    with zipfile.ZipFile(folder / "a.xlsx", "w", _ZIP) as archive:
        for part in ("[Content_Types].xml", "_rels/.rels", "xl/workbook.xml", "xl/worksheets/sheet1.xml"):
            archive.writestr(part, f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a0 "x">{names}]><a>&a10;</a>')
    return _read(folder / "a.xlsx")


@attack("zip: 100,000 members")
def _members(folder: Path) -> str:
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for number in range(100_000):
            archive.writestr(f"{number}.json", b"{}")
    return _read(folder / "a.zip")


@attack("zip within a zip, names that lead out")
def _nested(folder: Path) -> str:
    with zipfile.ZipFile(folder / "a.zip", "w", _ZIP) as archive:
        archive.writestr("../../outside.json", b'{"data": [{"ko": "a", "en": "b"}]}')
        archive.writestr("inner.zip", b"PK" + b"\0" * 10_000_000)
    return f"{_read(folder / 'a.zip')}; written outside: {(folder / '../../outside.json').exists()}"


@attack("combining marks, 160 kB", "23.5 s")
def _marks(folder: Path) -> str:
    from bongsu.corpus.cleaning import Cleaner
    from bongsu.recipe import Cleaning

    cleaned = Cleaner(Cleaning()).clean("e" + "\u0301\u0323" * 40_000)
    return "dropped" if cleaned is None else f"cut to {len(cleaned)} characters"


@attack("recipe: reference:// chain", "environment read")
def _chain(folder: Path) -> str:
    (folder / "a.txt").write_text('{"version": 1, "templates": {}, "refs": {}}')
    answers = [
        _read(Path(path))
        for path in (
            f"reference://{folder}/a.txt::http://127.0.0.1:1/",
            "simplecache::file:///etc/passwd",
            "local:///etc/passwd",
        )
    ]
    assert all(answer.startswith("refused") for answer in answers), answers
    return f"{len(answers)} of {len(answers)} refused"


@attack("OSC 52, C1, bidi in a message", "clipboard set")
def _escapes(folder: Path) -> str:
    from bongsu.printable import printable

    shown = printable("\x1b]52;c;ZXZpbA==\x07\x9b2J\u202eabc\r\n\u2028\U000e0041")
    assert shown.isprintable(), ascii(shown)
    return "spelled out"


@attack("CSV formulas", "run by a spreadsheet")
def _formulas(folder: Path) -> str:
    from bongsu.printable import unformula

    cells = ["=1+1", "\n=1", "＝1", " =1", "\t=1", "\r@x", "\u00a0=1", "'=1", "\u2003－1"]
    assert all(unformula(cell).startswith("'") and unformula(cell) != cell for cell in cells)
    return f"{len(cells)} of {len(cells)} made text"


@attack("spellings of time", "11 of 18 unread")
def _times(folder: Path) -> str:
    from bongsu.watch.times import read_time

    forms = ["2023-11-14T22:13:20Z", "2023-11-14 22:13:20 UTC", "2023/11/14 22:13:20", "Tue Nov 14 22:13:20 +0000 2023",
             "Tue, 14 Nov 2023 22:13:20 GMT", "20231114T221320Z", "1700000000", 1700000000000, "2023. 11. 14. 22:13:20",
             "2023년 11월 14일 오후 10:13:20", "2023-11-15 07:13:20 KST", "14/Nov/2023:22:13:20 +0000"]  # fmt: skip
    assert [read_time(form) for form in forms] == [1_700_000_000] * len(forms)
    assert all(read_time(odd) is None for odd in ("9" * 100_000, "1e999", "-" * 100_000, 10**5000, float("inf"), "²" * 9))
    return f"{len(forms)} of {len(forms)} read, 6 impossible ones passed over"


@attack("webhook: 포항시 in the id", "watch ended at every start")
def _webhook(folder: Path) -> str:
    import httpx

    from bongsu.watch.webhook import Webhook

    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200)

    hook = Webhook("http://127.0.0.1:9/x", folder / "dead", True, transport=httpx.MockTransport(answer))
    asyncio.run(hook.send(1, {"id": "flood/포항시", "title": "\ud83d"}))
    asyncio.run(hook.send(2, {"id": "flood/bogotá", "title": "bogotá"}))
    assert hook.delivered + hook.dead == 2
    return f"{hook.delivered} delivered, {hook.dead} (half an emoji) kept as dead letter"


@attack("webhook: other ways to write a private address", "NAT64 let through")
def _private(folder: Path) -> str:
    from bongsu.watch.addresses import ForbiddenAddressError, public_addresses

    hosts = [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "0.0.0.0",
        "::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",
        "fe80::1",
        "fd00::1",
        "169.254.169.254",
        "100.64.0.1",
        "::127.0.0.1",
        "::ffff:0:127.0.0.1",
    ]
    let = []
    for host in hosts:
        try:
            asyncio.run(public_addresses(host, 80, False))
            let.append(host)
        except (ForbiddenAddressError, OSError):
            pass
    assert not let, let
    return f"{len(hosts)} of {len(hosts)} refused"


@attack("watch: 118 keys a message, 60,000 messages", "926 MB")
def _keys(folder: Path) -> str:
    return _flood(60_000, lambda n: f"fire flood quake {' '.join(f'#p{n * 20 + k}' for k in range(60))}", 1000)


@attack("watch: flood of made-up places", "false alarms")
def _places(folder: Path) -> str:
    return _flood(60_000, lambda n: f"fire in Town{n} " + " ".join(random.Random(n).choices("abcdefghij", k=12)), 10)


@attack("watch: 600 posts of one author", "17 alerts")
def _author(folder: Path) -> str:
    words = ["road", "school", "house", "water", "street", "people", "night", "rain", "car", "market", "bridge"]
    draw = random.Random(0)
    return _flood(600, lambda n: f"Explosion in Boston {' '.join(draw.choices(words, k=9))}", 0.2, "one", quiet=True)


def _flood(count: int, text: Callable[[int], str], rate: float, author: str = "", quiet: bool = False) -> str:
    from bongsu.watch.events import Events
    from bongsu.watch.messages import Message
    from bongsu.watch.tracking import Settings

    events, opened, slowest, begin = Events(Settings()), 0, 0.0, 1_700_000_000.0
    before = [Message(f"q{n}", f"flood near Delhi {n} {n * 7919 % 997}", begin - 7200 + 12 * n, f"q{n}") for n in range(600)]
    flood = [Message(str(n), text(n), begin + n / rate, author or str(n)) for n in range(count)]
    for message in [*(before if quiet else []), *flood]:
        started = time.perf_counter()
        events.add(message, 0.9)
        told = events.advance(message.time)
        slowest = max(slowest, time.perf_counter() - started)
        opened += sum(body["state"] == "opened" for body in told)
    return f"{opened} alerts; longest stop {slowest:.2f} s"


def _one(name: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_LIMIT, _LIMIT))
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        outcome = ATTACKS[name][0](Path(folder))
    print(json.dumps([outcome, peak_megabytes(), time.perf_counter() - started]))


def main() -> None:
    """Run the attacks one after another and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="parts of the names of the attacks to run; all by default")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        return _one(given.one)
    rows = []
    for name, (_, before) in ATTACKS.items():
        if given.names and not any(part in name for part in given.names):
            continue
        command = [sys.executable, "-m", "benchmarks.attacks", "--one", name]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_SECONDS, env={**os.environ, "NO_COLOR": "1"}
            )
            outcome, peak, seconds = (
                json.loads(done.stdout.splitlines()[-1])
                if done.returncode == 0
                else (f"BROKE: exit {done.returncode}: {(done.stderr.strip().splitlines() or [''])[-1][-150:]}", 0.0, 0.0)
            )
        except subprocess.TimeoutExpired:
            outcome, peak, seconds = "BROKE: not done in time", 0.0, float(_SECONDS)
        rows.append([name, before, outcome.replace("|", "/"), f"{peak:.0f}", f"{seconds:.1f}"])
        print(rows[-1], file=sys.stderr, flush=True)
    print(markdown(["attack", "before", "now", "peak MB", "s"], rows))
    return None


if __name__ == "__main__":
    main()
