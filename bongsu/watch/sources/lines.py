"""JSON Lines from standard input or a file, which may be followed as it grows and is rotated (tail -F)."""

from __future__ import annotations

import asyncio
import os
import select
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any

import orjson

from bongsu.errors import DataError
from bongsu.watch.messages import Arrival, Deletion, Item, message_of
from bongsu.watch.sources.safety import reference_of

_CHUNK = 1 << 16
_LONGEST_LINE = 1 << 20


def item_of(line: bytes, source: str, now: float | None) -> Item | None:
    """The item in a line: a message, an official record (`MSG_CN`), or `{"delete": ID}`; None for garbage."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if isinstance(record, dict):
        if "MSG_CN" in record:
            return reference_of(record)
        if isinstance(record.get("delete"), str | int):
            return Deletion(str(record["delete"]))
    return message_of(record, source, now)


class Lines:
    """Splits chunks into lines; a line beyond measure is garbage."""

    def __init__(self) -> None:
        self._rest = b""

    def split(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` ends, each with its newline."""
        *ended, self._rest = (self._rest + chunk).split(b"\n")
        lines = [line + b"\n" for line in ended]
        if len(self._rest) > _LONGEST_LINE:
            lines, self._rest = [*lines, self._rest], b""
        return lines

    def rest(self) -> bytes:
        """What stood behind the last newline."""
        rest, self._rest = self._rest, b""
        return rest


class Stdin:
    """Standard input; it cannot go back."""

    def __init__(self) -> None:
        self.name, self.garbage, self.live = "stdin", 0, True

    async def arrivals(self, cursor: Any) -> AsyncIterator[Arrival]:
        """See `Source`."""
        lines, descriptor = Lines(), sys.stdin.fileno()
        while (chunk := await asyncio.to_thread(_read, descriptor)) != b"":
            for line in lines.split(chunk or b""):
                if arrival := self._arrival(line):
                    yield arrival
        if arrival := self._arrival(lines.rest()):
            yield arrival

    def _arrival(self, line: bytes) -> Arrival | None:
        if not line.strip():
            return None
        item = item_of(line, self.name, time.time())
        self.garbage += item is None
        return Arrival(item) if item else None


class File:
    """A file of JSON Lines. Its cursor is the file's identity (inode) and the place in it."""

    def __init__(self, path: Path, follow: bool = False, replayed: bool = False, poll: float = 0.2) -> None:
        """Args: follow: wait for more at the end. replayed: a message must tell its time. poll: seconds between looks."""
        if not path.is_file():
            raise DataError(f"{path}: no such file.")
        self.path, self.name, self.garbage, self.live = path, f"file:{path.resolve()}", 0, True
        self._follow, self._replayed, self._poll = follow, replayed, poll

    async def arrivals(self, cursor: Any) -> AsyncIterator[Arrival]:
        """See `Source`."""
        place = cursor
        while True:
            with open(self.path, "rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                if place and place["inode"] == inode and place["offset"] <= os.fstat(file.fileno()).st_size:
                    file.seek(place["offset"])
                async for arrival in self._read(file, inode):
                    yield arrival
            place = None  # another file stands in its place now
            if not self._follow:
                return

    async def _read(self, file: IO[bytes], inode: int) -> AsyncIterator[Arrival]:
        lines, offset, gone = Lines(), file.tell(), False
        while True:
            chunk = file.read(_CHUNK)
            for line in lines.split(chunk) if chunk else []:
                offset += len(line)
                if line.strip():
                    item = item_of(line, self.name, None if self._replayed else time.time())
                    self.garbage += item is None
                    yield Arrival(item, {"inode": inode, "offset": offset})
            if chunk:
                continue
            if not self._follow or gone:
                if line := lines.rest().strip():
                    item = item_of(line, self.name, None if self._replayed else time.time())
                    self.garbage += item is None
                    yield Arrival(item, {"inode": inode, "offset": file.tell()})
                return
            gone = self._replaced(inode, file.tell())  # read once more: lines may have come before it was
            if not gone:
                await asyncio.sleep(self._poll)

    def _replaced(self, inode: int, offset: int) -> bool:
        """Whether the name stands for another file, or for one that was cut."""
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return False  # between two files of a rotation
        return status.st_ino != inode or status.st_size < offset


def _read(descriptor: int) -> bytes | None:
    """Some bytes, b"" at the end, None when there are none yet: so that the thread never hangs for good."""
    ready, _, _ = select.select([descriptor], [], [], 0.5)
    return os.read(descriptor, _CHUNK) if ready else None
