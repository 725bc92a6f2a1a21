"""Intervals by the bootstrap (Efron 1979).

Drawing N rows with replacement and counting the kinds of row is one multinomial draw over those kinds, so 10,000 draws cost
no more than 10,000 small vectors, however many rows there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
_PIECE = 1_000_000  # counts drawn at a time, so that a table of many classes does not fill the memory


def interval(counts: Int64, statistic: Callable[[Int64], Float64], draws: int = 2000, seed: int = 0) -> list[float]:
    """The 95 % percentile interval of a figure that depends on counts alone.

    Args:
        counts: how many rows there are of each kind, any shape, int64.
        statistic: from counts [draws, *counts.shape] to the figure of each draw [draws].
    """
    rng = np.random.default_rng(seed)
    rows = int(counts.sum())
    piece = max(1, _PIECE // max(1, counts.size))
    values = [
        statistic(rng.multinomial(rows, counts.ravel() / rows, size=min(piece, draws - start)).reshape(-1, *counts.shape))
        for start in range(0, draws, piece)
    ]
    low, high = np.quantile(np.concatenate(values), [0.025, 0.975])
    return [float(low), float(high)]


def paired_difference(
    labels: npt.ArrayLike, predictions_a: npt.ArrayLike, predictions_b: npt.ArrayLike, draws: int = 10_000, seed: int = 0
) -> dict[str, Any]:
    """How much more often A is right than B on the same rows, in percentage points, with the 95 % interval.

    Args:
        labels, predictions_a, predictions_b: classes [N] int.

    Returns:
        `difference` (float) and `interval` [low, high] in percentage points, `only_a` and `only_b` (rows that one alone has
        right), `rows`, `draws`.
    """
    truth, a, b = (np.asarray(values) for values in (labels, predictions_a, predictions_b))
    if not truth.shape == a.shape == b.shape or truth.ndim != 1 or len(truth) == 0:
        raise ValueError(f"labels and predictions must be of one length, not {truth.shape}, {a.shape} and {b.shape}")
    right_a, right_b = a == truth, b == truth
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    rows = len(truth)
    counts = np.array([only_a, only_b, rows - only_a - only_b], dtype=np.int64)
    spread = interval(counts, lambda drawn: 100.0 * (drawn[:, 0] - drawn[:, 1]) / rows, draws, seed)
    return {
        "difference": 100.0 * (only_a - only_b) / rows,
        "interval": spread,
        "only_a": only_a,
        "only_b": only_b,
        "rows": rows,
        "draws": draws,
    }
