"""Training on other labels before those of the task."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bongsu.finetuning.intermediate import read_texts, train_on_sources
from tokenizers import Tokenizer

from bongsu.errors import DataError
from bongsu.files import read_json
from bongsu.model.encoder import EncoderConfig
from bongsu.model.initialization import initialize
from bongsu.model.io import load_masked_lm, save_encoder
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.recipe import Recipe, parse_recipe
from bongsu.tokens.bpe import load_tokenizer, save_tokenizer


def make(folder: Path, **changes: object) -> Recipe:
    (folder / "train.csv").write_text("text,target\n" + "".join(f"row {n} about item {n * 7},{n % 2}\n" for n in range(20)))
    alarms = [f"flood in street {n * 13} now: send boats" for n in range(60)]
    (folder / "crisis.txt").write_text("\n".join([*alarms, "Row 3 about item 21 http://t.co/x", alarms[0]]) + "\n")
    others = "".join(f"song number {n * 17} is on again,chat\n" for n in range(50))
    (folder / "talk.csv").write_text(f"body,kind\n{others}what was that?,unclear\n{alarms[1]},chat\n")
    sources = [
        {"path": str(folder / "crisis.txt"), "all": "crisis"},
        {"path": str(folder / "talk.csv"), "text": "body", "label": "kind", "labels": {"chat": "general"}},
    ]
    return parse_recipe(
        {
            "intermediate": {"sources": sources, "epochs": 12, "learning_rate": 1e-2, **changes},
            "finetune": {"train": str(folder / "train.csv"), "encoder": "x", "max_length": 16, "filters": 8},
        }
    )


def test_texts_of_the_task_and_texts_of_two_minds_are_left_out(tmp_path: Path) -> None:
    recipe = make(tmp_path)
    assert recipe.intermediate is not None
    assert recipe.finetune is not None
    texts, labels, names = read_texts(recipe.intermediate, recipe.finetune)
    assert names == ["crisis", "general"]
    assert sorted(labels.tolist()) == [0] * 59 + [1] * 50  # one is a twin of the task's, one is called both things
    assert not any("row 3" in text.lower() or "street 13 now" in text or "what was" in text for text in texts)


def test_the_encoder_learns_them_and_is_kept_as_an_encoder(tokenizer: Tokenizer, tmp_path: Path) -> None:
    encoder = tmp_path / "encoder"
    model = MaskedLanguageModel(EncoderConfig(tokenizer.get_vocab_size(), "modern", 16, 1, 2, 32, "geglu", 0.0, 32))
    initialize(model, 1)
    save_encoder(encoder, model)
    save_tokenizer(tokenizer, encoder, 32)
    out = tmp_path / "out"
    out.mkdir()
    state, names = train_on_sources(make(tmp_path), encoder, out)
    assert names == ["crisis", "general"]
    assert state.last["accuracy"] == 1.0  # floods and songs
    kept = load_masked_lm(out / "model")
    assert not torch.equal(kept.encoder.layers[0].mlp.Wi.weight, model.encoder.layers[0].mlp.Wi.weight)
    assert torch.equal(kept.output_bias, model.output_bias)
    assert load_tokenizer(out / "model").to_str() == load_tokenizer(encoder).to_str()
    assert read_json(out / "sources.json")["labels"] == {"crisis": 59, "general": 50}


def test_a_limit_draws_from_the_whole_source(tmp_path: Path) -> None:
    recipe = make(tmp_path)
    assert recipe.intermediate is not None
    assert recipe.finetune is not None
    crisis = recipe.intermediate.sources[0].model_copy(update={"limit": 10})
    limited = recipe.intermediate.model_copy(update={"sources": [crisis, recipe.intermediate.sources[1]]})
    texts, labels, _ = read_texts(limited, recipe.finetune)
    drawn = [int(text.split()[3]) // 13 for text, label in zip(texts, labels, strict=True) if label == 0]
    assert 8 <= len(drawn) <= 10
    assert min(drawn) < 20 < 40 < max(drawn)


def test_says_that_one_label_is_too_few(tmp_path: Path) -> None:
    recipe = make(tmp_path)
    assert recipe.intermediate is not None
    assert recipe.finetune is not None
    alone = recipe.intermediate.model_copy(update={"sources": recipe.intermediate.sources[:1]})
    with pytest.raises(DataError, match="two labels or more"):
        read_texts(alone, recipe.finetune)
