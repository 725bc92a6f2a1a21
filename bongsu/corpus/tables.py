"""Tables row by row: CSV and TSV, JSON Lines, Parquet."""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from bongsu.corpus.problems import Problems
from bongsu.corpus.streams import lines, open_bytes
from bongsu.errors import DataError

Rows = Iterator[tuple[str, dict[str, str]]]
_LONGEST_RECORD = 200  # lines that one quoted cell may span
csv.field_size_limit(2**30)


def csv_rows(path: str, delimiter: str, encoding: str, columns: list[str], problems: Problems) -> Rows:
    """Rows of a CSV file with a header. A quote that is never closed spoils its own line, not the rest of the file."""
    header: list[str] | None = None
    with open_bytes(path) as stream:
        for number, record in _records(path, stream, encoding, problems):
            place = f"{path}:{number}"
            try:
                cells = next(csv.reader([record], delimiter=delimiter, strict=True), [])
            except csv.Error as error:
                problems.skip(place, f"not a row of CSV ({error})")
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                require(columns, header, path)
            elif len(cells) != len(header):
                problems.skip(place, f"{len(cells)} cells instead of {len(header)}")
            else:
                yield place, dict(zip(header, cells, strict=True))
    if header is None:
        raise DataError(f"{path}: the file is empty.")


def _records(path: str, stream: Any, encoding: str, problems: Problems) -> Iterator[tuple[int, str]]:
    """Lines put together until their quotes are even."""
    waiting: list[tuple[int, str]] = []
    quotes = 0
    source = lines(stream)
    pending: list[tuple[int, str]] = []
    while True:
        if pending:
            number, text = pending.pop(0)
        else:
            try:
                number, line = next(source)
            except StopIteration:
                if not waiting:
                    return
                problems.skip(f"{path}:{waiting[0][0]}", "a quote is opened here and never closed")
                pending, waiting, quotes = waiting[1:], [], 0
                if not pending:
                    return
                continue
            decoded = problems.decode(line, f"{path}:{number}", encoding)
            if decoded is None:
                continue
            text = decoded
        if not waiting and not text.strip():
            continue
        waiting.append((number, text))
        quotes += text.count('"')
        if quotes % 2 == 0:
            yield waiting[0][0], "\n".join(part for _, part in waiting)
            waiting, quotes = [], 0
        elif len(waiting) > _LONGEST_RECORD:
            problems.skip(f"{path}:{waiting[0][0]}", f"a quote is opened here and not closed in {_LONGEST_RECORD} lines")
            pending, waiting, quotes = waiting[1:] + pending, [], 0


def jsonl_rows(path: str, encoding: str, columns: list[str], problems: Problems) -> Rows:
    """Objects of a JSON Lines file, their values as text."""
    first = True
    with open_bytes(path) as stream:
        for number, line in lines(stream):
            place = f"{path}:{number}"
            if line is not None and not line.strip():
                continue
            value = parse_json(line, place, encoding, problems)
            if value is None:
                continue
            if not isinstance(value, dict):
                problems.skip(place, "not a JSON object")
                continue
            row = {key: as_text(cell) for key, cell in value.items()}
            if first:
                require(columns, list(row), path)
                first = False
            if missing := [name for name in columns if name not in row]:
                problems.skip(place, f"no key {missing[0]!r}")
                continue
            yield place, row


def parquet_rows(path: str, columns: list[str]) -> Rows:
    """Rows of a Parquet file, a batch of 4,096 at a time."""
    try:
        with tempfile.TemporaryFile() as local:
            packed = path.endswith((".gz", ".zst")) or "://" in path
            if packed:
                with open_bytes(path) as stream:
                    shutil.copyfileobj(stream, local)
            table = pq.ParquetFile(local if packed else path)
            require(columns, table.schema_arrow.names, path)
            number = 0
            for batch in table.iter_batches(batch_size=4096):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}:{number}", {key: as_text(value) for key, value in row.items()}
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error}).") from None


def parse_json(line: bytes | None, place: str, encoding: str, problems: Problems | None) -> Any:
    """A line of JSON; None when it is bad (`problems` None: without a word)."""
    if line is None:
        if problems:
            problems.skip(place, "a line of more than 64 MiB")
        return None
    try:
        if encoding != "utf-8":
            line = line.decode(encoding).encode()
        return orjson.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except (orjson.JSONDecodeError, UnicodeError, RecursionError) as error:
        if problems:
            problems.skip(place, f"not valid JSON ({error})")
        return None
    except LookupError:
        raise DataError(f"{place}: {encoding!r} is not an encoding Python knows.") from None


def require(columns: list[str], there: list[str], path: str) -> None:
    """Refuses a table that lacks one of `columns`."""
    if missing := [name for name in columns if name not in there]:
        raise DataError(f"{path}: there is no column {missing[0]!r}; the columns are {', '.join(there)}.")


def as_text(value: Any) -> str:
    """A cell as text; nothing is the empty text."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return str(value)
