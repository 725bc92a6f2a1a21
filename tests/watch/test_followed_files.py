"""Files that grow, are renamed, copied and cut, while somebody watches and while nobody does."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import random
import shutil
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from bongsu.watch.messages import Message
from bongsu.watch.sources.lines import File


def line(number: int) -> str:
    return json.dumps({"id": str(number), "text": f"message {number}", "time": 1_700_000_000}) + "\n"


def append(path: Path, *numbers: int) -> None:
    with open(path, "a") as file:
        file.write("".join(map(line, numbers)))


class Reading:
    """Reads a file until it has nothing more, and goes on where it stopped."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.path, self.cursor, self.ids = path, None, list[str]()
        self._options = {"follow": True, "poll": 0.001, **options}

    async def follow(self, source: File, steps: list[Any], at_end: int) -> None:
        """Take what comes; whenever nothing more comes, do the next step; stop after the last."""
        async with aclosing(source.arrivals(self.cursor)) as arrivals:  # type: ignore[type-var]
            left = list(steps)
            while True:
                try:
                    arrival = await asyncio.wait_for(asyncio.shield(waiting := asyncio.ensure_future(anext(arrivals))), 0.1)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    while not waiting.done():
                        if not left:
                            waiting.cancel()
                            await asyncio.gather(waiting, return_exceptions=True)
                            return
                        left.pop(0)()
                        await asyncio.wait([waiting], timeout=0.2)
                    arrival = await waiting
                if isinstance(arrival.item, Message):
                    self.ids.append(arrival.item.id)
                if arrival.cursor is not None:
                    self.cursor = json.loads(json.dumps(arrival.cursor))

    def run(self, *steps: Any) -> list[str]:
        asyncio.run(asyncio.wait_for(self.follow(File(self.path, **self._options), list(steps), 0), 600))
        return self.ids


def ids(*numbers: int) -> list[str]:
    return [str(number) for number in numbers]


def copytruncate(path: Path, to: str) -> None:
    shutil.copyfile(path, path.with_name(to))
    os.truncate(path, 0)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.jsonl"
    append(path, 0, 1, 2)
    return path


def test_renamed_while_watched_the_old_file_is_still_read(log: Path) -> None:
    def rotate() -> None:
        append(log, 3)
        log.rename(log.with_name("log.jsonl.1"))
        append(log.with_name("log.jsonl.1"), 4)  # its writer does not know yet
        append(log, 5)

    reading = Reading(log)
    assert sorted(reading.run(rotate, lambda: append(log.with_name("log.jsonl.1"), 6), lambda: append(log, 7))) == ids(
        *range(8)
    )
    append(log, 8)
    append(log.with_name("log.jsonl.1"), 9)
    assert sorted(reading.run()) == ids(*range(10))


def test_cut_while_watched(log: Path) -> None:
    def rotate() -> None:
        append(log, 3)
        copytruncate(log, "log.jsonl.1")
        append(log, *range(4, 12))  # it is longer at once than it was

    assert Reading(log).run(rotate, lambda: append(log, 12)) == ids(*range(13))


def test_renamed_several_times_while_nobody_watched(log: Path) -> None:
    reading = Reading(log)
    reading.run()
    append(log, 3, 4)
    log.rename(log.with_name("log.jsonl.2"))
    append(log.with_name("log.jsonl.1"), 5, 6)
    append(log, 7)
    assert reading.run() == ids(*range(8))


def test_renamed_and_packed_while_nobody_watched(log: Path) -> None:
    reading = Reading(log)
    reading.run()
    append(log, 3, 4)
    log.with_name("log.jsonl.1.gz").write_bytes(gzip.compress(log.read_bytes()))
    log.unlink()
    append(log, 5)
    assert reading.run() == ids(*range(6))


def test_cut_while_nobody_watched(log: Path) -> None:
    reading = Reading(log)
    reading.run()
    append(log, 3, 4)
    copytruncate(log, "log.jsonl-20231114")
    append(log, *range(5, 20))
    assert reading.run() == ids(*range(20))


def test_another_file_with_the_same_inode_is_read_from_its_start(log: Path) -> None:
    reading = Reading(log)
    reading.run()
    log.write_text("")
    append(log, *range(10, 20))
    assert reading.run() == ids(0, 1, 2, *range(10, 20))


def test_half_a_line_is_waited_for(log: Path) -> None:
    def half() -> None:
        with open(log, "a") as file:
            file.write(line(3)[:20])

    def rest() -> None:
        with open(log, "a") as file:
            file.write(line(3)[20:])

    reading = Reading(log)
    reading.run(half)
    assert reading.run(rest) == ids(0, 1, 2, 3)


def test_any_mixture_of_rotations_loses_and_repeats_nothing(tmp_path: Path) -> None:
    draw = random.Random(0)
    log = tmp_path / "log.jsonl"
    numbers = iter(range(10_000))
    append(log, next(numbers))
    reading = Reading(log)
    reading.run()

    def write() -> None:
        append(log, *(next(numbers) for _ in range(draw.randint(1, 30))))

    def rename() -> None:
        for old in range(9, 0, -1):
            if log.with_name(f"log.jsonl.{old}").exists():
                log.with_name(f"log.jsonl.{old}").rename(log.with_name(f"log.jsonl.{old + 1}"))
        log.rename(log.with_name("log.jsonl.1"))
        append(log)

    def cut() -> None:
        for old in range(9, 0, -1):
            if log.with_name(f"log.jsonl.{old}").exists():
                log.with_name(f"log.jsonl.{old}").rename(log.with_name(f"log.jsonl.{old + 1}"))
        copytruncate(log, "log.jsonl.1")

    for _ in range(8):
        steps = [step for _ in range(3) for step in (write, draw.choice([rename, cut, write]), write)]
        for step in steps[:5]:  # while nobody watches
            step()
        reading.run(*steps[5:])
    last = next(numbers)
    append(log, last)
    assert sorted(map(int, reading.run())) == list(range(last + 1))
