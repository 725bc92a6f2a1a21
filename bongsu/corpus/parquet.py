"""Parquet files row by row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bongsu.corpus.problems import Problems
from bongsu.corpus.streams import BOMB_BYTES, BOMB_RATIO, open_seekable
from bongsu.corpus.tables import Rows, as_texts, require
from bongsu.errors import DataError

_BATCH = 1024
_ERRORS = (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError, KeyError, IndexError)


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
        except _ERRORS as error:
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
                    cells = None if row is None else as_texts(row)
                    if cells is None:
                        problems.skip(place, "a value that is no text, such as broken UTF-8 or a date out of range")
                    else:
                        yield place, cells
        except _ERRORS as error:
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


def _first_line(error: BaseException) -> str:
    return str(error).split("\n")[0][:200] or type(error).__name__
