"""Texts, times and addresses, given to the functions that meet them first."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path

from benchmarks.attacks import attack
from benchmarks.measuring import peak_megabytes
from bongsu.watch.tracking import Settings


@attack("combining marks, 160 kB", "23.5 s")
def _marks(folder: Path) -> str:
    from bongsu.corpus.cleaning import Cleaner
    from bongsu.recipe import Cleaning

    cleaned = Cleaner(Cleaning()).clean("e" + "\u0301\u0323" * 40_000)
    return "dropped" if cleaned is None else f"cut to {len(cleaned)} characters"


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


def _name(number: int) -> str:
    """Return a made-up name: digits would be taken off."""
    return "qz" + "".join(chr(ord("a") + number // 26**place % 26) for place in range(4))


@attack("watch: 118 keys a message, 60,000 messages", "926 MB")
def _keys(folder: Path) -> str:
    return _flood(60_000, lambda n: f"fire flood quake {' '.join(f'#{_name(n * 20 + k)}' for k in range(60))}", 1000)


@attack("watch: 30,000 hashtags and places, 60,000 messages at 1,000/s")
def _tags(folder: Path) -> str:
    draw = random.Random(0)

    def text(n: int) -> str:
        words = " ".join(draw.choices("abcdefghijklm", k=12))
        return f"fire in {_name(n * 11 % 30_000).title()} {words} #{_name(n * 7919 % 30_000)}"

    return _flood(60_000, text, 1000)


@attack("watch: flood of made-up places", "false alarms")
def _places(folder: Path) -> str:
    draw = random.Random(0)
    return _flood(60_000, lambda n: f"fire in {_name(n).title()} {' '.join(draw.choices('abcdefghijklm', k=12))}", 10)


@attack("watch: 600 posts of one author", "17 alerts")
def _author(folder: Path) -> str:
    words = ["road", "school", "house", "water", "street", "people", "night", "rain", "car", "market", "bridge"]
    draw = random.Random(0)
    return _flood(600, lambda n: f"Explosion in Boston {' '.join(draw.choices(words, k=9))}", 0.2, "one", quiet=True)


@attack("watch: bursts of made-up places without end, each of six authors", "stood still for 5.8 s")
def _bursts(folder: Path) -> str:
    """Each is what an event looks like; they are to be few alerts, and not to slow the watch down."""
    draw = random.Random(0)

    def text(n: int) -> str:
        first = n // 6 * 6
        tags = " ".join(f"#{_name(first + k)}" for k in range(1, 6))
        return f"help in {_name(first).title()} {' '.join(draw.choices('abcdefghijklm', k=12))} {tags}"

    return _flood(12_000, text, 10, quiet=True, most=Settings().max_open)


@attack("watch: 25,000 messages of 10,000 emoji within 25 s", "1,074 MB")
def _emoji(folder: Path) -> str:
    return _flood(25_000, lambda n: f"fire {n} {chr(0x1F600) * 9990}", 1000)


def _flood(count: int, text: Callable[[int], str], rate: float, author: str = "", quiet: bool = False, most: int = 0) -> str:
    """Give a made stream to the watch's events; `most` alerts may be opened."""
    from bongsu.watch.events import Events
    from bongsu.watch.messages import Message

    events, opened, slowest, total, begin = Events(Settings()), 0, 0.0, 0.0, 1_700_000_000.0
    before = [Message(f"q{n}", f"flood near Delhi {n} {n * 7919 % 997}", begin - 7200 + 12 * n, f"q{n}") for n in range(600)]
    flood = (Message(str(n), text(n), begin + n / rate, author or str(n)) for n in range(count))
    for message in chain(before if quiet else [], flood):
        started = time.process_time()
        events.add(message, 0.9)
        told = events.advance(message.time)
        took = time.process_time() - started
        slowest, total = max(slowest, took), total + took
        opened += sum(body["state"] == "opened" for body in told)
    peak = peak_megabytes()
    assert opened <= most, f"{opened} false alerts"
    assert slowest < 2, f"stood still for {slowest:.1f} s of the processor"
    assert peak < 400, f"took {peak:.0f} MB"
    return f"{opened} alerts; longest stop {slowest:.2f} s; {count / total:,.0f} messages a second of one core"


@attack("watch: 300 messages of 10,000 characters")
def _long(folder: Path) -> str:
    draw = random.Random(0)
    texts = [
        "화재 " + "".join(draw.choices("가나다라마바사 ", k=9990)),
        " ".join(f"Ab{''.join(draw.choices('abc', k=4))}" for _ in range(1600)),
    ]
    return _flood(300, lambda n: f"{n * 7919} {texts[n % 2]}", 5)


@attack("messages: tags never closed, JSON never ended, impossible times")
def _endless(folder: Path) -> str:
    import orjson

    from bongsu.watch.sources.jetstream import item_of
    from bongsu.watch.sources.mastodon import plain
    from bongsu.watch.sources.records import Reading, Records

    for text in ("<" * 2_000_000, "<br " * 500_000, "&#" * 1_000_000):
        plain(text)
    records, garbage = Records("a", Reading()), 0
    for line in [b"[\n", b'{"a": [\n', *[b"1,\n"] * 300_000, *[b"{x " * 100_000 + b"\n"] * 3]:
        garbage += sum(item is None for item in records.read(line, 0.0))
    commit = {"collection": "app.bsky.feed.post", "operation": "create", "rkey": "\0", "record": {"text": "fire"}}
    for moment in (-(10**18), 0):
        assert (
            item_of(orjson.loads(orjson.dumps({"did": "a", "time_us": moment, "kind": "commit", "commit": commit})), "a")
            is None
        )
    return f"{garbage:,} pieces counted as garbage"
