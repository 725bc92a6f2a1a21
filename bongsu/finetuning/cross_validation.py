"""Cross-validation: each fold is trained on its rows, stopped early by a development split of those, measured on the rest.

Copies of a training text count once. Output of a fold: its checkpoints, `result.json`, and as `.npy` files the outputs of its
model on the rows held out and on its development split, not yet calibrated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from bongsu import progress
from bongsu.arrays import Array, Int64
from bongsu.errors import DataError, RecipeError
from bongsu.files import atomic_file, read_json, write_json
from bongsu.finetuning.data import AnyExample, Data, class_names, strata_of
from bongsu.finetuning.splits import Split, hold_out
from bongsu.finetuning.trainable import FineTuning, predict
from bongsu.model.hub import is_hub_folder
from bongsu.model.initialization import initialize
from bongsu.model.io import load_encoder
from bongsu.model.task_model import TaskModel
from bongsu.recipe import Recipe
from bongsu.tasks.task import Calibration, Metric, Outputs
from bongsu.tokens.bpe import load_tokenizer
from bongsu.training.checkpoints import State
from bongsu.training.devices import resolve_device
from bongsu.training.loop import OnEvaluation, Plan, load_best, train


@dataclass(frozen=True)
class FoldResult:
    """The result of training one fold from one seed."""

    fold: int
    seed: int
    epochs: float
    """After how many it was best."""
    state: State
    """The training loop's, with the best checkpoint."""
    metrics: dict[str, float]
    """Of the model alone on the rows held out, before calibration."""


@dataclass(frozen=True)
class FoldOutputs:
    """A fold's result with the outputs of its model."""

    result: FoldResult
    held_out: Outputs
    development_rows: Int64
    development: Outputs


@dataclass
class CrossValidation:
    """The fine-tuning of a recipe: everything that its folds and seeds share."""

    recipe: Recipe
    data: Data
    encoder_folder: Path
    folder: Path
    on_evaluation: OnEvaluation | None = None

    def __post_init__(self) -> None:
        self.task = self.data.task
        self.settings = self.recipe.finetune
        self.tokenizer = load_tokenizer(self.encoder_folder, foreign=is_hub_folder(self.encoder_folder))

    def run(self) -> None:
        """Train and measure every fold from every seed; skip those that are done.

        Raises:
            DataError: before anything is trained, when a fold has too few rows of a class.
        """
        for fold in range(len(self.data.splits)):
            self.rows(fold)
        for seed in range(self.recipe.validation.seeds):
            for fold, split in enumerate(self.data.splits):
                if not (self.fold_folder(fold, seed) / "result.json").is_file():
                    self._measure(fold, seed, split)

    def load(self) -> list[list[FoldOutputs]]:
        """Load the outputs of the folds of each seed, [seeds][folds]."""
        seeds, folds = range(self.recipe.validation.seeds), range(len(self.data.splits))
        return [[_load_fold(self.fold_folder(fold, seed)) for fold in folds] for seed in seeds]

    def fold_folder(self, fold: int, seed: int) -> Path:
        """Return the folder of a fold trained from a seed."""
        return self.folder / (f"fold-{fold}-seed-{seed}" if seed else f"fold-{fold}")

    def rows(self, fold: int) -> tuple[Int64, Int64]:
        """Return the rows a fold is trained on, and its development split, which may be empty."""
        rows = self.data.splits[fold][0]
        share = self.recipe.validation.development
        if not share:
            return rows, rows[:0]
        examples, groups = self.data.take(rows), self.data.groups[rows]
        strata = strata_of(self.task, examples, groups)
        try:
            kept, chosen = hold_out(strata, groups, share, self.recipe.seed + fold, class_names(self.task, strata, examples))
        except DataError as error:
            raise DataError(
                f"validation.development: of the rows that fold {fold + 1} of {len(self.data.splits)} trains on, {error} "
                "Set it to 0 to train on all of them to the end."
            ) from None
        return rows[kept], rows[chosen]

    def training(self, examples: Sequence[AnyExample], development: Sequence[AnyExample], seed: int) -> FineTuning:
        """Return a training on examples, copies left out.

        Raises:
            DataError: when no example is left.
        """
        unique = self.task.unique(examples)
        if not unique:
            raise DataError("No row is left to train on: every text occurs with as many labels of one kind as of another.")
        seed = self.recipe.seed + seed
        model = self.start(seed)
        return FineTuning(self.task, model, self.tokenizer, unique, development, self.settings, seed)

    def plan(self, training: FineTuning, title: str) -> Plan:
        """Return the plan of a training: steps, evaluations, the metric to stop by."""
        settings, metric = self.settings, self._monitored_metric()
        return Plan(
            steps=settings.epochs * training.batches_per_epoch // settings.accumulate or 1,
            evaluate_every=max(1, training.batches_per_epoch // settings.accumulate),
            monitor=metric.name,
            higher_is_better=metric.higher_is_better,
            patience=settings.patience,
            seed=training.seed,
            title=title,
        )

    def start(self, seed: int) -> TaskModel:
        """Return the pre-trained encoder under a fresh head, with layers removed and frozen as the recipe says."""
        settings, length = self.settings, self.task.settings.max_length
        encoder = load_encoder(self.encoder_folder)
        if length > encoder.config.max_length:  # unknown to the recipe where the encoder is in another folder
            raise RecipeError(f"task.max_length: {length} is more than the encoder's {encoder.config.max_length} positions")
        model = TaskModel(encoder, self.task.head(), self.task.pairs)
        initialize(model.head, seed)
        if settings.encoder_dropout is not None:
            model.encoder.set_dropout(settings.encoder_dropout)
        if settings.remove_last:
            model.remove_last(settings.remove_last)
        if settings.freeze:
            model.freeze(settings.unfreeze_last)
        return model.to(resolve_device(settings.device))

    def best_model(self, result: FoldResult) -> TaskModel:
        """Return the model a fold was measured with."""
        training = self.training(self.data.take(self.rows(result.fold)[0]), [], result.fold + 1000 * result.seed)
        load_best(self.fold_folder(result.fold, result.seed) / "checkpoints", training.model, result.state)
        return self.finished(training)

    def finished(self, training: FineTuning) -> TaskModel:
        """Return the best model of a training, its encoder interpolated with the one it started from."""
        model, share = training.best, self.settings.interpolation
        if share < 1.0:
            start = dict(self.start(training.seed).encoder.named_parameters())
            with torch.no_grad():
                for name, parameter in model.encoder.named_parameters():
                    parameter.lerp_(start[name], 1.0 - share)
        return model

    def _measure(self, fold: int, seed: int, split: Split) -> None:
        """Train on a fold's rows and measure on the others."""
        validation, folder = self.recipe.validation, self.fold_folder(fold, seed)
        held_out = self.data.take(split[1])
        rows, development_rows = self.rows(fold)
        development = self.data.take(development_rows)
        title = f"fold {fold + 1}/{len(self.data.splits)}" if validation.folds else "finetune"
        title += f", seed {seed + 1}/{validation.seeds}" if validation.seeds > 1 else ""
        training = self.training(self.data.take(rows), development, fold + 1000 * seed)
        state = train(training, self.plan(training, title), self.settings, folder / "checkpoints", self.on_evaluation)
        load_best(folder / "checkpoints", training.model, state)
        model = self.finished(training)
        neutral = Calibration()
        outputs = predict(self.task, model, self.tokenizer, held_out)
        metrics = self.task.score(held_out, self.task.probabilities(outputs, neutral), neutral)
        shown = ", ".join(f"{metric.title} {metrics[metric.name]:.3f}" for metric in self.task.metrics[:2])
        progress.note(f"{title}: {shown} on {len(held_out):,} rows held out")
        save_outputs(folder / "held_out", outputs)
        save_outputs(folder / "development", predict(self.task, model, self.tokenizer, development))
        _save_array(folder / "development_rows.npy", development_rows)
        epochs = (state.best_step or state.step) * self.settings.accumulate / training.batches_per_epoch
        write_json(folder / "result.json", asdict(FoldResult(fold, seed, epochs, state, metrics)))  # last: the fold is done

    def _monitored_metric(self) -> Metric:
        wanted = self.recipe.validation.metric
        known = {metric.name: metric for metric in self.task.metrics}
        if wanted is not None and wanted not in known:
            raise RecipeError(f"validation.metric: {wanted!r}; a {self.task.kind} task has {', '.join(known)}.")
        return known[wanted] if wanted is not None else self.task.metrics[0]


def save_outputs(path: Path, outputs: Outputs) -> None:
    """Write outputs as two `.npy` files under a path without suffix."""
    _save_array(path.with_name(f"{path.name}.values.npy"), outputs.values)
    _save_array(path.with_name(f"{path.name}.lengths.npy"), outputs.lengths)


def load_outputs(path: Path) -> Outputs:
    """Load what `save_outputs` wrote."""
    return Outputs(np.load(path.with_name(f"{path.name}.values.npy")), np.load(path.with_name(f"{path.name}.lengths.npy")))


def _save_array(path: Path, array: Array) -> None:
    with atomic_file(path) as file:
        np.save(file, array)


def _load_fold(folder: Path) -> FoldOutputs:
    values = read_json(folder / "result.json")
    result = FoldResult(**{**values, "state": State.from_dict(values["state"])})
    rows = np.load(folder / "development_rows.npy")
    return FoldOutputs(result, load_outputs(folder / "held_out"), rows, load_outputs(folder / "development"))
