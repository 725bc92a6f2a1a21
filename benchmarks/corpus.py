"""Preparing a corpus: reading, splitting into sentences, cleaning, de-duplicating, dividing, writing Parquet.

    python -m benchmarks.corpus FILE.jsonl.zst ... [--repeats 5]

The peer is one pass of the loop one would write: a line of JSON, sentences by a pattern, entities, NFC and white space, a set
of hashes, Parquet. Every measurement is a process of its own with all cores; the sides take turns. Memory is that of all
processes at its peak (shared pages counted once). That of Bongsu is measured on the first file alone, too: it must not grow
with the corpus.
"""

from __future__ import annotations

import argparse
import hashlib
import html
import io
import json
import re
import tempfile
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import PeakOfAll, in_turn, markdown

NAIVE, BONGSU, FIRST = "the loop", "bongsu", "bongsu, the first file alone"
SIDES = (NAIVE, BONGSU, FIRST)
VALIDATION = 0.01


def main() -> None:
    """Parses, measures, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="The Pile's .jsonl.zst")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sides", nargs="*", choices=SIDES, default=SIDES)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(_measure(options.side, options.files)))
        return
    found = in_turn("benchmarks.corpus", options.sides, options.files, options.repeats)
    slowest = found[options.sides[0]]["rate"]
    rows = [
        [side, f"{figures['mb']:,.0f}", f"{figures['rate']:.1f}", f"{figures['rate'] / slowest:.1f}",
         f"{figures['memory']:,.0f}", f"{figures['texts']:,.0f}"]
        for side, figures in found.items()
    ]  # fmt: skip
    print(markdown(["", "MB of text", "MB/s", f"× {options.sides[0]}", "memory MB", "sentences kept"], rows))


def _measure(side: str, files: list[str]) -> dict[str, float]:
    paths = files[:1] if side == FIRST else files
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        with PeakOfAll() as memory:
            texts = _naive(paths, Path(folder)) if side == NAIVE else _bongsu(paths, Path(folder))
        seconds = time.perf_counter() - start
    size = sum(len(text.encode()) for path in paths for text in _documents(path)) / 1e6
    return {"mb": size, "rate": size / seconds, "memory": memory.megabytes, "texts": texts}


def _bongsu(paths: list[str], folder: Path) -> int:
    from bongsu.corpus.prepare import prepare
    from bongsu.recipe import Corpus, Source

    sources = [Source(path=path, format="pile") for path in paths]
    return int(prepare(Corpus(sources=sources, validation=VALIDATION), folder)["texts"])


def _naive(paths: list[str], folder: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("text", pa.string())])
    seen: set[bytes] = set()
    waiting: dict[str, list[str]] = {"train": [], "validation": []}
    writers = {split: pq.ParquetWriter(folder / f"{split}.parquet", schema, compression="zstd") for split in waiting}

    def flush(split: str) -> None:
        writers[split].write_table(pa.table({"text": waiting[split]}, schema=schema))
        waiting[split].clear()

    for path in paths:
        for document in _documents(path):
            for sentence in re.split(r"(?<=[.!?])\s+|\n+", document):
                text = " ".join(unicodedata.normalize("NFC", html.unescape(sentence)).split())
                if not text:
                    continue
                key = hashlib.md5(re.sub(r"\W+", "", text.casefold()).encode()).digest()
                if key in seen:
                    continue
                seen.add(key)
                split = "validation" if int.from_bytes(key[:4], "big") < VALIDATION * 2**32 else "train"
                waiting[split].append(text)
                if len(waiting[split]) == 100_000:
                    flush(split)
    for split, writer in writers.items():
        flush(split)
        writer.close()
    return len(seen)


def _documents(path: str) -> Iterator[str]:
    import zstandard

    with zstandard.open(path, "rb") as file:
        for line in io.TextIOWrapper(file, encoding="utf-8"):
            yield json.loads(line)["text"]


if __name__ == "__main__":
    main()
