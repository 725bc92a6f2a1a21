"""The features of a run's rows that go into its bundle, so that its detector can learn from labels where the rows are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bongsu.arrays import Bool, Float32, Int64
from bongsu.finetuning.data import load_data
from bongsu.finetuning.ensemble import MEASURED, load_measured
from bongsu.inference.predictor import Predictor
from bongsu.labelling.features import LARGEST, Rows, Stored, bytes_of_a_row, logit
from bongsu.recipe import Recipe

_FEWEST = 20  # rows of each class
_SAMPLE = 200  # rows by which the size of one is estimated
_MOST_NAMES = 1000


def features_of_run(run: Path, recipe: Recipe, detector: Predictor) -> Stored | None:
    """Return the features of the rows that the run measured by models that had not learned from them.

    A model is surer of rows it has learned from than of any others, so rows that no fold measured are left out. When the rest
    would take more than 20 MB, a sample is taken, stratified by class and event. None when the task is no classification of two
    classes, or when the run keeps too few such rows.

    Args:
        detector: the model that is exported.
    """
    folder, measured_in = run / "finetune" / "data", run / "finetune" / "model" / MEASURED
    if not detector.task.has_two_classes:
        return None
    if not (folder / "schema.json").is_file() or not (measured_in / "measured.json").is_file():
        return None
    data, measured = load_data(recipe, folder), load_measured(run / "finetune" / "model")
    examples = data.take(measured.rows)
    targets = data.task.strata(examples)
    if len(examples) == 0 or np.bincount(targets, minlength=2).min() < _FEWEST:
        return None
    positive = measured.seeds[0].values[:, 1]
    names, groups = np.unique(np.array([example.group for example in examples]), return_inverse=True)
    if len(names) > _MOST_NAMES:
        names, groups = np.array([""]), np.zeros(len(examples), dtype=np.int64)
    error = _expected_error(positive >= detector.threshold, positive, targets, groups) if len(names) > 1 else None
    sample = np.random.default_rng(recipe.seed).permutation(len(examples))[:_SAMPLE]
    most = int(LARGEST / bytes_of_a_row(Rows.of(detector, [examples[row] for row in sample.tolist()])) / 1.05)
    kept = _sample(targets * len(names) + groups, most, recipe.seed)
    rows = Rows.of(detector, [examples[row] for row in kept.tolist()])
    honest = Rows(rows.pooled, logit(positive[kept]), rows.grams)
    return Stored(honest, targets[kept], groups[kept].astype(np.int64), names.tolist(), error)


def _sample(strata: Int64, most: int, seed: int) -> Int64:
    """Return at most about `most` rows, in order, of each stratum the same share."""
    rows = np.arange(len(strata))
    if len(rows) <= most:
        return rows
    draw = np.random.default_rng(seed)
    kept = []
    for stratum in np.unique(strata):
        mine = rows[strata == stratum]
        kept.append(draw.permutation(mine)[: max(1, int(len(mine) * most / len(rows)))])
    return np.sort(np.concatenate(kept))


def _expected_error(passed: Bool, positive: Float32, targets: Int64, groups: Int64) -> float:
    """Return by how much confidence was wrong about the accuracy on each event left out, on average."""
    right = (passed == (targets == 1)).astype(np.float64)
    promised = np.where(passed, positive, 1.0 - positive).astype(np.float64)
    return float(np.mean([abs(right[groups == each].mean() - promised[groups == each].mean()) for each in np.unique(groups)]))
