"""The model that is kept: of all rows, or the first fold's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_task import make, work_of
from tokenizers import Tokenizer

from bongsu.finetuning.refit import refit
from bongsu.finetuning.trainable import predict
from bongsu.model.io import load_task_model
from bongsu.tokens.bpe import load_tokenizer
from bongsu.training.log import read_log

pytestmark = pytest.mark.slow


def test_all_rows_are_learned_for_as_long_as_the_folds_took_on_average(tokenizer: Tokenizer, tmp_path: Path) -> None:
    settings = {"epochs": 4, "patience": 1, "batch_size": 8, "learning_rate": 0.01, "log_every": 1}
    work = work_of(make(tokenizer, tmp_path, finetune=settings, validation={"development": 0.2}), tmp_path)
    work.run()
    refit(work, tmp_path / "refit")
    epochs = np.mean([fold.result.epochs for fold in work.load()[0]])
    training = work.training(work.data.training, [], 0)
    assert {example.id for example in training.training} == {str(row) for row in range(48)}  # 48 and 49 are copies
    steps = max(record["step"] for record in read_log(tmp_path / "refit" / "checkpoints" / "metrics.jsonl"))
    assert steps == round(epochs * 48 / 8)
    model, _ = load_task_model(tmp_path / "refit" / "model")
    assert not torch.equal(model.head.linear.weight, work.best_model(work.load()[0][0].result).head.linear.weight)
    assert load_tokenizer(tmp_path / "refit" / "model").to_str() == work.tokenizer.to_str()


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_without_a_refit_the_first_folds_model_is_kept(tokenizer: Tokenizer, tmp_path: Path, ema: float) -> None:
    work = work_of(make(tokenizer, tmp_path, finetune={"refit": False, "ema": ema, "learning_rate": 0.01}), tmp_path)
    work.run()
    refit(work, tmp_path / "refit")
    assert not (tmp_path / "refit" / "checkpoints").exists()
    model, _ = load_task_model(tmp_path / "refit" / "model")
    held_out = work.data.take(work.data.splits[0][1])
    found = predict(work.task, model, work.tokenizer, held_out)
    np.testing.assert_allclose(found.values, work.load()[0][0].held_out.values, atol=1e-6)
