"""Records from standard input, or from a file that may be followed as it grows and is rotated (tail -F)."""

from __future__ import annotations

import asyncio
import os
import select
import sys
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from bongsu.errors import DataError
from bongsu.watch.messages import Arrival
from bongsu.watch.sources.base import Tally
from bongsu.watch.sources.records import Mode, Reading, Records
from bongsu.watch.sources.unpacking import Unpacking

_CHUNK = 1 << 16
_LONGEST_LINE = 1 << 20
_HEAD = 1024
"""Bytes at a file's beginning that tell it from others."""
_KEPT_SECONDS = 300.0
"""How long a file that was renamed is still read: its writer may not know yet."""
_MOST_OLD = 3


class Lines:
    """Splits chunks into lines; one beyond measure is cut."""

    def __init__(self) -> None:
        self._rest = b""

    def split(self, chunk: bytes) -> list[bytes]:
        """Return the lines that `chunk` ends, each with its newline."""
        *ended, self._rest = (self._rest + chunk).split(b"\n")
        lines = [line + b"\n" for line in ended]
        if len(self._rest) > _LONGEST_LINE:
            lines, self._rest = [*lines, self._rest], b""
        return lines

    def rest(self) -> bytes:
        """Return what stood behind the last newline."""
        rest, self._rest = self._rest, b""
        return rest


class Stdin:
    """Standard input; it cannot go back."""

    def __init__(self, reading: Reading | None = None) -> None:
        self.name, self.tally, self.live = "stdin", Tally(), True
        self._reading = reading or Reading()

    async def arrivals(self, cursor: Any) -> AsyncIterator[Arrival]:
        """See `Source`."""
        lines, records, unpacking = Lines(), Records(self.name, self._reading), Unpacking()
        try:
            descriptor = sys.stdin.fileno()
        except (AttributeError, ValueError):
            raise DataError("standard input is closed; name a source.") from None
        while (chunk := await asyncio.to_thread(_read_some, descriptor)) != b"":
            for piece in unpacking.feed(chunk) if chunk else ():
                for line in lines.split(piece):
                    for item in records.read(line, time.time()):
                        self.tally.note(item is not None, line)
                        if item:
                            yield Arrival(item)
        rest = lines.rest()
        for item in [*records.read(rest, time.time()), *records.finish(time.time())]:
            self.tally.note(item is not None, rest)
            if item:
                yield Arrival(item)


@dataclass
class Place:
    """How far a file was read, and how to know it again under another name."""

    inode: int
    offset: int = 0
    """Bytes (of what is unpacked) of whole records."""
    head: int = 0
    """Checksum of the first `min(offset, 1024)` bytes..."""
    line: int = 0
    """...and of the last line before the offset..."""
    length: int = 0
    """...which has so many bytes."""
    mode: Mode = ""
    header: list[str] = field(default_factory=list)


class _Reader:
    """One open file, read from a place on."""

    def __init__(self, path: Path, source: str, reading: Reading, place: Place | None) -> None:
        self.file: IO[bytes] = open(path, "rb")  # noqa: SIM115 - it outlives its name
        self.place = place or Place(os.fstat(self.file.fileno()).st_ino)
        self.place.inode = os.fstat(self.file.fileno()).st_ino
        self._records = Records(source, reading, self.place.mode, self.place.header)
        self._lines, self._unpacking, self._skip = Lines(), Unpacking(), 0
        self._start, self._read_to = b"", self.place.offset
        start = os.pread(self.file.fileno(), _HEAD, 0)
        if start:
            self._unpacking.begin(start)
        if self._unpacking.plain:
            self.file.seek(self.place.offset)
            self._start = start[: self.place.offset]
            self.place.head = zlib.crc32(self._start)
        else:
            self._skip = self.place.offset
        self.replaced: float | None = None
        """When another file took its name."""

    @property
    def packed(self) -> bool:
        return not self._unpacking.plain

    def lines(self) -> Iterator[bytes]:
        """Yield the lines that are there."""
        while chunk := self.file.read(_CHUNK):
            for piece in self._unpacking.feed(chunk):
                skipped = min(self._skip, len(piece))
                self._skip -= skipped
                if len(self._start) < _HEAD and self._skip == 0 and skipped:
                    self._start = (self._start + piece[:skipped])[:_HEAD]
                yield from self._lines.split(piece[skipped:])

    def rest(self) -> bytes:
        return self._lines.rest()

    def arrivals(self, line: bytes, now: float | None, tally: Tally, last: bool = False) -> Iterator[Arrival]:
        """Yield what a line gives; where it gives garbage, the newer place alone."""
        items = list(self._records.read(line, now))
        if last:
            items += self._records.finish(now)
        self._advance(line)
        for item in items:
            tally.note(item is not None, line)
        cursor = asdict(self.place)
        for item in items[:-1]:
            if item is not None:
                yield Arrival(item)  # a line of several is taken up again as a whole
        if items:
            yield Arrival(items[-1], cursor)

    def _advance(self, line: bytes) -> None:
        if not line:
            return
        place = self.place
        self._read_to += len(line)
        if len(self._start) < _HEAD:
            self._start = (self._start + line)[:_HEAD]
            place.head = zlib.crc32(self._start)
        if self._records.pending:
            return
        place.offset, place.line, place.length = self._read_to, zlib.crc32(line), len(line)
        place.mode, place.header = self._records.state()

    def truncated(self, path: Path) -> bool:
        """Return whether what was read no longer stands in this file, whose name is `path`."""
        return os.fstat(self.file.fileno()).st_size < self.file.tell() or not matches(path, self.place)


def matches(path: Path, place: Place) -> bool:
    """Return whether a file holds, up to the place, what was read there."""
    try:
        with open(path, "rb") as file:
            start = file.read(_HEAD)
            unpacking = Unpacking()
            unpacking.begin(start)
            if unpacking.plain:
                head = start[: min(place.offset, _HEAD)]
                file.seek(max(0, place.offset - place.length))
                last = file.read(place.length)
            else:
                file.seek(0)
                head, last, at = b"", b"", 0
                while at < place.offset and (chunk := file.read(_CHUNK)):
                    for piece in unpacking.feed(chunk):
                        head = (head + piece)[:_HEAD]
                        last = (last + piece[: max(0, place.offset - at)])[-max(1, place.length) :]
                        at += len(piece)
                head = head[: place.offset]
    except (OSError, DataError):
        return False
    return len(last) == place.length and zlib.crc32(last) == place.line and (place.offset < 1 or zlib.crc32(head) == place.head)


def _name(path: Path) -> str:
    """Return a file's name as a source; bytes that are no UTF-8, and line ends, are spelled."""
    return "file:" + str(path.resolve()).encode("utf-8", "backslashreplace").decode().replace("\n", "\\n")


class File:
    """A file of records. Its cursor knows the file again when it was renamed, or copied and cut, while nobody watched."""

    def __init__(
        self,
        path: Path,
        follow: bool = False,
        replayed: bool = False,
        poll: float = 0.2,
        reading: Reading | None = None,
        kept_seconds: float = _KEPT_SECONDS,
    ) -> None:
        """
        Args:
            follow: wait for more at the end.
            replayed: a message must have a time.
            poll: seconds between two looks.
            kept_seconds: how long a renamed file is still read.

        Raises:
            DataError: when there is no such file.
        """
        if not path.is_file():
            raise DataError(f"{path}: no such file.")
        self.path, self.name, self.tally, self.live = path, _name(path), Tally(), False
        self._follow, self._replayed, self._poll, self._kept = follow, replayed, poll, kept_seconds
        self._reading = reading or Reading()

    async def arrivals(self, cursor: Any) -> AsyncIterator[Arrival]:
        """See `Source`."""
        old: list[_Reader] = []
        try:
            current = None
            for path, place in self._begin(cursor):
                if current is not None:
                    async for arrival in self._drain(current, old, last=True):
                        yield arrival
                    old.append(current)
                    current.replaced = time.monotonic()
                current = _Reader(path, self.name, self._reading, place)
            assert current is not None
            if not self._follow:
                async for arrival in self._drain(current, old, last=True):
                    yield arrival
                return
            while True:
                if current.packed:
                    raise DataError(f"{self.path}: packed files cannot be followed.")
                if (after := self._successor(current)) is None:  # looked at first: what was cut must not be read on
                    async for arrival in self._drain(current, old):
                        yield arrival
                    async for arrival in self._drain_old(old, current):
                        yield arrival
                    self.live = True
                    await asyncio.sleep(self._poll)
                    continue
                for path, place in after:
                    following = _Reader(path, self.name, self._reading, place)
                    if current.place.inode == os.stat(self.path).st_ino:  # it was cut: what it has now is read from its start
                        current.file.close()
                    else:  # it was renamed: more may be written to it
                        async for arrival in self._drain(current, old):
                            yield arrival
                        current.replaced = time.monotonic()
                        old.append(current)
                    current = following
                    if path != self.path:
                        async for arrival in self._drain(current, old):
                            yield arrival
        finally:
            for reader in old:
                reader.file.close()
            if current is not None:
                current.file.close()

    async def _drain_old(self, old: list[_Reader], current: _Reader) -> AsyncIterator[Arrival]:
        """Yield what was still written to files after they were renamed; let go of them after a while."""
        for reader in list(old):
            over = time.monotonic() - (reader.replaced or 0.0) > self._kept or len(old) > _MOST_OLD
            async for arrival in self._drain(reader, old, last=over, current=current):
                yield arrival
            if over:
                reader.file.close()
                old.remove(reader)

    async def _drain(
        self, reader: _Reader, old: list[_Reader], last: bool = False, current: _Reader | None = None
    ) -> AsyncIterator[Arrival]:
        """Yield what a file has now."""
        for line in reader.lines():
            self.live = False
            for arrival in reader.arrivals(line, self._now(), self.tally):
                yield self._placed(arrival, reader, old, current)
        if last:
            for arrival in reader.arrivals(reader.rest(), self._now(), self.tally, last=True):
                yield self._placed(arrival, reader, old, current)

    def _placed(self, arrival: Arrival, reader: _Reader, old: list[_Reader], current: _Reader | None) -> Arrival:
        if arrival.cursor is None:
            return arrival
        newest = current or reader
        others = [one for one in old if one is not newest]
        return Arrival(arrival.item, {**asdict(newest.place), "old": [asdict(one.place) for one in others[-_MOST_OLD:]]})

    def _now(self) -> float | None:
        return None if self._replayed else time.time()

    def _begin(self, cursor: Any) -> list[tuple[Path, Place | None]]:
        """Return the files to read, oldest first, and from where."""
        if not isinstance(cursor, dict) or "head" not in cursor:
            whole = isinstance(cursor, dict) and "inode" in cursor  # as earlier versions wrote it
            if whole and self.path.stat().st_ino == cursor["inode"] and self.path.stat().st_size >= cursor["offset"]:
                return [(self.path, Place(cursor["inode"], cursor["offset"]))]
            return [(self.path, None)]
        before = [Place(**place) for place in cursor.get("old", [])]
        place = Place(**{key: value for key, value in cursor.items() if key != "old"})
        found: list[tuple[Path, Place | None]] = []
        for older in before:
            if (at := self._find(older)) is not None and at != self.path:
                found.append((at, older))
        at = self._find(place)
        if at == self.path:
            return [*found, (self.path, place)]
        if at is not None:
            found.append((at, place))
            found += [(path, None) for path in self._since(at)]
        return [*found, (self.path, None)]

    def _successor(self, reader: _Reader) -> list[tuple[Path, Place | None]] | None:
        """Return what is to be read after this file, because it was renamed or cut; None when neither."""
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return None  # between two files of a rotation
        if status.st_ino != reader.place.inode:
            return [*((path, None) for path in self._since_reader(reader)), (self.path, None)]
        if not reader.truncated(self.path):
            return None
        copy = self._find(reader.place, but=self.path) if reader.place.offset else None
        return [*([(copy, Place(**asdict(reader.place)))] if copy else []), (self.path, None)]

    def _siblings(self) -> list[Path]:
        """Return the files that rotation may have made of this one, oldest first."""
        stem, suffix = self.path.stem, self.path.suffix
        found = []
        for path in self.path.resolve().parent.iterdir():
            named = path.name.startswith(f"{self.path.name}.") or path.name.startswith(f"{self.path.name}-")
            if (named or (path.name.startswith(f"{stem}-") and suffix in path.suffixes)) and path.is_file():
                found.append(path)
        return sorted(found, key=lambda path: path.stat().st_mtime_ns)

    def _find(self, place: Place, but: Path | None = None) -> Path | None:
        """Return the file that a place is of, whatever its name is now."""
        candidates = [self.path, *reversed(self._siblings())]
        same = [path for path in candidates if path.exists() and path.stat().st_ino == place.inode]
        for path in [*same, *(path for path in candidates if path not in same)]:
            if path != but and path.exists() and matches(path, place):
                return path
        return None

    def _since(self, path: Path) -> list[Path]:
        """Return the files that were rotated away after this one."""
        siblings = self._siblings()
        return siblings[siblings.index(path) + 1 :] if path in siblings else []

    def _since_reader(self, reader: _Reader) -> list[Path]:
        own = next((path for path in self._siblings() if path.stat().st_ino == reader.place.inode), None)
        return self._since(own) if own else []


def _read_some(descriptor: int) -> bytes | None:
    """Return some bytes, b"" at the end, None when there are none yet: so that the thread never hangs for good."""
    ready, _, _ = select.select([descriptor], [], [], 0.5)
    return os.read(descriptor, _CHUNK) if ready else None
