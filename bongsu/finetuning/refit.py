"""The final model: trained on all rows for the mean of the folds' best epochs, or the model of the first fold."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from bongsu.finetuning.cross_validation import CrossValidation
from bongsu.model.io import save_task_model
from bongsu.model.task_model import TaskModel
from bongsu.tokens.bpe import save_tokenizer
from bongsu.training.loop import train


def refit(work: CrossValidation, folder: Path) -> None:
    """Train the model to keep; leave its weights and tokenizer in `folder/model`, and `folder/checkpoints`."""
    folds = work.load()[0]
    if work.settings.refit:
        model = _on_all_rows(work, folder, float(np.mean([fold.result.epochs for fold in folds])))
    else:
        model = work.best_model(folds[0].result)
    save_task_model(folder / "model", model, {})
    save_tokenizer(work.tokenizer, folder / "model", work.task.settings.max_length)


def _on_all_rows(work: CrossValidation, folder: Path, epochs: float) -> TaskModel:
    training = work.training(work.data.training, [], 0)
    steps = max(1, round(epochs * training.batches_per_epoch / work.settings.accumulate))
    plan = dataclasses.replace(work.plan(training, "final"), stop_after=steps, patience=None, evaluate_every=10**9)
    train(training, plan, work.settings, folder / "checkpoints")
    return work.finished(training)
