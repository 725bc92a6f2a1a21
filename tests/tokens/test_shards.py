"""Shards against `tokenizer.encode`, one text at a time, and against damage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from bongsu import progress
from bongsu.errors import WorkspaceError
from bongsu.files import write_json
from bongsu.tokens import shards as writing
from bongsu.tokens.shards import Shards, SplitEntry, encode_texts, open_shards, write_shards

PARTS = ("tokens", "offsets", "bytes")


def write(folder: Path, texts: list[str], tokenizer: Tokenizer) -> SplitEntry:
    with progress.bar("encoding", None, "MB") as bar:
        entry = write_shards(folder, "train", encode_texts(texts, tokenizer), tokenizer, bar)
    write_json(folder / "tokens.json", {"splits": {"train": entry}})
    return entry


@pytest.fixture
def texts(sentences: list[str]) -> list[str]:
    # More than one batch of the writer, with texts that come to nothing among them.
    return [*(sentences * 7)[:4095], "", "", *sentences[:50], "🔥" * 300]


def test_shards_are_what_encode_gives(
    tmp_path: Path, texts: list[str], tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_BATCH", 4096)
    entry = write(tmp_path, texts, tokenizer)
    shards = open_shards(tmp_path, "train")
    kept = [text for text in texts if text]
    assert shards.sentences == entry["sentences"] == len(kept)
    assert entry["bytes"] == sum(len(text.encode()) for text in kept)
    for index, text in enumerate(kept):
        assert shards.tokens[shards.offsets[index] : shards.offsets[index + 1]].tolist() == tokenizer.encode(text).ids
    assert shards.bytes.tolist() == [len(text.encode()) for text in kept]
    assert entry["tokens"] == len(shards.tokens) == shards.offsets[-1]
    assert shards.lengths(7).tolist() == [min(7, length) for length in np.diff(shards.offsets)]


def test_arrays_are_mapped_and_readable_by_numpy(tmp_path: Path, texts: list[str], tokenizer: Tokenizer) -> None:
    write(tmp_path, texts, tokenizer)
    shards = open_shards(tmp_path, "train")
    for part, dtype in zip(PARTS, (np.uint16, np.int64, np.int64), strict=True):
        mapped = getattr(shards, part)
        assert isinstance(mapped, np.memmap)
        assert mapped.dtype == dtype
        assert np.array_equal(np.load(tmp_path / f"train.{part}.npy"), mapped)


class WideTokenizer:
    """As many entries as need 32 bits."""

    def __init__(self, tokenizer: Tokenizer, size: int) -> None:
        self._tokenizer, self._size = tokenizer, size

    def get_vocab_size(self) -> int:
        return self._size

    def encode_batch_fast(self, texts: list[str]) -> Any:
        return self._tokenizer.encode_batch_fast(texts)


@pytest.mark.parametrize(("size", "dtype"), [(65_535, np.uint16), (65_536, np.uint32), (100_000, np.uint32)])
def test_ids_take_two_or_four_bytes(tmp_path: Path, tokenizer: Tokenizer, size: int, dtype: type) -> None:
    write(tmp_path, ["a fire", "불"], WideTokenizer(tokenizer, size))  # type: ignore[arg-type]
    shards = open_shards(tmp_path, "train")
    assert shards.tokens.dtype == dtype
    assert shards.tokens.tolist() == [*tokenizer.encode("a fire").ids, *tokenizer.encode("불").ids]


@pytest.mark.parametrize("texts", [[], [""]])
def test_no_text_makes_empty_shards(tmp_path: Path, texts: list[str], tokenizer: Tokenizer) -> None:
    write(tmp_path, texts, tokenizer)
    assert open_shards(tmp_path, "train").sentences == 0


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("harm", ["flip", "truncate", "remove"])
def test_damage_names_the_file(tmp_path: Path, sentences: list[str], tokenizer: Tokenizer, part: str, harm: str) -> None:
    write(tmp_path, sentences, tokenizer)
    path = tmp_path / f"train.{part}.npy"
    if harm == "remove":
        path.unlink()
    else:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 4
        path.write_bytes(data if harm == "flip" else data[:-1])
    with pytest.raises(WorkspaceError, match=path.name):
        open_shards(tmp_path, "train")


def test_a_damaged_list_of_shards_is_named(tmp_path: Path, sentences: list[str], tokenizer: Tokenizer) -> None:
    with pytest.raises(WorkspaceError, match=r"tokens\.json"):
        open_shards(tmp_path, "train")
    write(tmp_path, sentences[:3], tokenizer)
    for content in ("{", "[]", '{"splits": {}}'):
        (tmp_path / "tokens.json").write_text(content)
        with pytest.raises(WorkspaceError, match=r"tokens\.json"):
            open_shards(tmp_path, "train")


def test_a_writer_that_fails_leaves_what_was_there(tmp_path: Path, sentences: list[str], tokenizer: Tokenizer) -> None:
    write(tmp_path, sentences, tokenizer)

    def failing() -> Any:
        yield from sentences[:10]
        raise RuntimeError("no more text")

    with progress.bar("encoding", None, "MB") as bar, pytest.raises(RuntimeError):
        write_shards(tmp_path, "train", encode_texts(failing(), tokenizer), tokenizer, bar)
    assert isinstance(open_shards(tmp_path, "train"), Shards)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*(f"train.{part}.npy" for part in PARTS), "tokens.json"])
