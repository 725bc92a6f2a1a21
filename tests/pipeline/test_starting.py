"""Pre-training that goes on with an encoder that is there: its tokenizer, its shape, its weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from bongsu.errors import BongsuError
from bongsu.model.encoder import EncoderConfig
from bongsu.model.initialization import initialize
from bongsu.model.io import load_masked_lm, save_encoder
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.models import packaged
from bongsu.pipeline.running import run
from bongsu.recipe import Recipe, parse_recipe
from bongsu.tokens.bpe import load_tokenizer, save_tokenizer


@pytest.fixture
def encoder(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    folder = tmp_path / "encoder"
    model = MaskedLanguageModel(EncoderConfig(tokenizer.get_vocab_size(), "modern", 16, 1, 2, 32, "geglu", 0.0, 48))
    initialize(model, 1)
    save_encoder(folder, model, dtype=torch.float16)
    save_tokenizer(tokenizer, folder, 48)
    return folder


def recipe_of(encoder: Path, sentences: list[str], **pretrain: object) -> Recipe:
    text = encoder.parent / "text.txt"
    text.write_text("\n".join(sentences), encoding="utf-8")
    return parse_recipe(
        {
            "corpus": {"sources": [{"path": str(text)}], "validation": 0.2},
            "pretrain": {"start": str(encoder), "steps": 1, "row_length": 32, "device": "cpu", **pretrain},
        }
    )


def test_goes_on_with_weights_and_tokenizer(encoder: Path, sentences: list[str], tmp_path: Path) -> None:
    out = run(recipe_of(encoder, sentences, learning_rate=1e-9, weight_decay=0.0), tmp_path / "run").path
    before, after = load_masked_lm(encoder), load_masked_lm(out / "pretrain" / "model")
    assert after.encoder.config == before.encoder.config
    for name, weight in before.state_dict().items():
        torch.testing.assert_close(after.state_dict()[name], weight, atol=1e-6, rtol=0)
    assert load_tokenizer(out / "pretrain" / "model").get_vocab() == load_tokenizer(encoder).get_vocab()


def test_another_encoder_is_another_run(encoder: Path, sentences: list[str], tmp_path: Path) -> None:
    recipe = recipe_of(encoder, sentences)
    first = load_masked_lm(run(recipe, tmp_path / "run").path / "pretrain" / "model").state_dict()
    model = load_masked_lm(encoder)
    initialize(model, 2)
    save_encoder(encoder, model)
    second = load_masked_lm(run(recipe, tmp_path / "run").path / "pretrain" / "model").state_dict()
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_rows_longer_than_the_encoder_reads_are_refused(encoder: Path, sentences: list[str], tmp_path: Path) -> None:
    with pytest.raises(BongsuError, match="more than the encoder's 48 positions"):
        run(recipe_of(encoder, sentences, row_length=64), tmp_path / "run")


def test_a_model_that_does_not_ship_is_refused() -> None:
    assert packaged("runs/mine", "encoder") is None
    with pytest.raises(BongsuError, match="no encoder of this name ships with Bongsu"):
        packaged("bongsu:../data", "encoder")
