"""Raw files to a corpus: `train.parquet`, `validation.parquet` and `corpus.json`.

Three passes with flat memory: clean to a staging file and hash the keys; find first occurrences; copy what is kept to its
split.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from bongsu import progress
from bongsu.corpus.cleaning import Cleaner, split_sentences
from bongsu.corpus.dedup import NearDuplicates, first_occurrences
from bongsu.corpus.readers import Problems, format_of, read, resolve
from bongsu.corpus.split import SPLITS, hash_keys, in_validation
from bongsu.errors import DataError
from bongsu.files import file_hash, write_json
from bongsu.recipe import Corpus, Source

SCHEMA = pa.schema([("text", pa.string()), ("source", pa.string()), ("lang", pa.string())])
ROWS = 65_536
_BATCH_ROWS, _BATCH_CHARACTERS = 16_384, 8_000_000


def prepare(corpus: Corpus, folder: Path) -> dict[str, Any]:
    """Makes the corpus in `folder`, which is there and empty, and returns what `corpus.json` says of it.

    Raises:
        DataError: when a source gives nothing, or a split would be empty.
    """
    staging = folder / "staging"
    staging.mkdir()
    cleaner = Cleaner(corpus.cleaning)
    with (
        progress.bar("prepare", None, "MB") as bar,
        _writer(staging / "texts.parquet") as writer,
        open(staging / "hashes.u64", "wb") as hashes,
    ):
        # Texts to hold out come first: of twins the first is kept.
        given = [_stage(source, cleaner, writer, hashes, bar) for source in corpus.validation_sources]
        sources = [*given, *(_stage(source, cleaner, writer, hashes, bar) for source in corpus.sources)]

    held = sum(source["texts"] for source in given)
    count = sum(source["texts"] for source in sources)
    dropped = Counter(cleaner.dropped)
    keep: npt.NDArray[np.bool_]
    if corpus.duplicates == "keep":
        keep = np.ones(count, dtype=np.bool_)
    else:
        keep = first_occurrences(staging / "hashes.u64", count, staging / "keep.npy")
        dropped["exact duplicate"] = count - int(np.count_nonzero(keep))
    near = NearDuplicates(corpus.near_threshold) if corpus.duplicates == "near" else None
    with progress.bar("split", count, "texts") as bar:
        counts = _copy(staging, keep, near, held, corpus.validation, folder, dropped, bar)
    del keep  # it may be mapped from a file in the staging folder
    shutil.rmtree(staging)
    _require_both_splits(counts, corpus.validation)
    report = {
        "documents": sum(source["documents"] for source in sources),
        "texts": sum(part["texts"] for part in counts.values()),
        "bytes": sum(part["bytes"] for part in counts.values()),
        "splits": {split: part["texts"] for split, part in counts.items()},
        "sources": sources,
        "dropped": {why: number for why, number in dropped.items() if number},
        "settings": corpus.model_dump(mode="json"),
        "sha256": {f"{split}.parquet": file_hash(folder / f"{split}.parquet") for split in SPLITS},
    }
    write_json(folder / "corpus.json", report)
    return report


def texts(folder: Path, split: str) -> Iterator[str]:
    """Streams the texts of a split, in order."""
    path = folder / f"{split}.parquet"
    try:
        with pq.ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=8192, columns=["text"]):
                yield from batch.column(0).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: damaged ({error}). Delete the folder {folder} and run the same command again.") from None


def _stage(source: Source, cleaner: Cleaner, writer: pq.ParquetWriter, hashes: Any, bar: progress.Bar) -> dict[str, Any]:
    """Cleans a source into the staging file and returns what `corpus.json` says of it."""
    problems = Problems(source.max_bad)
    summary: dict[str, Any] = {"path": source.path, "documents": 0, "texts": 0, "bytes": 0}
    before = Counter(cleaner.dropped)
    for documents, cleaned, langs in _batches(source, problems, cleaner):
        summary["documents"] += documents
        if cleaned:
            batch = pa.record_batch([_strings(cleaned), pa.repeat(source.path, len(cleaned)), pa.array(langs)], schema=SCHEMA)
            size = _bytes(batch)
            writer.write_batch(batch)
            hashes.write(hash_keys(cleaned).tobytes())
            summary["texts"] += len(cleaned)
            summary["bytes"] += size
            bar.advance(size / 1e6, progress.escape(source.path))
    dropped = {why: number for why, number in (cleaner.dropped - before).items() if number}
    if summary["texts"] == 0:
        reasons = ", ".join(f"{why} {number:,}" for why, number in dropped.items()) or "they are empty"
        raise DataError(
            f"{source.path}: none of its {summary['documents']:,} documents came through cleaning ({reasons}). "
            "Check that the source names the right column, or change corpus.cleaning."
        )
    return {**summary, "dropped": dropped, "bad": problems.count, "bad_examples": problems.examples}


def _batches(source: Source, problems: Problems, cleaner: Cleaner) -> Iterator[tuple[int, list[str], list[str]]]:
    """Cleaned texts by the thousand: how many documents they come from, the texts, their languages."""
    split = source.sentences
    if split is None:
        split = format_of(source, resolve(source.path)[0]) in ("pile", "python")
    documents, characters = 0, 0
    cleaned: list[str] = []
    langs: list[str] = []
    for document in read(source, problems):
        documents += 1
        characters += len(document.text)
        pieces = split_sentences(document.text) if split else [document.text]
        cleaned += [text for piece in pieces if (text := cleaner.clean(piece)) is not None]
        langs += [document.lang or ""] * (len(cleaned) - len(langs))
        if len(cleaned) >= _BATCH_ROWS or characters >= _BATCH_CHARACTERS:
            yield documents, cleaned, langs
            documents, characters, cleaned, langs = 0, 0, [], []
    yield documents, cleaned, langs


def _copy(
    staging: Path,
    keep: npt.NDArray[np.bool_],
    near: NearDuplicates | None,
    held: int,
    validation: float,
    folder: Path,
    dropped: Counter[str],
    bar: progress.Bar,
) -> dict[str, dict[str, int]]:
    """Copies the rows that are kept to their splits. Held out are the first `held`, or a share of all."""
    counts = {split: {"texts": 0, "bytes": 0} for split in SPLITS}
    row = 0
    with (
        _writer(folder / "train.parquet") as train,
        _writer(folder / "validation.parquet") as validating,
        pq.ParquetFile(staging / "texts.parquet") as table,
        open(staging / "hashes.u64", "rb") as hash_file,
    ):
        for batch in table.iter_batches(batch_size=ROWS):
            hashes = np.fromfile(hash_file, dtype=np.uint64, count=len(batch))
            kept = np.array(keep[row : row + len(batch)])
            mine = np.arange(row, row + len(batch)) < held if held else in_validation(hashes, validation)
            row += len(batch)
            if near is not None:
                for index in np.flatnonzero(kept):
                    kept[index] = not near.seen(batch.column(0)[int(index)].as_py())
                    dropped["near duplicate"] += int(not kept[index])
            for split, writer, chosen in zip(SPLITS, (train, validating), (kept & ~mine, kept & mine), strict=True):
                part = batch.filter(pa.array(chosen))
                writer.write_batch(part)
                counts[split]["texts"] += len(part)
                counts[split]["bytes"] += _bytes(part)
            bar.advance(len(batch))
    return counts


def _require_both_splits(counts: dict[str, dict[str, int]], validation: float) -> None:
    total = sum(part["texts"] for part in counts.values())
    for split in SPLITS:
        if counts[split]["texts"] == 0:
            change = "raise" if split == "validation" else "lower"
            raise DataError(
                f"corpus: the {split} split is empty; {total:,} different texts came through cleaning. "
                f"Add text, or {change} corpus.validation (now {validation})."
            )


def _writer(path: Path) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, SCHEMA, compression="zstd", compression_level=1)


def _strings(column: list[str]) -> pa.Array:
    try:
        return pa.array(column, type=pa.string())
    except UnicodeEncodeError:  # JSON can carry lone surrogates, Parquet cannot
        return pa.array([value.encode("utf-8", "replace").decode() for value in column], type=pa.string())


def _bytes(batch: pa.RecordBatch) -> int:
    """UTF-8 bytes of the texts."""
    return int(pa.compute.sum(pa.compute.binary_length(batch.column(0))).as_py() or 0)
