"""The same training again, in other folds and from other seeds: how far one figure may be luck."""

from __future__ import annotations

from typing import Any

import numpy as np

from bongsu.arrays import Float64, Int64
from bongsu.evaluation.metrics import predictions


def repeats(labels: Int64, seeds: Float64, fold: Int64, threshold: float = 0.5) -> dict[str, Any]:
    """Accuracy of one model: its mean over folds and seeds, with the 95 % interval of Student's t.

    Folds share training rows, so the interval is a little too narrow (Bengio and Grandvalet 2004).

    Args:
        labels: [N].
        seeds: [S, N, C], probabilities of the models of each seed.
        fold: [N].

    Returns:
        `mean`, `interval` (None for a single one), `count`, and `table` [S][folds].
    """
    right = np.array([predictions(table, threshold) == labels for table in seeds])  # [S, N]
    table = np.array([[float(row[fold == number].mean()) for number in np.unique(fold)] for row in right])
    values = table.ravel()
    mean, interval = float(values.mean()), None
    if len(values) > 1:
        from scipy.stats import t as student

        half = float(student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
        interval = [mean - half, mean + half]
    return {"mean": mean, "interval": interval, "count": len(values), "table": table.tolist()}
