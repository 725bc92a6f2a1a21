"""A sample of a corpus, run through the first stages, for the counts and times of `plan`."""

from __future__ import annotations

import gzip
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np
import zstandard

from bongsu import progress
from bongsu.corpus.prepare import prepare
from bongsu.corpus.readers import resolve
from bongsu.corpus.stored import read_corpus_report
from bongsu.corpus.streams import inner_suffix, is_packed, open_bytes
from bongsu.errors import RecipeError, need
from bongsu.recipe import Recipe, Source
from bongsu.recipe.section import BYTES, SPECIAL_TOKENS
from bongsu.tokens.shards import Shards, open_shards

SAMPLE_BYTES = 3_000_000
"""Unpacked, of the whole corpus. Less is read whole."""
_FILES = 8  # of a source
_TABLE_BYTES = 5_000_000  # of a file that cannot be cut, such as a workbook
_MEASURED = 16_000_000  # unpacked, to see how well a file is packed
_UNPACKABLE = (".xlsx", ".zip")


@dataclass(frozen=True)
class Sampled:
    """The counts and times of a sample, and the ratio of the whole corpus to it."""

    folder: Path
    """With `tokenizer/` and `tokens/`, as in a run's folder."""
    scale: float
    """Bytes of the whole corpus to those of the sample; 1 when the sample is all of it."""
    tokens: float
    """For training, of the whole corpus."""
    sentences: int
    seconds: dict[str, float]
    """What the stages corpus, tokenizer and tokens take for the whole corpus."""

    @property
    def shards(self) -> Shards:
        """The sample's training tokens."""
        return open_shards(self.folder / "tokens", "train", verify=False)


@dataclass(frozen=True)
class _Part:
    """The sample of a source."""

    source: Source
    share: float
    """Of the source's bytes that the sample has."""


def sample_corpus(recipe: Recipe, folder: Path) -> Sampled | None:
    """Prepare, tokenize and encode a sample of the recipe's corpus in `folder`; None when a source cannot be sampled.

    A corpus that is small is prepared whole, so that what is wrong with it is found here. The times of a larger one are those
    of the sample, longer by as much as there is more text; what starting takes is found with a sample of a tenth and counted
    once.

    Raises:
        BongsuError: when the corpus cannot be prepared, or does not fill the vocabulary.
    """
    if recipe.corpus is None:
        return None
    if any("://" in source.path for source in [*recipe.corpus.validation_sources, *recipe.corpus.sources]):
        return None
    large = _run(recipe, folder / "large", SAMPLE_BYTES)
    if large.scale < 1.5:
        return large
    small = _run(recipe, folder / "small", SAMPLE_BYTES // 10)
    seconds = {}
    for name, measured in large.seconds.items():
        once = min(measured, max(0.0, (10 * small.seconds[name] - measured) / 9))
        limit = 1e6 * recipe.tokenizer.sample_mb / SAMPLE_BYTES if name == "tokenizer" else large.scale
        seconds[name] = once + (measured - once) * min(large.scale, limit)
    return Sampled(large.folder, large.scale, large.tokens, large.sentences, seconds)


def _run(recipe: Recipe, folder: Path, size: int) -> Sampled:
    from bongsu.pipeline.stages import encode_corpus

    corpus = recipe.corpus
    assert corpus is not None
    sources = [*corpus.validation_sources, *corpus.sources]
    parts = [_sampled(source, folder / "raw" / str(number), size // len(sources)) for number, source in enumerate(sources)]
    held = len(corpus.validation_sources)
    update = {"validation_sources": [part.source for part in parts[:held]], "sources": [part.source for part in parts[held:]]}
    folders = {name: folder / name for name in ("corpus", "tokenizer", "tokens")}
    seconds = {}
    for name, target in folders.items():
        target.mkdir(parents=True)
        start = time.perf_counter()
        with progress.silence():
            if name == "corpus":
                prepare(corpus.model_copy(update=update), target)
            elif name == "tokenizer":
                _make_tokenizer(recipe, folders["corpus"], target, cut=any(part.share < 1.0 for part in parts))
            else:
                encode_corpus(folders["corpus"], folders["tokenizer"], target)
        seconds[name] = time.perf_counter() - start
    report = read_corpus_report(folder / "corpus")
    there, whole = 0.0, 0.0
    for part, source, summary in zip(parts[held:], sources[held:], report["sources"][held:], strict=True):
        documents = summary["documents"] / max(part.share, 1e-9)
        limited = min(documents, source.limit) if source.limit else documents
        there += summary["bytes"]
        whole += summary["bytes"] * limited / max(1, summary["documents"])
    scale = max(1.0, whole / max(1.0, there))
    shards = open_shards(folder / "tokens", "train", verify=False)
    return Sampled(folder, scale, len(shards.tokens) * scale, round(shards.sentences * scale), seconds)


def _make_tokenizer(recipe: Recipe, corpus: Path, folder: Path, cut: bool) -> None:
    """Train the recipe's tokenizer; on a part of the text one as large as this part can fill.

    Raises:
        RecipeError: when all of the text cannot fill the vocabulary.
    """
    from bongsu.pipeline.stages import make_tokenizer

    while True:
        try:
            make_tokenizer(recipe, corpus, folder)
            return
        except RecipeError:
            smaller = int(0.7 * recipe.tokenizer.vocab_size)
            if not cut or smaller < SPECIAL_TOKENS + BYTES:
                raise
            recipe = recipe.model_copy(update={"tokenizer": recipe.tokenizer.model_copy(update={"vocab_size": smaller})})


def _sampled(source: Source, folder: Path, size: int) -> _Part:
    """Copy the beginning of some of a source's files to `folder`."""
    if source.path.startswith("python:"):
        return _Part(source, 1.0)
    files = resolve(source.path)
    sizes = {path: _unpacked_bytes(path) for path in files}
    if sum(sizes.values()) <= size:
        return _Part(source, 1.0)
    chosen = [files[place] for place in np.unique(np.linspace(0, len(files) - 1, min(_FILES, len(files))).astype(int)).tolist()]
    folder.mkdir(parents=True)
    taken = 0.0
    for number, path in enumerate(chosen):
        taken += _copy_beginning(path, folder / f"{number:03d}{inner_suffix(path) or '.txt'}", size // len(chosen), sizes[path])
    update = {"path": str(folder), "limit": None, "max_bad": 10**9}
    return _Part(source.model_copy(update=update), min(1.0, taken / sum(sizes.values())))


def _copy_beginning(path: str, target: Path, size: int, whole: float) -> float:
    """Copy at most about `size` unpacked bytes of a file, up to the end of a line; say how many of `whole` that is."""
    if inner_suffix(path) == ".parquet":
        return whole * _copy_rows(path, target, size)
    if inner_suffix(path) in _UNPACKABLE:
        if Path(path).stat().st_size > _TABLE_BYTES:
            return 0.0
        shutil.copyfile(path, target)
        return whole
    with open_bytes(path) as stream:
        data = stream.read(size)
    if len(data) == size and (end := data.rfind(b"\n")) > 0:
        data = data[: end + 1]
    target.write_bytes(data)
    return float(len(data))


def _copy_rows(path: str, target: Path, size: int) -> float:
    """Copy some rows of a Parquet file; return their share of all."""
    need("pyarrow", "train")
    import pyarrow as pa
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        rows = file.metadata.num_rows
        width = max(1.0, sum(file.metadata.row_group(n).total_byte_size for n in range(file.num_row_groups)) / max(1, rows))
        batch = next(file.iter_batches(batch_size=max(1, int(size / width))), None)
        if batch is None:
            return 0.0
        parquet.write_table(pa.Table.from_batches([batch]), target)
        return float(batch.num_rows / rows)


def _unpacked_bytes(path: str) -> float:
    """Return the unpacked size of a file, estimated from the compression of its beginning."""
    file = Path(path)
    size = file.stat().st_size
    if not is_packed(path):
        return float(size)
    unpacked = 0
    with open(file, "rb") as raw, _reader(file, raw) as reader:
        while unpacked < _MEASURED and (piece := reader.read(2**20)):
            unpacked += len(piece)
        packed = raw.tell()
    return float(unpacked) * size / max(1, packed)


@contextmanager
def _reader(file: Path, raw: IO[bytes]) -> Iterator[IO[bytes]]:
    if file.suffix == ".gz":
        with gzip.GzipFile(fileobj=raw) as unpacked:
            yield cast(IO[bytes], unpacked)
    else:
        with zstandard.ZstdDecompressor(max_window_size=2**28).stream_reader(raw, read_across_frames=True) as reader:
            yield cast(IO[bytes], reader)
