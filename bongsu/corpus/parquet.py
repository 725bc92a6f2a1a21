"""Parquet files row by row, a batch of bounded size at a time.

What a file declares of its sizes in its footer may be false. What takes memory is what the pages of the columns unpack to, and
how many rows of them are made at a time: so the pages' own headers, by which memory is set aside, are read before anything is
unpacked, and the number of rows in a batch follows from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bongsu.corpus.parquet_pages import DELTA_BYTE_ARRAY, DICTIONARY_PAGE, Page, pages_of
from bongsu.corpus.stats import Place, ReadStats
from bongsu.corpus.streams import BOMB_BYTES, BOMB_RATIO, open_seekable
from bongsu.corpus.tables import Rows, columns_of
from bongsu.errors import BongsuError, DataError
from bongsu.files import redacted

LARGEST_PAGE = 64 * 2**20
LONGEST_TEXT = 16 * 2**20
_BATCH = 1024
_BATCH_BYTES = 64 * 2**20
_MOST_PARTS = 50_000  # columns of all row groups, and row groups
_LONGEST_NAME = 4 * 2**20  # bytes of a text in the footer, such as pandas' description of the columns
_BUFFER = 2**20
_ERRORS = (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError, KeyError, IndexError)


def parquet_rows(path: str, columns: Sequence[str], also: Sequence[str] | None, stats: ReadStats) -> Rows:
    """Read the rows of a Parquet file, their values as text.

    Args:
        columns: must be there.
        also: columns that are read if they are there; None for all but lists and structures.

    Raises:
        DataError: when the file is not Parquet, is damaged, lacks one of `columns`, or needs too much memory.
    """
    shown = redacted(path)
    with open_seekable(path) as stream:
        table = _open(shown, stream)
        chosen = _chosen(shown, table, columns, also)
        batch, repeated = _check_pages(shown, stream, table, chosen)
        row = 0
        try:
            table = _open(shown, stream, repeated)
            for rows in table.iter_batches(batch_size=batch, columns=chosen, use_threads=False):
                for cells in _texts(rows, columns):
                    place = Place(shown, row + 1, row)
                    row += 1
                    stats.rows += 1
                    if isinstance(cells, str):
                        stats.skip(place, cells)
                    else:
                        yield place, cells
        except _ERRORS as error:
            stats.damage(Place(shown, row + 1, row), f"damaged from here on ({_first_line(error)})")
            missing = max(0, table.metadata.num_rows - row)
            stats.rows += missing
            stats.drop("behind damage", missing)


def _open(shown: str, stream: IO[bytes], repeated: Sequence[str] = ()) -> pq.ParquetFile:
    stream.seek(0)
    try:
        return pq.ParquetFile(
            stream,
            pre_buffer=False,
            buffer_size=_BUFFER,
            read_dictionary=list(repeated),
            thrift_container_size_limit=_MOST_PARTS,
            thrift_string_size_limit=_LONGEST_NAME,
        )
    except _ERRORS as error:
        raise DataError(f"{shown}: not a readable Parquet file ({_first_line(error)}).") from None


def _chosen(shown: str, table: pq.ParquetFile, columns: Sequence[str], also: Sequence[str] | None) -> list[str]:
    """Return the columns to read.

    Raises:
        DataError: when one of `columns` is missing or holds something else than texts, numbers or dates.
    """
    try:
        schema = table.schema_arrow
        leaves = [table.schema.column(index).path for index in range(len(table.schema))]
    except _ERRORS as error:
        raise DataError(f"{shown}: not a readable Parquet file ({_first_line(error)}).") from None
    wanted = columns_of(schema.names, columns, also, shown)
    chosen = []
    for name, index in wanted.items():
        simple = not pa.types.is_nested(schema.types[index]) and schema.names.count(name) == 1 and leaves.count(name) == 1
        if simple:
            chosen.append(name)
        elif name in columns:
            raise DataError(f"{shown}: the column {name!r} holds {schema.types[index]}; texts, numbers or dates are needed.")
    return chosen


def _check_pages(shown: str, stream: IO[bytes], table: pq.ParquetFile, chosen: list[str]) -> tuple[int, list[str]]:
    """Return how many rows may be read at a time, and the dictionary-encoded columns.

    Raises:
        DataError: when a page, or all of them, unpack beyond reason.
    """
    size = stream.seek(0, 2)
    unpacked, densest, repeated = 0, 1.0, set()
    try:
        metadata = table.metadata
        places = {metadata.schema.column(index).path: index for index in range(metadata.num_columns)}
        for group in range(metadata.num_row_groups):
            for name in chosen:
                chunk = metadata.row_group(group).column(places[name])
                for page in pages_of(stream, chunk, size):
                    unpacked += page.unpacked
                    if page.unpacked > LARGEST_PAGE:
                        raise DataError(
                            f"{shown}: a page of column {name!r} unpacks to {page.unpacked:,} bytes; it is not read."
                        )
                    if unpacked > BOMB_BYTES and unpacked > BOMB_RATIO * size:
                        raise DataError(f"{shown}: unpacks to more than {BOMB_RATIO} times its size; it is not read.")
                    if page.kind == DICTIONARY_PAGE and chunk.physical_type == "BYTE_ARRAY":
                        repeated.add(name)
                    densest = max(densest, _bytes_of_row(page))
    except BongsuError:
        raise
    except _ERRORS as error:
        raise DataError(f"{shown}: not a readable Parquet file ({_first_line(error)}).") from None
    return max(1, min(_BATCH, int(_BATCH_BYTES / densest))), sorted(repeated)


def _bytes_of_row(page: Page) -> float:
    """Return how many bytes a row of a page may take: with prefixes that are not repeated, each may be as long as all."""
    return page.unpacked if page.encoding == DELTA_BYTE_ARRAY else page.unpacked / max(1, page.values)


def _texts(batch: pa.RecordBatch, needed: Sequence[str]) -> Iterator[dict[str, str] | str]:
    """Yield rows as texts; in place of a row whose needed cells are not text, the reason."""
    columns = [_column(column) for column in batch.columns]
    names = batch.schema.names
    for index in range(batch.num_rows):
        cells: dict[str, str] = {}
        fault = ""
        for name, column in zip(names, columns, strict=True):
            try:
                text = _text(column[index].as_py())
            except (ValueError, OverflowError):
                why = "a value that is no text, such as broken UTF-8"
            else:
                why = f"a text of more than {LONGEST_TEXT >> 20} million characters" if len(text) > LONGEST_TEXT else ""
            if not why:
                cells[name] = text
            elif name in needed:
                fault = why
        yield fault or cells


def _column(column: pa.Array) -> pa.Array:
    """Return a column with values that Python can represent: times, which may exceed its range or precision, become text."""
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        column = pc.cast(column, pa.timestamp(kind.unit))  # UTC; names of zones are not known on every machine
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_time(kind):
        return pc.cast(column, pa.string())
    return pc.cast(column, pa.int64()) if pa.types.is_duration(kind) else column


def _text(value: Any) -> str:
    """Return a cell as text; null and NaN are the empty text."""
    if value is None or value != value:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _first_line(error: BaseException) -> str:
    return str(error).split("\n")[0][:200] or type(error).__name__
