"""A task of 50 short texts, an encoder with random weights, and the stages of fine-tuning on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from bongsu.finetuning.baselines import Baselines, fit_baselines, load_baselines
from bongsu.finetuning.cross_validation import CrossValidation
from bongsu.finetuning.data import Data, load_data, prepare_data
from bongsu.finetuning.ensemble import Measured, assemble, load_measured
from bongsu.finetuning.refit import refit
from bongsu.model.encoder import EncoderConfig
from bongsu.model.initialization import initialize
from bongsu.model.io import save_encoder
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.recipe import Recipe, parse_recipe
from bongsu.tokens.bpe import save_tokenizer


def make(tokenizer: Tokenizer, folder: Path, **sections: dict[str, Any]) -> Recipe:
    """Write `encoder/` and `train.csv` (48 texts, the first and the ninth twice); keys of `sections` are laid over."""
    model = MaskedLanguageModel(EncoderConfig(tokenizer.get_vocab_size(), "modern", 16, 1, 2, 32, "geglu", 0.0, 32))
    initialize(model, 1)
    save_encoder(folder / "encoder", model)
    save_tokenizer(tokenizer, folder / "encoder", 32)
    words = ["fire", "flood", "quake", "storm", "joke", "song", "film", "game"]
    rows = [f"the {words[n % 8]} number {n * 37} of {n} in street {n * 11},{int(n % 8 < 4)}" for n in range(48)]
    (folder / "train.csv").write_text("text,target\n" + "\n".join([*rows, rows[0], rows[8].replace("the", "THE")]) + "\n")
    tree: dict[str, dict[str, Any]] = {
        "task": {"train": str(folder / "train.csv"), "max_length": 32, "head": {"filters": 4}},
        "finetune": {"encoder": "x", "epochs": 1, "device": "cpu"},
        "validation": {"folds": 3},
    }
    return parse_recipe({**tree, **{name: {**tree.get(name, {}), **values} for name, values in sections.items()}})


def data_of(recipe: Recipe, folder: Path) -> Data:
    """Return the data of a recipe, by way of the files in `folder/data`."""
    (folder / "data").mkdir(exist_ok=True)
    prepare_data(recipe, folder / "data")
    return load_data(recipe, folder / "data")


def work_of(recipe: Recipe, folder: Path, data: Data | None = None) -> CrossValidation:
    """Return the cross-validation of a recipe, not yet run."""
    (folder / "folds").mkdir(exist_ok=True)
    return CrossValidation(recipe, data or data_of(recipe, folder), folder / "encoder", folder / "folds")


def baselines_of(data: Data, folder: Path) -> Baselines:
    (folder / "baselines").mkdir(exist_ok=True)
    fit_baselines(data, folder / "baselines")
    return load_baselines(data, folder / "baselines")


def finish(recipe: Recipe, folder: Path) -> tuple[CrossValidation, Baselines, Measured]:
    """Run every stage; the model that is kept is `folder/model`."""
    work = work_of(recipe, folder)
    work.run()
    baselines = baselines_of(work.data, folder)
    for name in ("refit", "model"):
        (folder / name).mkdir(exist_ok=True)
    refit(work, folder / "refit")
    assemble(work, baselines, folder / "refit" / "model", folder / "model")
    return work, baselines, load_measured(folder / "model")


def log_odds(table: np.ndarray) -> np.ndarray:
    """Return log(p1 / p0) [N] of logits [N, 2]."""
    result: np.ndarray = table[:, 1].astype(np.float64) - table[:, 0].astype(np.float64)
    return result
