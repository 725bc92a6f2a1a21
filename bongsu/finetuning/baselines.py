"""Baselines on the same rows: the simplest one of the kind of task, and TF-IDF with a linear model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bongsu import progress
from bongsu.finetuning.cross_validation import load_outputs, save_outputs
from bongsu.finetuning.data import AnyExample, Data
from bongsu.model.tfidf import Tfidf, load_tfidf
from bongsu.tasks.task import Outputs

_NAIVE, _TFIDF = "naive", "tfidf"


@dataclass(frozen=True)
class Baseline:
    """The outputs of a baseline."""

    name: str
    folds: list[Outputs]
    """Of each fold on the rows held out, fitted on the fold's other rows."""
    test: Outputs
    """On the test rows, fitted on all training rows."""


@dataclass(frozen=True)
class Baselines:
    """Every baseline of a task."""

    naive: Baseline
    tfidf: Baseline | None
    folder: Path

    def all(self) -> list[Baseline]:
        """Return them in the order of reports."""
        return [self.naive, *([self.tfidf] if self.tfidf else [])]

    def tfidf_model(self, fold: int | None = None) -> Tfidf | None:
        """Return the TF-IDF model of a fold, or of all rows."""
        return load_tfidf(self.folder / _model_folder(fold)) if self.tfidf else None


def fit_baselines(data: Data, folder: Path) -> None:
    """Fit every baseline on each fold's rows and on all rows; leave outputs and TF-IDF models in `folder`."""
    with progress.bar("baselines", len(data.splits) + 1, "fits") as bar:
        for fold, (rows, held_out) in enumerate(data.splits):
            _fit(data, data.take(rows), data.take(held_out), folder, fold)
            bar.advance()
        _fit(data, data.training, data.test, folder, None)
        bar.advance()


def load_baselines(data: Data, folder: Path) -> Baselines:
    """Load the output of `fit_baselines`."""

    def load(kind: str, name: str) -> Baseline:
        folds = [load_outputs(folder / f"{kind}-{fold}") for fold in range(len(data.splits))]
        return Baseline(name, folds, load_outputs(folder / f"{kind}-test"))

    task = data.task
    tfidf = load(_TFIDF, task.tfidf_name) if task.tfidf_name else None
    return Baselines(load(_NAIVE, task.naive_name), tfidf, folder)


def _fit(data: Data, training: Sequence[AnyExample], measured: Sequence[AnyExample], folder: Path, fold: int | None) -> None:
    task, name = data.task, "test" if fold is None else str(fold)
    unique = task.unique(training)
    save_outputs(folder / f"{_NAIVE}-{name}", task.naive(unique, measured))
    if task.tfidf_name:
        model = task.fit_tfidf(unique)
        save_outputs(folder / f"{_TFIDF}-{name}", task.tfidf_outputs(model, measured))
        model.save(folder / _model_folder(fold))


def _model_folder(fold: int | None) -> str:
    return "tfidf-all" if fold is None else f"tfidf-fold-{fold}"
