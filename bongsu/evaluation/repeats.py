"""Variance over folds and seeds: how much of one accuracy may be chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bongsu.arrays import Float64, Int64
from bongsu.evaluation.metrics import predictions


@dataclass(frozen=True)
class Repeats:
    """Accuracy of one model over folds and seeds."""

    mean: float
    interval: list[float] | None
    """95 % [low, high] of Student's t; None for a single training."""
    count: int
    table: list[list[float]]
    """[S][folds]."""


def repeats(labels: Int64, seeds: Float64, fold: Int64, threshold: float = 0.5) -> Repeats:
    """Return the mean accuracy of one model over folds and seeds, with the 95 % interval of Student's t.

    Folds share training rows, so the interval is a little too narrow (Bengio and Grandvalet 2004).

    Args:
        labels: [N].
        seeds: [S, N, C], probabilities of the models of each seed.
        fold: [N].
    """
    right = np.array([predictions(table, threshold) == labels for table in seeds])  # [S, N]
    table = np.array([[float(row[fold == number].mean()) for number in np.unique(fold)] for row in right])
    values = table.ravel()
    mean, interval = float(values.mean()), None
    if len(values) > 1:
        from scipy.stats import t as student

        half = float(student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
        interval = [mean - half, mean + half]
    return Repeats(mean, interval, len(values), table.tolist())
