"""The first sheet of an .xlsx workbook, row by row: a workbook is a zip file of XML.

It is read with a streaming parser, and texts that many cells share are held once, so that memory depends on the different
texts alone and not on what the sheet makes of them.
"""

from __future__ import annotations

import io
import re
import sys
import zipfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO
from xml.parsers import expat

from bongsu.corpus.streams import BOMB_BYTES, BOMB_RATIO
from bongsu.errors import BongsuError, DataError

LARGEST = 4 * 2**30
"""Bytes of XML; a real workbook of 200,000 pairs has about 0.2 GB."""
MOST_SHARED = 160 * 2**20
"""Bytes of memory for the different texts of a workbook; 200,000 pairs take about 0.1 GB."""
LONGEST_CELL = 2**20
"""Characters; Excel itself allows 32,767."""
MOST_COLUMNS = 16_384
"""As many as Excel allows."""

_CHUNK = 2**16
_LONGEST_TAG = 2**20
_DEEPEST = 64
_LARGEST_DIRECTORY = 8 * 2**20  # bytes of a zip file's list of members, for about 100,000 of them
_LETTERS = re.compile(r"([A-Za-z]{1,3})(\d{1,7})")

Row = tuple[int, dict[int, str]]


def first_sheet(path: str, stream: IO[bytes]) -> Iterator[Row]:
    """Read the rows of the first sheet as (number from 1, text of each column from 0); empty cells and rows are left out.

    Raises:
        DataError: when the file is not a workbook, is a bomb, or holds more than can be read in little memory.
    """
    with zip_errors(path, "workbook"), open_zip(path, stream) as archive:
        sheet, shared = _parts(path, archive)
        texts = list(_shared(path, archive, shared)) if shared is not None else []
        yield from _Sheet(path, texts).rows(archive, sheet)


@contextmanager
def open_zip(path: str, stream: IO[bytes]) -> Iterator[zipfile.ZipFile]:
    """Open a zip file.

    Raises:
        DataError: when it unpacks beyond reason, or lists too many members.
    """
    with zipfile.ZipFile(_Bounded(path, stream)) as archive:
        packed = sum(entry.compress_size for entry in archive.infolist())
        unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > BOMB_BYTES and unpacked > BOMB_RATIO * packed:
            raise DataError(f"{path}: unpacks to {unpacked:,} bytes, {BOMB_RATIO} times its size; a bomb? It is not read.")
        yield archive


@contextmanager
def zip_errors(path: str, kind: str) -> Iterator[None]:
    """Turn the many errors of damaged zip files and workbooks into a message."""
    try:
        yield
    except (BongsuError, GeneratorExit, KeyboardInterrupt):
        raise
    except Exception as error:
        raise DataError(f"{path}: not a readable {kind} ({str(error)[:200] or type(error).__name__}).") from None


class _Bounded(io.RawIOBase):
    """A file of which no more is read at once than the list of members of a reasonable zip file."""

    def __init__(self, path: str, stream: IO[bytes]) -> None:
        self._path, self._stream = path, stream

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > _LARGEST_DIRECTORY:
            if size >= 0:
                raise DataError(f"{self._path}: this zip file has more members than are read.")
            data = self._stream.read(_LARGEST_DIRECTORY)
            if self._stream.read(1):
                raise DataError(f"{self._path}: this zip file has more members than are read.")
            return data
        return self._stream.read(size)


def _parts(path: str, archive: zipfile.ZipFile) -> tuple[str, str | None]:
    """Return the names of the first sheet and of the shared texts, if there are any.

    Raises:
        DataError: when this is another kind of zip file.
    """
    names = set(archive.namelist())
    if "xl/workbook.xml" not in names:
        raise DataError(f"{path}: not an .xlsx workbook.")
    sheets = [attributes for name, attributes in _elements(path, archive, "xl/workbook.xml") if name == "sheet"]
    targets: dict[str, str] = {}
    shared = None
    if "xl/_rels/workbook.xml.rels" in names:
        for name, attributes in _elements(path, archive, "xl/_rels/workbook.xml.rels"):
            if name == "Relationship":
                target = attributes.get("Target", "")
                target = target.removeprefix("/") if target.startswith("/") else f"xl/{target}"
                targets[attributes.get("Id", "")] = target
                if attributes.get("Type", "").endswith("/sharedStrings"):
                    shared = target
    if not sheets:
        raise DataError(f"{path}: a workbook without a sheet.")
    sheet = targets.get(sheets[0].get("id", ""), "xl/worksheets/sheet1.xml")
    if sheet not in names:
        raise DataError(f"{path}: the first sheet, {sheet}, is missing from the workbook.")
    return sheet, shared if shared in names else None


def _elements(path: str, archive: zipfile.ZipFile, part: str) -> list[tuple[str, dict[str, str]]]:
    """Return the names and attributes of all elements of a small part, without the prefixes of their namespaces."""
    found: list[tuple[str, dict[str, str]]] = []

    class Elements(_Parser):
        def start(self, name: str, attributes: dict[str, str]) -> None:
            found.append((name, {key.rpartition(":")[2]: value for key, value in attributes.items()}))
            if len(found) > 10_000:
                raise DataError(f"{path}: {part} lists more than 10,000 parts.")

    Elements(path).parse(archive, part)
    return found


def _shared(path: str, archive: zipfile.ZipFile, part: str) -> Iterator[str]:
    """Read the shared strings, in order.

    Raises:
        DataError: when they are more than `MOST_SHARED`.
    """
    shared = _Shared(path)
    size = 0
    for _ in shared.steps(archive, part):
        while shared.found:
            text = shared.found.popleft()
            size += sys.getsizeof(text) + 8
            if size > MOST_SHARED:
                raise DataError(
                    f"{path}: holds more than {MOST_SHARED >> 20} MiB of different texts; save it as several workbooks."
                )
            yield text


class _Parser:
    """A streaming XML parser that refuses what no workbook holds: entities, deep nesting, endless tags."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._depth = self._events = 0

    def parse(self, archive: zipfile.ZipFile, part: str) -> None:
        """Read a part from front to back.

        Raises:
            DataError: when it is not of the kind that a workbook holds, or too large.
        """
        for _ in self.steps(archive, part):
            pass

    def steps(self, archive: zipfile.ZipFile, part: str) -> Iterator[None]:
        """Parse piece by piece."""
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = self.text, self._doctype
        size = without = 0
        with archive.open(part) as stream:
            while chunk := stream.read(_CHUNK):
                size += len(chunk)
                events = self._events
                parser.Parse(chunk, False)
                without = 0 if self._events > events else without + len(chunk)
                if without > _LONGEST_TAG:
                    raise DataError(f"{self._path}: {part} is not the XML of a workbook.")
                if size > LARGEST:
                    raise DataError(f"{self._path}: holds more than {LARGEST >> 30} GiB; save it as several workbooks.")
                yield
        parser.Parse(b"", True)
        yield

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Handle the start of an element; `name` is without the prefix of its namespace."""

    def end(self, name: str) -> None:
        """Handle the end of an element."""

    def text(self, text: str) -> None:
        """Handle text between tags, or a piece of it."""
        self._events += 1

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._events += 1
        self._depth += 1
        if self._depth > _DEEPEST:
            raise DataError(f"{self._path}: XML nested more than {_DEEPEST} levels deep is not that of a workbook.")
        self.start(name.rpartition(":")[2], attributes)

    def _end(self, name: str) -> None:
        self._events += 1
        self._depth -= 1
        self.end(name.rpartition(":")[2])

    def _doctype(self, *_: object) -> None:
        raise DataError(f"{self._path}: XML with a document type is not that of a workbook.")


class _Texts(_Parser):
    """A parser that gathers the text of some elements."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._pieces: list[str] = []
        self._length = 0
        self._inside = False

    def text(self, text: str) -> None:
        super().text(text)
        if self._inside:
            self._pieces.append(text)
            self._length += len(text)
            if self._length > LONGEST_CELL:
                raise DataError(f"{self._path}: a cell of more than {LONGEST_CELL:,} characters.")

    def taken(self) -> str:
        """Return the text gathered so far, and start anew."""
        text = "".join(self._pieces)
        self._pieces, self._length = [], 0
        return text


class _Shared(_Texts):
    """The texts that cells share: what stands in the <t> of each <si>, save the reading aids in <rPh>."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.found: deque[str] = deque()
        self._aside = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._aside = self._aside or name == "rPh"
        self._inside = name == "t" and not self._aside

    def end(self, name: str) -> None:
        self._inside = False
        if name == "rPh":
            self._aside = False
        elif name == "si":
            self.found.append(self.taken())


class _Sheet(_Texts):
    """The rows of a sheet."""

    def __init__(self, path: str, shared: list[str]) -> None:
        super().__init__(path)
        self._shared = shared
        self._found: deque[Row] = deque()
        self._number, self._column, self._own = 0, -1, 0
        self._cells: dict[int, str] = {}
        self._kind = ""
        self._aside = False

    def rows(self, archive: zipfile.ZipFile, part: str) -> Iterator[Row]:
        """Read the rows of a sheet."""
        for _ in self.steps(archive, part):
            while self._found:
                yield self._found.popleft()

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "row":
            number = attributes.get("r", "")
            self._number = int(number) if number.isdecimal() and len(number) < 9 else self._number + 1
            self._column, self._cells, self._own = -1, {}, 0
        elif name == "c":
            place = _LETTERS.fullmatch(attributes.get("r", ""))
            self._column = _column(place[1]) if place else self._column + 1
            self._kind = attributes.get("t", "n")
            if self._column >= MOST_COLUMNS:
                raise DataError(f"{self._path}: row {self._number:,} has more than {MOST_COLUMNS:,} columns.")
            self.taken()
        elif name == "rPh":
            self._aside = True
        self._inside = name == "v" or (name == "t" and not self._aside)

    def end(self, name: str) -> None:
        self._inside = False
        if name == "rPh":
            self._aside = False
        elif name == "c":
            text = self.taken()
            if self._kind == "s":
                index = int(text) if text.isdecimal() and len(text) < 10 else -1
                if not 0 <= index < len(self._shared):
                    raise DataError(f"{self._path}: row {self._number:,} names a text that is not there.")
                text = self._shared[index]
            else:
                self._own += len(text)
                if self._own > 16 * LONGEST_CELL:
                    raise DataError(f"{self._path}: row {self._number:,} holds more than {16 * LONGEST_CELL:,} characters.")
            if text:
                self._cells[self._column] = text
        elif name == "row":
            if self._cells:
                self._found.append((self._number, self._cells))
            self._cells = {}


def _column(letters: str) -> int:
    """Return the number of a column from 0: A is 0, AA is 26."""
    number = 0
    for letter in letters.upper():
        number = 26 * number + ord(letter) - 64
    return number - 1
