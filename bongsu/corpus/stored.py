"""A corpus that has been prepared: its report, the parts of each split, and their texts, in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict, cast

import pyarrow as pa
import pyarrow.parquet as pq

from bongsu.corpus.stats import Summary
from bongsu.errors import DataError
from bongsu.files import read_json

REPORT = "corpus.json"


class SourceSummary(TypedDict):
    """What a source gave."""

    path: str
    documents: int
    texts: int
    bytes: int
    dropped: dict[str, int]
    """Texts that cleaning dropped, by reason."""
    read: Summary
    """What became of its rows."""


class CorpusReport(TypedDict):
    """The contents of `corpus.json`."""

    documents: int
    texts: int
    bytes: int
    splits: dict[str, int]
    sources: list[SourceSummary]
    dropped: dict[str, int]
    """By reason, over all sources, duplicates included."""
    settings: object
    """Of the recipe's [corpus]."""
    sha256: dict[str, str]
    """Of each file."""


def read_corpus_report(folder: Path) -> CorpusReport:
    """Return the report of a prepared corpus."""
    return cast(CorpusReport, read_json(folder / REPORT))


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
