"""The two halves of preparation that run in parallel: cleaning a block, and writing a part of the corpus.

Between them duplicates are found, for which all blocks are needed.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from bongsu.arrays import Bool, UInt64
from bongsu.corpus.blocks import Block
from bongsu.corpus.cleaning import Cleaner
from bongsu.corpus.sentences import split_sentences
from bongsu.corpus.split import SPLITS, hash_keys, in_validation
from bongsu.corpus.stats import ReadStats
from bongsu.errors import BongsuError
from bongsu.files import atomic_file, file_hash, redacted
from bongsu.recipe import Cleaning

SCHEMA = pa.schema([("text", pa.string()), ("source", pa.string()), ("lang", pa.string())])
_STAGED = pa.schema([("text", pa.string()), ("lang", pa.string())])
HASHES, KEEP = "hashes.u64", "keep.npy"


@dataclass
class Staged:
    """A cleaned block."""

    name: str
    source: int
    """The place of its source in the recipe."""
    documents: int
    bytes: int
    dropped: Counter[str]
    stats: ReadStats
    """Counts of the rows read."""
    error: BongsuError | None
    """The error that ended reading."""
    hashes: UInt64
    """[texts], of the texts' exact keys, in order."""


class StagedBlock(NamedTuple):
    """A block of a source that gave texts."""

    name: str
    path: str
    """Of the source."""
    texts: int


@dataclass(frozen=True)
class Group:
    """Staged blocks that become one part of the corpus."""

    number: int
    blocks: list[StagedBlock]
    row: int
    """The place of the first text among all that were staged."""


@dataclass
class Written:
    """The texts of a group that went to one split."""

    split: str
    name: str
    texts: int
    bytes: int
    sha256: str


def stage(block: Block, cleaning: Cleaning, folder: Path) -> Staged:
    """Clean a block into a file of the folder."""
    cleaner = Cleaner(cleaning)
    documents = block.documents()
    pieces, langs = [text for text, _ in documents], [lang for _, lang in documents]
    if block.sentences:
        split = list(map(split_sentences, pieces))
        pieces = list(chain.from_iterable(split))
        langs = list(chain.from_iterable([lang] * len(parts) for lang, parts in zip(langs, split, strict=True)))
    cleaned = cleaner.clean_all(pieces)
    texts = [text for text in cleaned if text is not None]
    if len(texts) < len(cleaned):
        langs = [lang for lang, text in zip(langs, cleaned, strict=True) if text is not None]
    column = _strings(texts)
    if texts:
        with atomic_file(folder / f"{block.name}.arrow", lasting=False) as file, pa.ipc.new_file(file, _STAGED) as writer:
            writer.write_batch(pa.record_batch([column, pa.array(langs, pa.string())], schema=_STAGED))
    return Staged(
        name=block.name,
        source=block.group.source,
        documents=len(documents),
        bytes=_bytes(column),
        dropped=cleaner.dropped,
        stats=block.stats,
        error=block.error,
        hashes=hash_keys(texts),
    )


def staged_texts(folder: Path, name: str) -> pa.Table:
    """Return the texts of a staged block and their languages, memory-mapped."""
    with pa.memory_map(str(folder / f"{name}.arrow")) as file:
        return pa.ipc.open_file(file).read_all()


def write(group: Group, folder: Path, held: int, validation: float) -> list[Written]:
    """Write the kept texts of a group to their splits; the first `held` texts of all are held out, or a share of all."""
    staging = folder / "staging"
    count = sum(texts for _, _, texts in group.blocks)
    hashes = np.memmap(staging / HASHES, dtype=np.uint64, mode="r", offset=8 * group.row, shape=(count,))
    keep = np.load(staging / KEEP, mmap_mode="r")[group.row : group.row + count]
    out = np.arange(group.row, group.row + count) < held if held else in_validation(hashes, validation)
    written = []
    for split, chosen in zip(SPLITS, (keep & ~out, keep & out), strict=True):
        if chosen.any():
            written.append(_write_split(group, staging, folder, split, chosen))
    return written


def _write_split(group: Group, staging: Path, folder: Path, split: str, chosen: Bool) -> Written:
    path = folder / split / f"{group.number:06d}.parquet"
    size = start = 0
    with ExitStack() as stack:
        file = stack.enter_context(atomic_file(path))
        # Texts differ: Parquet would give up a dictionary of them in every row group, after much work.
        options = {"compression": "zstd", "compression_level": 1, "use_dictionary": ["source", "lang"]}
        writer = stack.enter_context(pq.ParquetWriter(file, SCHEMA, write_statistics=["source", "lang"], **options))
        for name, source, texts in group.blocks:
            mine = staged_texts(staging, name).filter(pa.array(chosen[start : start + texts]))
            start += texts
            if len(mine):
                columns = [mine["text"], pa.repeat(redacted(source), len(mine)), mine["lang"]]
                writer.write_table(pa.table(columns, schema=SCHEMA))
                size += _bytes(mine["text"])
    return Written(split, f"{split}/{path.name}", int(np.count_nonzero(chosen)), size, file_hash(path))


def _strings(column: list[str]) -> pa.Array:
    try:
        return pa.array(column, type=pa.string())
    except UnicodeEncodeError:  # JSON can carry lone surrogates, Parquet cannot
        return pa.array([value.encode("utf-8", "replace").decode() for value in column], type=pa.string())


def _bytes(column: pa.Array) -> int:
    """Return the UTF-8 bytes of the texts."""
    return int(pa.compute.sum(pa.compute.binary_length(column)).as_py() or 0)
