"""Shards to train on."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from bongsu import progress
from bongsu.files import write_json
from bongsu.tokens.shards import encode_texts, write_shards


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
    write_json(folder / "tokens" / "tokens.json", {"vocab_size": tokenizer.get_vocab_size(), "splits": splits})
    return folder
