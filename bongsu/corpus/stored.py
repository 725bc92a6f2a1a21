"""A corpus that has been prepared: parts of each split, and their texts, in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bongsu.errors import DataError


def parts(folder: Path, split: str) -> list[Path]:
    """Return the files of a split, in order."""
    return sorted((folder / split).glob("*.parquet"))


def texts(folder: Path, split: str) -> Iterator[str]:
    """Yield the texts of a split, in order."""
    for path in parts(folder, split):
        yield from part_texts(path)


def part_texts(path: Path) -> Iterator[str]:
    """Yield the texts of a part of a corpus.

    Raises:
        DataError: when the file is damaged.
    """
    try:
        with pq.ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=8192, columns=["text"]):
                yield from batch.column(0).to_pylist()
    except (pa.ArrowException, OSError) as error:
        folder = path.parents[1]
        raise DataError(f"{path}: damaged ({error}). Delete the folder {folder} and run the same command again.") from None
