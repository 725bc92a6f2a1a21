"""Tables row by row: CSV and TSV, JSON Lines, arrays of JSON."""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Iterator, Sequence
from typing import IO, Any, Literal

import orjson

from bongsu.corpus.detection import Dialect
from bongsu.corpus.json_arrays import array_values
from bongsu.corpus.lines import Line, Part, decoded_lines, json_lines
from bongsu.corpus.stats import Place, ReadStats
from bongsu.corpus.streams import open_bytes
from bongsu.errors import DataError, MissingColumnError
from bongsu.files import redacted

Rows = Iterator[tuple[Place, dict[str, str]]]

LARGEST_ROW = 16 * 2**20
"""Characters of a row of CSV, whatever the number of its lines."""
MOST_COLUMNS = 10_000
_MOST_AGAIN = 256 * 2**20  # characters read again after rows with a stray quote
_NEVER_CLOSED = "mend it, or if a quote is a character as any other in this file set quoting = 'none' (--quoting none)"

_ABSENT: Any = object()

csv.field_size_limit(2**30)  # rows are bounded already


def csv_rows(part: Part, dialect: Dialect, columns: Sequence[str], also: Sequence[str] | None, stats: ReadStats) -> Rows:
    """Read the rows of a CSV file with a header. A row may have any number of lines.

    A row with a wrong number of cells, or with text behind a closing quote, is counted as bad; of the latter, which as a rule
    begins with a quote that means nothing, the first line alone is, and reading continues at the second.

    Args:
        columns: must be there.
        also: columns that are read if they are there; None for all.

    Raises:
        DataError: when the header cannot be read, lacks one of `columns` or has it twice, or a quote is never closed.
    """
    shown = redacted(part.path)
    records = _Records(part, dialect)
    excel = f"sep={dialect.delimiter}"  # Excel's own first line
    header = next((record for record in records if not record.blank and dialect.delimiter.join(record.cells) != excel), None)
    if header is None:
        return
    if header.fault is not None:
        raise DataError(f"The header cannot be read. {shown}:{header.line}: {''.join(header.fault)}.")
    names = [name.strip() for name in header.cells]
    kept = list(columns_of(names, columns, also, shown).items())
    for row, record in enumerate(records):
        stats.rows += 1
        if record.blank:
            stats.drop("blank line")
            continue
        place = Place(shown, record.line, row)
        if record.fault is not None:
            stats.skip(place, *record.fault)
        elif len(record.cells) != len(names):
            stats.skip(place, "wrong number of cells", f": {len(record.cells)} instead of {len(names)}")
        else:
            yield place, {name: record.cells[index] for name, index in kept}


def jsonl_rows(part: Part, columns: Sequence[str], also: Sequence[str] | None, stats: ReadStats) -> Rows:
    """Read the objects of a JSON Lines file, their values as text.

    Args:
        columns: must be in every object; a name with dots reaches into objects.
        also: keys that are read if they are there; None for all.

    Raises:
        DataError: when the first object lacks one of `columns`.
    """
    return _object_rows(json_lines(part, stats), part.first == 1, columns, also, stats)


def array_rows(part: Part, columns: Sequence[str], also: Sequence[str] | None, stats: ReadStats) -> Rows:
    """Read the objects of a JSON array; arguments and errors as of `jsonl_rows`."""
    with open_bytes(part.path) as stream:
        yield from _object_rows(_numbered(part, stream, stats), True, columns, also, stats)


def _numbered(part: Part, stream: IO[bytes], stats: ReadStats) -> Iterator[tuple[Place, Any]]:
    """Read the values of a JSON array with their places; one with half a character, which no file can hold, is counted."""
    shown = redacted(part.path)
    for row, value in enumerate(array_values(shown, stream, part.encoding, stats)):
        stats.rows += 1
        place = Place(shown, row + 1, row)
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            stats.skip(place, "half a character (a lone surrogate)")
        else:
            yield place, value


def _object_rows(
    values: Iterator[tuple[Place, Any]], first: bool, columns: Sequence[str], also: Sequence[str] | None, stats: ReadStats
) -> Rows:
    """Yield rows of JSON values; with `first`, the first object must have all columns."""
    for place, value in values:
        if not isinstance(value, dict):
            stats.skip(place, "not a JSON object")
            continue
        if first:
            columns_of([name for name, _ in _flat(value)], columns, [], place.path)
            first = False
        cells = {name: _reach(value, name) for name in dict.fromkeys([*columns, *(value if also is None else also)])}
        if missing := [name for name in columns if cells[name] is _ABSENT]:
            stats.skip(place, f"no key {missing[0]!r}")
            continue
        row = as_texts({name: cell for name, cell in cells.items() if cell is not _ABSENT}, columns)
        if row is None:
            stats.skip(place, "nested too deeply")
        else:
            yield place, row


def _reach(value: dict[str, Any], name: str) -> Any:
    """Return the value of a name in an object: a key, or keys of nested objects joined by dots; `_ABSENT` if missing."""
    if name in value:
        return value[name]
    parts = name.split(".")
    for count in range(len(parts) - 1, 0, -1):
        inner = value.get(".".join(parts[:count]), _ABSENT)
        if isinstance(inner, dict):
            return _reach(inner, ".".join(parts[count:]))
    return _ABSENT


def _flat(value: dict[str, Any], before: str = "", depth: int = 4) -> Iterator[tuple[str, Any]]:
    """Yield the dotted names of the values in an object, with the values."""
    for key, inner in value.items():
        yield f"{before}{key}", inner
        if isinstance(inner, dict) and depth:
            yield from _flat(inner, f"{before}{key}.", depth - 1)


def columns_of(names: Sequence[str], columns: Sequence[str], also: Sequence[str] | None, shown: str) -> dict[str, int]:
    """Return the index of each wanted column, the first of duplicates.

    Raises:
        DataError: when one of `columns` is missing, naming those there are; when one of these or of `also` occurs twice; when
            there are too many.
    """
    if len(names) > MOST_COLUMNS:
        raise DataError(f"{shown}: more than {MOST_COLUMNS:,} columns.")
    if missing := [name for name in columns if name not in names]:
        raise MissingColumnError(shown, missing[0], list(map(str, names)))
    if twice := [name for name in [*columns, *(also or [])] if names.count(name) > 1]:
        raise DataError(f"{shown}: the column {twice[0]!r} occurs {names.count(twice[0])} times; rename all but one.")
    wanted = dict.fromkeys(names if also is None else [*columns, *(name for name in also if name in names)])
    first = {name: place for place, name in reversed(list(enumerate(names)))}
    return {name: first[name] for name in wanted}


def as_texts(row: dict[str, Any], columns: Sequence[str]) -> dict[str, str] | None:
    """Return cells as text, or None when one of `columns` is nested too deeply; of other columns such a cell is left out."""
    try:
        return {name: value if type(value) is str else text_of(value) for name, value in row.items()}
    except (orjson.JSONEncodeError, RecursionError):
        if len(row) == 1:
            return None
    kept: dict[str, str] = {}
    for name, value in row.items():
        cell = as_texts({name: value}, columns)
        if cell is None and name in columns:
            return None
        kept |= cell or {}
    return kept


def text_of(value: Any) -> str:
    """Return a cell as text: null and NaN are the empty text; other values than text are JSON."""
    if value is None or value != value:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode().strip('"')


def _plain(value: Any) -> str:
    """Return dates, decimals and other values that JSON does not have, as text."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


class _Record:
    """A row of CSV: its cells, or its fault."""

    __slots__ = ("blank", "cells", "fault", "line")

    def __init__(self, line: int, cells: list[str], fault: tuple[str, str] | None = None, blank: bool = False) -> None:
        self.line, self.cells, self.fault, self.blank = line, cells, fault, blank


class _Records:
    """The rows of a CSV file.

    It feeds Python's csv module line by line itself, so that it knows the lines of each row.
    """

    def __init__(self, part: Part, dialect: Dialect) -> None:
        self._path = redacted(part.path)
        self._lines = decoded_lines(part)
        self._again: deque[Line] = deque()
        self._held: list[Line] = []
        self._size = self._read_again = 0
        self._delimiter = dialect.delimiter
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if dialect.quoted else csv.QUOTE_NONE
        self._reader = csv.reader(_Feed(self.feed), delimiter=dialect.delimiter, quoting=quoting, strict=True)

    def __iter__(self) -> Iterator[_Record]:
        while True:
            self._held, self._size = [], 0
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                if (bad := self._recover(str(error))) is not None:
                    yield bad
                continue
            first = self._held[0]
            fault = next((line.fault for line in self._held if line.fault is not None), None)
            yield _Record(first.number, cells, fault, len(self._held) == 1 and not fault and not first.text.strip(" \r"))

    def feed(self) -> str:
        """Return the next line of the row that is being read.

        Raises:
            DataError: when the row is larger than `LARGEST_ROW`.
        """
        line = self._again.popleft() if self._again else next(self._lines)
        self._held.append(line)
        self._size += len(line.text)
        if self._size > LARGEST_ROW and len(self._held) > 1:
            raise DataError(
                f"{self._path}:{self._held[0].number}: the row that begins here has more than {LARGEST_ROW >> 20} million "
                f"characters. If a quote is opened in it and never closed, {_NEVER_CLOSED}."
            )
        if self._size > LARGEST_ROW // 4 and line.text.count(self._delimiter) > 100 * MOST_COLUMNS:
            self._held[-1] = Line(line.number, "", ("too many cells", ""))
            return "\n"
        return line.text + "\n"

    def _recover(self, why: str) -> _Record | None:
        """Recover after a row that cannot be read: return it as a bad one, or None when it will be read again."""
        first, *rest = self._held
        if why.startswith("unexpected end of data"):
            raise DataError(
                f"{self._path}:{first.number}: a quote is opened in the row that begins here and never closed up to the end of "
                f"the file; {_NEVER_CLOSED}."
            )
        if why.startswith("new-line") and any("\r" in line.text for line in self._held):  # within a cell without quotes
            self._again.extendleft(line._replace(text=line.text.replace("\r", " ")) for line in reversed(self._held))
            return None
        self._read_again += self._size
        if self._read_again > _MOST_AGAIN:
            raise DataError(f"{self._path}:{first.number}: too many rows with stray quotes; {_NEVER_CLOSED}.")
        self._again.extendleft(reversed(rest))
        return _Record(first.number, [], ("a stray quote", f" ({why.split(' - ')[0]})"))


class _Feed:
    """An iterator over what a function returns."""

    def __init__(self, feed: Any) -> None:
        self._feed = feed

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        text: str = self._feed()
        return text
