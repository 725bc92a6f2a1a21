"""Tables row by row: CSV and TSV, JSON Lines."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from typing import Any

import orjson

from bongsu.corpus.lines import Part, json_lines, text_lines
from bongsu.corpus.problems import Problems
from bongsu.errors import DataError

Rows = Iterator[tuple[str, dict[str, str]]]

_RECORD_LINES = 200  # what one row with quoted line ends may span ...
_RECORD_CHARACTERS = 2**20  # ... before its first quote is taken for a mistake

csv.field_size_limit(2**30)  # lines are bounded already


def csv_rows(path: str, delimiter: str, encoding: str, columns: list[str], problems: Problems) -> Rows:
    """Rows of a CSV file with a header. A quote that is never closed spoils its own line, not the rest of the file.

    Raises:
        DataError: when the header cannot be read, or lacks one of `columns`.
    """
    before = problems.count
    records = _records(text_lines(Part(path), encoding, problems), delimiter, problems)
    for _, header in records:
        if problems.count > before:
            raise DataError(f"The header cannot be read. {problems.last}.")
        names = [name.strip() for name in header]
        require(columns, names, path)
        for place, cells in records:
            yield place, dict(zip(names, cells, strict=True))


def _records(lines: Iterator[tuple[str, str]], delimiter: str, problems: Problems) -> Iterator[tuple[str, list[str]]]:
    """(place, cells) of each row: lines are put together until no quote is open.

    When that leads to nothing, only the first line is given up, and reading goes on at the second.
    """
    again: deque[tuple[str, str]] = deque()

    def take() -> tuple[str, str] | None:
        return again.popleft() if again else next(lines, None)

    width = 0
    while (line := take()) is not None:
        place, record = line
        if not record.strip(" \r"):
            continue
        held: list[tuple[str, str]] = []
        cells, why = _cells(record, delimiter)
        while cells is None and why is None:  # a quote is open
            following = take()
            if following is None or len(held) == _RECORD_LINES or len(record) > _RECORD_CHARACTERS:
                why = "a quote is opened here and never closed"
                held += [following] if following else []
                break
            held.append(following)
            record += "\n" + following[1]
            if '"' in following[1]:
                cells, why = _cells(record, delimiter)
        if cells is not None and width and len(cells) != width:
            why = f"{len(cells)} cells instead of {width}"
        if cells is None or why is not None:
            problems.skip(place, why or "not a row of CSV")
            again.extendleft(reversed(held))
            continue
        width = len(cells)
        yield place, cells


def _cells(record: str, delimiter: str) -> tuple[list[str] | None, str | None]:
    """The cells of a record, or what is wrong with it; neither when a quote is open."""
    try:
        return next(csv.reader([record], delimiter=delimiter, strict=True)), None
    except csv.Error as error:
        why = str(error)
        if why.startswith("new-line") and "\r" in record:  # a carriage return inside a cell without quotes
            return _cells(record.replace("\r", " "), delimiter)
        return None, None if why.startswith("unexpected end of data") else f"not a row of CSV ({why.split(' - ')[0]})"


def jsonl_rows(part: Part, encoding: str, columns: list[str], problems: Problems) -> Rows:
    """Objects of a JSON Lines file, their values as text.

    Raises:
        DataError: when the first object lacks one of `columns`.
    """
    first = part.first == 1
    for place, value in json_lines(part, encoding, problems):
        if not isinstance(value, dict):
            problems.skip(place, "not a JSON object")
            continue
        if first:
            require(columns, list(value), part.path)
            first = False
        if missing := [name for name in columns if name not in value]:
            problems.skip(place, f"no key {missing[0]!r}")
            continue
        row = as_texts(value)
        if row is None:
            problems.skip(place, "nested too deeply")
        else:
            yield place, row


def require(columns: list[str], there: list[str], path: str) -> None:
    """Refuses a table that lacks one of `columns`.

    Raises:
        DataError: naming the columns there are.
    """
    if missing := [name for name in columns if name not in there]:
        raise DataError(f"{path}: there is no column {missing[0]!r}; the columns are {', '.join(map(str, there[:50]))}.")


def as_texts(row: dict[str, Any]) -> dict[str, str] | None:
    """Cells as text; None when one is nested too deeply."""
    try:
        return {name: value if type(value) is str else _text(value) for name, value in row.items()}
    except (orjson.JSONEncodeError, RecursionError):
        return None


def _text(value: Any) -> str:
    """Nothing is the empty text; true, numbers, lists and objects are JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode().strip('"')


def _plain(value: Any) -> str:
    """Dates, decimals and other values of Parquet's that JSON does not know."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
