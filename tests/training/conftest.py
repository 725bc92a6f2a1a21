"""Shards to train on."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from bongsu import progress
from bongsu.tokens.shards import encode_texts, write_shards, write_tokens_report


@pytest.fixture(scope="session")
def data(sentences: list[str], tokenizer: Tokenizer, tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `tokenizer/` and `tokens/`: 540 sentences to learn from, 60 held out."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "tokenizer").symlink_to(tokenizer_folder)
    (folder / "tokens").mkdir()
    splits = {}
    with progress.bar("encode", None, "MB") as bar:
        for split, part in (("train", sentences[:540]), ("validation", sentences[540:])):
            splits[split] = write_shards(folder / "tokens", split, encode_texts(part, tokenizer), tokenizer, bar)
    write_tokens_report(folder / "tokens", tokenizer, splits)
    return folder
