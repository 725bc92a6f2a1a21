"""Sentences as memory-mapped arrays of token ids, so that training memory does not grow with the corpus.

A split is three files: `<split>.tokens.npy` (all ids, one after another; uint16 below 65,536 entries, else uint32),
`<split>.offsets.npy` (int64 [sentences + 1], where each begins) and `<split>.bytes.npy` (int64 [sentences], the bytes of text
each stands for). `tokens.json` holds counts and hashes.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, TypedDict

import numpy as np
from numpy.typing import DTypeLike
from tokenizers import Tokenizer

from bongsu.arrays import Array, Int64
from bongsu.corpus.stored import part_texts
from bongsu.errors import WorkspaceError
from bongsu.files import atomic_file, file_hash, read_json, write_json
from bongsu.progress import Bar
from bongsu.tokens.bpe import batched, load_tokenizer
from bongsu.tokens.encoding import PROOF, Encoder, choose_encoder

HEADER_BYTES = 128  # what numpy writes for a one-dimensional array of any length
_BATCH = 16_384  # texts encoded at a time


@dataclass(frozen=True)
class Shards:
    """One split, opened memory-mapped."""

    tokens: Array
    """[tokens] uint16 or uint32."""
    offsets: Int64
    """[sentences + 1]."""
    bytes: Int64
    """[sentences]."""

    @property
    def sentences(self) -> int:
        return len(self.offsets) - 1

    def lengths(self, limit: int) -> Int64:
        """Return the tokens of each sentence, at most `limit`. [sentences] int64."""
        return np.minimum(np.diff(self.offsets), limit)


class SplitEntry(TypedDict):
    """A split in `tokens.json`."""

    sentences: int
    tokens: int
    bytes: int
    sha256: dict[str, str]
    """Of each file."""


class TokensReport(TypedDict):
    """The contents of `tokens.json`."""

    vocab_size: int
    splits: dict[str, SplitEntry]


class Encoded(NamedTuple):
    """Texts as ids."""

    ids: Array
    """[tokens] of all texts, one after another."""
    lengths: Int64
    """[texts] tokens of each; texts without tokens are left out."""
    sizes: Int64
    """[texts] bytes of each."""


def encode_texts(texts: Iterable[str], tokenizer: Tokenizer) -> Iterator[Encoded]:
    """Yield texts as ids, some megabytes at a time."""
    dtype = token_dtype(tokenizer)
    encoder: Encoder | None = None
    for batch in batched(texts, _BATCH):
        encoder = encoder or choose_encoder(tokenizer, batch[:PROOF])
        ids, lengths = encoder.encode(batch)
        sizes = np.array([len(text) if text.isascii() else len(text.encode()) for text in batch], dtype=np.int64)
        yield Encoded(ids.astype(dtype), lengths[lengths > 0], sizes[lengths > 0])


def encode_part(path: Path, tokenizer_folder: Path) -> list[Encoded]:
    """Return a part of a corpus as ids."""
    return list(encode_texts(part_texts(path), load_tokenizer(tokenizer_folder)))


def token_dtype(tokenizer: Tokenizer) -> DTypeLike:
    """Return the type that ids are stored in."""
    return np.uint16 if tokenizer.get_vocab_size() < 2**16 else np.uint32


def write_shards(folder: Path, split: str, encoded: Iterable[Encoded], tokenizer: Tokenizer, progress: Bar) -> SplitEntry:
    """Write the three files of a split and return its entry for `tokens.json`."""
    dtype = token_dtype(tokenizer)
    with (
        atomic_file(folder / f"{split}.tokens.npy") as token_file,
        atomic_file(folder / f"{split}.offsets.npy") as offset_file,
        atomic_file(folder / f"{split}.bytes.npy") as byte_file,
    ):
        for file in (token_file, offset_file, byte_file):
            file.write(bytes(HEADER_BYTES))
        offset_file.write(np.zeros(1, dtype=np.int64).tobytes())
        sentences = tokens = size = 0
        for part in encoded:
            token_file.write(part.ids.astype(dtype, copy=False).data)
            offset_file.write((tokens + np.cumsum(part.lengths)).data)
            byte_file.write(part.sizes.data)
            sentences += len(part.lengths)
            tokens += len(part.ids)
            size += int(part.sizes.sum())
            progress.advance(float(part.sizes.sum()) / 1e6)
        _write_header(token_file, dtype, tokens)
        _write_header(offset_file, np.int64, sentences + 1)
        _write_header(byte_file, np.int64, sentences)
    names = [f"{split}.{part}.npy" for part in ("tokens", "offsets", "bytes")]
    return {
        "sentences": sentences,
        "tokens": tokens,
        "bytes": size,
        "sha256": {name: file_hash(folder / name) for name in names},
    }


def write_tokens_report(folder: Path, tokenizer: Tokenizer, splits: dict[str, SplitEntry]) -> None:
    """Write `tokens.json`, once the files of every split are there."""
    write_json(folder / "tokens.json", TokensReport(vocab_size=tokenizer.get_vocab_size(), splits=splits))


def open_shards(folder: Path, split: str, verify: bool = True) -> Shards:
    """Open a split and, with `verify`, check the hashes of its files.

    Raises:
        WorkspaceError: when a file is missing, cut short or changed.
    """
    try:
        hashes = read_json(folder / "tokens.json")["splits"][split]["sha256"]
    except (KeyError, TypeError):
        raise WorkspaceError(f"{folder / 'tokens.json'}: damaged. Delete {folder} and run the same command again.") from None
    for name, expected in hashes.items():
        path = folder / name
        if not path.is_file():
            raise WorkspaceError(f"{path}: no such file. Delete the folder {folder} and run the same command again.")
        if verify and file_hash(path) != expected:
            raise WorkspaceError(
                f"{path}: its content has changed since it was written (SHA-256 differs). "
                f"Delete the folder {folder} and run the same command again."
            )
    arrays = [np.load(folder / f"{split}.{part}.npy", mmap_mode="r") for part in ("tokens", "offsets", "bytes")]
    return Shards(*arrays)


def _write_header(file: IO[bytes], dtype: DTypeLike, length: int) -> None:
    header = io.BytesIO()
    description = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": (length,)}
    np.lib.format.write_array_header_1_0(header, description)
    if header.tell() != HEADER_BYTES:
        raise WorkspaceError(f"numpy wrote a header of {header.tell()} bytes, {HEADER_BYTES} were expected")
    file.seek(0)
    file.write(header.getvalue())
    file.seek(0, io.SEEK_END)
