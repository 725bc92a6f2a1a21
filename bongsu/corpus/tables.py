"""Tables row by row: CSV and TSV, JSON Lines, Parquet."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from bongsu.corpus.lines import json_lines, text_lines
from bongsu.corpus.problems import Problems
from bongsu.corpus.streams import BOMB_BYTES, BOMB_RATIO, open_seekable
from bongsu.errors import DataError

Rows = Iterator[tuple[str, dict[str, str]]]

_RECORD_LINES = 200  # what one row with quoted line ends may span ...
_RECORD_CHARACTERS = 2**20  # ... before its first quote is taken for a mistake
_BATCH = 1024

csv.field_size_limit(2**30)  # lines are bounded already


def csv_rows(path: str, delimiter: str, encoding: str, columns: list[str], problems: Problems) -> Rows:
    """Rows of a CSV file with a header. A quote that is never closed spoils its own line, not the rest of the file.

    Raises:
        DataError: when the header cannot be read, or lacks one of `columns`.
    """
    before = problems.count
    records = _records(text_lines(path, encoding, problems), delimiter, problems)
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


def jsonl_rows(path: str, encoding: str, columns: list[str], problems: Problems) -> Rows:
    """Objects of a JSON Lines file, their values as text.

    Raises:
        DataError: when the first object lacks one of `columns`.
    """
    first = True
    for place, value in json_lines(path, encoding, problems):
        if not isinstance(value, dict):
            problems.skip(place, "not a JSON object")
            continue
        if first:
            require(columns, list(value), path)
            first = False
        if missing := [name for name in columns if name not in value]:
            problems.skip(place, f"no key {missing[0]!r}")
            continue
        row = _texts(value)
        if row is None:
            problems.skip(place, "nested too deeply")
        else:
            yield place, row


def parquet_rows(path: str, columns: list[str], problems: Problems) -> Rows:
    """Rows of a Parquet file, a batch at a time, their values as text.

    Raises:
        DataError: when the file is not Parquet, is damaged, or lacks one of `columns`.
    """
    with open_seekable(path) as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        try:
            table = pq.ParquetFile(stream, pre_buffer=False)
            groups = [table.metadata.row_group(index) for index in range(table.metadata.num_row_groups)]
            unpacked = sum(group.total_byte_size for group in groups)
            names = table.schema_arrow.names
        except _PARQUET_ERRORS as error:
            raise DataError(f"{path}: not a readable Parquet file ({_first_line(error)}).") from None
        if unpacked > BOMB_BYTES and unpacked > BOMB_RATIO * size:
            raise DataError(f"{path}: unpacks to {unpacked:,} bytes, more than {BOMB_RATIO} times its size; it is not read.")
        require(columns, names, path)
        number = 0
        try:
            for batch in table.iter_batches(batch_size=_BATCH):
                for row in _python_rows(batch):
                    number += 1
                    place = f"{path}:{number}"
                    cells = None if row is None else _texts(row)
                    if cells is None:
                        problems.skip(place, "a value that is no text, such as broken UTF-8 or a date out of range")
                    else:
                        yield place, cells
        except _PARQUET_ERRORS as error:
            problems.skip(f"{path}:{number + 1}", f"damaged from here on ({_first_line(error)})")


def _python_rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | None]:
    """Rows as dictionaries; None for a row with a value that Python cannot hold."""
    try:
        yield from batch.to_pylist()
    except (ValueError, OverflowError):  # now find out which
        for index in range(batch.num_rows):
            try:
                row = batch.slice(index, 1).to_pylist()[0]
            except (ValueError, OverflowError):
                row = None
            yield row


_PARQUET_ERRORS = (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError, KeyError, IndexError)


def require(columns: list[str], there: list[str], path: str) -> None:
    """Refuses a table that lacks one of `columns`.

    Raises:
        DataError: naming the columns there are.
    """
    if missing := [name for name in columns if name not in there]:
        raise DataError(f"{path}: there is no column {missing[0]!r}; the columns are {', '.join(map(str, there[:50]))}.")


def _texts(row: dict[str, Any]) -> dict[str, str] | None:
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


def _first_line(error: BaseException) -> str:
    return str(error).split("\n")[0][:200] or type(error).__name__
