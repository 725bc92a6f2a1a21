"""Raw files to a corpus: `train/*.parquet`, `validation/*.parquet` and `corpus.json`.

Blocks of the sources are cleaned to staging files and their keys hashed; duplicates are found; kept texts are copied to their
splits. Memory is that of a few blocks, whatever the size of the corpus.
"""

from __future__ import annotations

import shutil
from collections import Counter
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TypedDict

import numpy as np

from bongsu import progress
from bongsu.corpus import blocks
from bongsu.corpus.dedup import NearDuplicates, first_occurrences
from bongsu.corpus.readers import nothing_read, warn_of_missing_subsets
from bongsu.corpus.split import SPLITS
from bongsu.corpus.staging import HASHES, KEEP, Group, StagedBlock, stage, staged_texts, write
from bongsu.corpus.stats import ReadStats
from bongsu.corpus.stored import REPORT, CorpusReport, SourceSummary
from bongsu.errors import DataError
from bongsu.files import redacted, redacted_tree, write_json
from bongsu.parallel import Workers, whole, workers
from bongsu.recipe import Corpus, Source

_PART_TEXTS = 500_000  # of a part of the corpus, about; 60 MB of English sentences


class SplitSize(TypedDict):
    """Texts of a split."""

    texts: int
    bytes: int


def prepare(corpus: Corpus, folder: Path, ray: str | None = None) -> CorpusReport:
    """Prepare the corpus in the existing, empty `folder`, and return the contents of `corpus.json`.

    Args:
        ray: the address of a Ray cluster that does the work; all its machines must see `folder` and the sources.

    Raises:
        DataError: when a source gives nothing, or a split would be empty.
    """
    staging = (folder / "staging").absolute()
    staging.mkdir()
    # Texts to hold out come first: of duplicates the first is kept.
    sources = [*corpus.validation_sources, *corpus.sources]
    with workers(ray) as pool:
        summaries, staged = _stage(corpus, sources, staging, pool)
        held = sum(summary["texts"] for summary in summaries[: len(corpus.validation_sources)])
        dropped = sum((Counter(summary["dropped"]) for summary in summaries), Counter[str]())
        dropped += _deduplicate(corpus, staging, staged)
        counts, hashes = _write(corpus, staged, held, folder.absolute(), pool)
    shutil.rmtree(staging)
    _require_both_splits(counts, corpus.validation)
    report: CorpusReport = {
        "documents": sum(summary["documents"] for summary in summaries),
        "texts": sum(part["texts"] for part in counts.values()),
        "bytes": sum(part["bytes"] for part in counts.values()),
        "splits": {split: part["texts"] for split, part in counts.items()},
        "sources": summaries,
        "dropped": {why: number for why, number in dropped.items() if number},
        "settings": redacted_tree(corpus.model_dump(mode="json")),
        "sha256": hashes,
    }
    write_json(folder / REPORT, report)
    return report


def _stage(
    corpus: Corpus, sources: list[Source], staging: Path, pool: Workers
) -> tuple[list[SourceSummary], list[StagedBlock]]:
    """Clean all sources; return the summary of each, and the blocks with texts."""
    stats = [ReadStats(source.max_bad) for source in sources]
    summaries: list[SourceSummary] = [
        {"path": redacted(source.path), "documents": 0, "texts": 0, "bytes": 0, "dropped": {}, "read": counts.as_dict()}
        for source, counts in zip(sources, stats, strict=True)
    ]
    dropped = [Counter[str]() for _ in sources]
    staged: list[StagedBlock] = []
    found = pool.run(blocks.file_groups(sources), blocks.cut, partial(stage, cleaning=corpus.cleaning, folder=staging))
    with progress.bar("prepare", None, "MB") as bar, open(staging / HASHES, "wb") as hashes:
        for block in found:
            summary, path = summaries[block.source], sources[block.source].path
            stats[block.source].add(block.stats)
            if block.error is not None:
                raise block.error
            hashes.write(block.hashes.tobytes())
            summary["documents"] += block.documents
            summary["texts"] += len(block.hashes)
            summary["bytes"] += block.bytes
            dropped[block.source] += block.dropped
            if len(block.hashes):
                staged.append(StagedBlock(block.name, path, len(block.hashes)))
            bar.advance(block.bytes / 1e6, progress.escape(redacted(path)))
    for source, counts, summary, reasons in zip(sources, stats, summaries, dropped, strict=True):
        summary["dropped"] = dict(reasons)
        _require_text(source, counts, summary)
        warn_of_missing_subsets(source, counts)
        counts.report(summary["path"])
        summary["read"] = counts.as_dict()
    return summaries, staged


def _deduplicate(corpus: Corpus, staging: Path, staged: list[StagedBlock]) -> Counter[str]:
    """Write a mask of the staged texts that are kept; return how many are dropped, by reason."""
    dropped: Counter[str] = Counter()
    count = sum(texts for _, _, texts in staged)
    if corpus.duplicates == "keep":
        np.save(staging / KEEP, np.ones(count, dtype=np.bool_))
        return dropped
    with progress.console.status("finding duplicates"):
        keep = first_occurrences(staging / HASHES, count, staging / KEEP)
    dropped["exact duplicate"] = count - int(np.count_nonzero(keep))
    if corpus.duplicates == "near":
        near = NearDuplicates(corpus.near_threshold)
        row = 0
        with progress.bar("near-duplicates", count, "texts") as bar:
            for name, _, texts in staged:
                column = staged_texts(staging, name)["text"]
                for index in np.flatnonzero(keep[row : row + texts]):
                    if near.seen(column[int(index)].as_py()):
                        keep[row + index] = False
                        dropped["near duplicate"] += 1
                row += texts
                bar.advance(texts)
    keep.flush()  # type: ignore[attr-defined]
    return dropped


def _write(
    corpus: Corpus, staged: list[StagedBlock], held: int, folder: Path, pool: Workers
) -> tuple[dict[str, SplitSize], dict[str, str]]:
    """Write the parts of the corpus; return texts and bytes of each split, and the hash of each file."""
    counts: dict[str, SplitSize] = {split: {"texts": 0, "bytes": 0} for split in SPLITS}
    hashes: dict[str, str] = {}
    groups = _groups(staged)
    with progress.bar("split", len(groups), "parts") as bar:
        for part in pool.run(groups, whole, partial(write, folder=folder, held=held, validation=corpus.validation)):
            for written in part:
                counts[written.split]["texts"] += written.texts
                counts[written.split]["bytes"] += written.bytes
                hashes[written.name] = written.sha256
            bar.advance()
    return counts, dict(sorted(hashes.items()))


def _groups(staged: list[StagedBlock]) -> list[Group]:
    """Return consecutive blocks grouped into parts."""
    rows = np.cumsum([0, *(texts for _, _, texts in staged)])
    number = rows[:-1] // _PART_TEXTS
    starts = [*np.flatnonzero(np.diff(number, prepend=-1)), len(staged)]
    return [Group(n, staged[begin:end], int(rows[begin])) for n, (begin, end) in enumerate(pairwise(starts))]


def _require_text(source: Source, stats: ReadStats, summary: SourceSummary) -> None:
    if summary["documents"] == 0:
        raise nothing_read(source, stats)
    if summary["texts"] == 0:
        reasons = ", ".join(f"{why} {number:,}" for why, number in summary["dropped"].items()) or "they are empty"
        raise DataError(
            f"{summary['path']}: none of its {summary['documents']:,} documents came through cleaning ({reasons}). "
            "Check that the source names the right column, or change corpus.cleaning."
        )


def _require_both_splits(counts: dict[str, SplitSize], validation: float) -> None:
    total = sum(part["texts"] for part in counts.values())
    for split in SPLITS:
        if counts[split]["texts"] == 0:
            change = "raise" if split == "validation" else "lower"
            raise DataError(
                f"corpus: the {split} split is empty; {total:,} different texts came through cleaning. "
                f"Add text, or {change} corpus.validation (now {validation})."
            )
