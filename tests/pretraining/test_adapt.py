"""What the encoder is adapted to."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from bongsu.errors import DataError, RecipeError
from bongsu.model.encoder import EncoderConfig
from bongsu.model.initialization import initialize
from bongsu.model.io import load_masked_lm, save_encoder
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.pretraining.adapt import adapt, texts
from bongsu.recipe import Recipe, parse_recipe
from bongsu.tokens.bpe import save_tokenizer

pytestmark = pytest.mark.slow


def recipe(folder: Path, rows: int = 60) -> Recipe:
    training = "".join(f"train {n} http://t.co/x,{n % 2},fire\n" for n in range(rows))
    (folder / "train.csv").write_text("text,target,keyword\n" + training)
    testing = "".join(f"test {n},\n" for n in range(rows))
    (folder / "test.csv").write_text("text,keyword\n" + testing + "TRAIN 1,fire\n")
    (folder / "more.txt").write_text("and more like them\n")
    return parse_recipe(
        {
            "adapt": {"sources": [{"path": str(folder / "more.txt")}], "steps": 3, "row_length": 16, "batch_sentences": 4},
            "task": {"train": str(folder / "train.csv"), "context": ["keyword"]},
            "finetune": {"encoder": "x"},
            "predict": {"input": str(folder / "test.csv")},
        }
    )


@pytest.fixture
def encoder(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    folder = tmp_path / "encoder"
    model = MaskedLanguageModel(EncoderConfig(tokenizer.get_vocab_size(), "modern", 16, 1, 2, 32, "geglu", 0.0, 32))
    initialize(model, 1)
    save_encoder(folder, model)
    save_tokenizer(tokenizer, folder, 32)
    return folder


def test_learns_from_the_texts_as_the_model_reads_them(tmp_path: Path) -> None:
    made = recipe(tmp_path)
    read = list(texts(made))
    assert read[0] == "fire | train 0 [LINK]"
    assert read[60] == "test 0"
    assert read[-1] == "and more like them"
    assert len(read) == 60 + 61 + 1
    assert made.task is not None
    (tmp_path / "held.csv").write_text("text,target,keyword,part\nkept apart,1,,a\nnot this,1,,b\n")
    held = made.task.model_copy(update={"test": str(tmp_path / "held.csv"), "test_where": {"part": "a"}})
    assert list(texts(made.model_copy(update={"task": held})))[60:62] == ["kept apart", "test 0"]


def test_goes_on_from_the_encoder(encoder: Path, tmp_path: Path) -> None:
    made = recipe(tmp_path)
    state = adapt(made, encoder, tmp_path)
    assert state.step == 3
    before, after = load_masked_lm(encoder).state_dict(), load_masked_lm(tmp_path / "model").state_dict()
    for name, weights in before.items():
        assert float((weights - after[name]).abs().max()) < 0.01  # three small steps away from where it began
    assert any(not torch.equal(weights, after[name]) for name, weights in before.items())


def test_says_what_does_not_fit(encoder: Path, tmp_path: Path) -> None:
    made = recipe(tmp_path)
    assert made.adapt is not None
    long = made.model_copy(update={"adapt": made.adapt.model_copy(update={"row_length": 64})})
    with pytest.raises(RecipeError, match=r"adapt\.row_length: 64 is more than the encoder's 32"):
        adapt(long, encoder, tmp_path)
    few = tmp_path / "few"
    few.mkdir()
    with pytest.raises(DataError, match="too few"):
        adapt(recipe(few, rows=1), encoder, few)
