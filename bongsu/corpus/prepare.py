"""Raw files to a corpus: `train.parquet`, `validation.parquet` and `corpus.json`.

Three passes with flat memory: clean to a staging file and hash; find first occurrences; copy what is kept to its split. The
split is a hash of the text's key, so it stays when text is added, and twins never fall on both sides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from bongsu import progress
from bongsu.corpus.cleaning import Cleaner, split_sentences
from bongsu.corpus.dedup import NearDuplicates, first_occurrences, hash_key
from bongsu.corpus.problems import Problems
from bongsu.corpus.readers import format_of, read, resolve
from bongsu.errors import DataError
from bongsu.files import file_hash, read_json, write_json
from bongsu.recipe import Corpus, Source

SCHEMA = pa.schema([("text", pa.string()), ("source", pa.string()), ("lang", pa.string())])
ROWS = 65_536
SPLITS = ("train", "validation")


def prepare(corpus: Corpus, folder: Path) -> dict[str, Any]:
    """Makes the corpus in `folder` and returns what `corpus.json` says of it.

    Raises:
        DataError: when a source gives nothing, or a split would be empty.
    """
    staging, hashes, keep_file = (folder / name for name in ("staging.parquet", "hashes.u64", "keep.npy"))
    cleaner = Cleaner(corpus.cleaning)
    sources = []
    count = 0
    with progress.bar("prepare", None, "MB") as bar, open(hashes, "wb") as hash_file, _writer(staging) as writer:
        for source in corpus.sources:
            summary: dict[str, Any] = {"path": source.path, "documents": 0, "texts": 0, "bytes": 0, "bad": 0}
            problems = Problems(source.max_bad)
            for batch in _batched(_texts(source, problems, cleaner, summary)):
                _write(writer, batch)
                hash_file.write(np.array([hash_key(text) for text, _, _ in batch], dtype=np.uint64).tobytes())
                count += len(batch)
                bar.advance(sum(len(text) for text, _, _ in batch) / 1e6, source.path)
            summary["bad"], summary["bad_examples"] = problems.count, problems.examples
            sources.append(summary)

    dropped = Counter(cleaner.dropped)
    keep = np.ones(count, dtype=bool) if corpus.duplicates == "keep" else first_occurrences(hashes, count, keep_file)
    dropped["exact duplicate"] = int(count - keep.sum())
    near = NearDuplicates(corpus.near_threshold) if corpus.duplicates == "near" else None
    counts = _copy(staging, hashes, keep, near, corpus.validation, folder, dropped)
    for path in (staging, hashes, keep_file):
        path.unlink(missing_ok=True)
    for split in SPLITS:
        if counts[split]["texts"] == 0:
            raise DataError(
                f"The {split} split is empty: {count:,} texts came through cleaning. Add text, or change corpus.validation "
                f"(now {corpus.validation})."
            )
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


def summary_of(folder: Path) -> dict[str, Any]:
    """What `corpus.json` says."""
    return dict(read_json(folder / "corpus.json"))


def _texts(source: Source, problems: Problems, cleaner: Cleaner, summary: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    split = source.sentences
    if split is None:
        split = format_of(source, resolve(source.path)[0]) in ("pile", "python")
    for document in read(source, problems):
        summary["documents"] += 1
        for piece in split_sentences(document.text) if split else [document.text]:
            text = cleaner.clean(piece)
            if text is not None:
                text = text.encode("utf-8", "replace").decode()  # JSON can carry lone surrogates, Parquet cannot
                summary["texts"] += 1
                summary["bytes"] += len(text.encode())
                yield text, document.source, document.lang or ""


def _copy(
    staging: Path, hashes: Path, keep: Any, near: NearDuplicates | None, validation: float, folder: Path, dropped: Counter[str]
) -> dict[str, dict[str, int]]:
    """Copies the rows that are kept to their splits."""
    counts = {split: {"texts": 0, "bytes": 0} for split in SPLITS}
    limit = np.uint64(int(validation * 2**64))
    row = 0
    with (
        _writer(folder / "train.parquet") as train,
        _writer(folder / "validation.parquet") as held,
        pq.ParquetFile(staging) as table,
        open(hashes, "rb") as hash_file,
    ):
        for batch in table.iter_batches(batch_size=ROWS):
            part = np.frombuffer(hash_file.read(8 * len(batch)), dtype=np.uint64)
            kept = np.array(keep[row : row + len(batch)])
            row += len(batch)
            if near is not None:
                for index in np.flatnonzero(kept):
                    kept[index] = not near.seen(batch.column(0)[int(index)].as_py())
                    dropped["near duplicate"] += not kept[index]
            for split, writer, mine in zip(SPLITS, (train, held), (part >= limit, part < limit), strict=True):
                chosen = batch.filter(pa.array(kept & mine))
                writer.write_batch(chosen)
                counts[split]["texts"] += len(chosen)
                counts[split]["bytes"] += int(pa.compute.sum(pa.compute.binary_length(chosen.column(0))).as_py() or 0)
    return counts


def _writer(path: Path) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, SCHEMA, compression="zstd", compression_level=1)


def _write(writer: pq.ParquetWriter, rows: list[tuple[str, str, str]]) -> None:
    columns = [pa.array([row[index] for row in rows], type=pa.string()) for index in range(3)]
    writer.write_batch(pa.record_batch(columns, schema=SCHEMA))


def _batched(rows: Iterator[tuple[str, str, str]]) -> Iterator[list[tuple[str, str, str]]]:
    batch: list[tuple[str, str, str]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == 16_384:
            yield batch
            batch = []
    if batch:
        yield batch
