"""Intervals by the bootstrap (Efron 1979).

Drawing N rows with replacement and counting the kinds of row is one multinomial draw over those kinds, so 10,000 draws cost
no more than 10,000 small vectors, however many rows there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bongsu.arrays import Float64, Int64

_PIECE = 1_000_000  # counts drawn at a time, so that a table of many classes does not fill the memory


def interval(counts: Int64, statistic: Callable[[Int64], Float64], draws: int = 2000, seed: int = 0) -> list[float]:
    """Return the 95 % percentile interval of a statistic that depends on counts alone.

    Args:
        counts: how many rows there are of each kind, any shape, int64.
        statistic: from counts [draws, *counts.shape] to its value in each draw [draws].
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


@dataclass(frozen=True)
class PairedDifference:
    """How much more often A is right than B on the same rows."""

    difference: float
    """In percentage points."""
    interval: list[float]
    """95 % [low, high] in percentage points."""
    only_a: float
    """Rows that A alone has right; with several seeds a mean."""
    only_b: float
    rows: int
    draws: int


def paired_difference(
    labels: ArrayLike, predictions_a: ArrayLike, predictions_b: ArrayLike, draws: int = 10_000, seed: int = 0
) -> PairedDifference:
    """Return how much more often A is right than B on the same rows, with the 95 % interval.

    Args:
        labels, predictions_b: classes [N] int.
        predictions_a: classes [N] int, or [S, N] of the same model from S seeds, of which the mean is compared.

    Raises:
        ValueError: when the lengths differ or there are no rows.
    """
    truth, b = np.asarray(labels), np.asarray(predictions_b)
    a = np.atleast_2d(predictions_a)
    if not truth.shape == a.shape[1:] == b.shape or truth.ndim != 1 or len(truth) == 0:
        raise ValueError(f"labels and predictions must be of one length, not {truth.shape}, {a.shape} and {b.shape}")
    rows, seeds = len(truth), len(a)
    gains, counts = np.unique((a == truth).sum(axis=0) - seeds * (b == truth), return_counts=True)
    spread = interval(counts, lambda drawn: 100.0 * (drawn @ gains) / (rows * seeds), draws, seed)
    only_a, only_b = (counts[sign * gains > 0] @ abs(gains[sign * gains > 0]) / seeds for sign in (1, -1))
    return PairedDifference(100.0 * float(only_a - only_b) / rows, spread, float(only_a), float(only_b), rows, draws)


@dataclass(frozen=True)
class Comparison:
    """A metric of A, of B, and their difference on the same rows, each with its 95 % interval [low, high]."""

    a: float
    a_interval: list[float]
    b: float
    b_interval: list[float]
    difference: float
    interval: list[float]

    @property
    def significant(self) -> bool:
        """Whether the interval of the difference excludes zero."""
        return self.interval[0] > 0.0 or self.interval[1] < 0.0


def compare_metric(
    statistics_a: Float64, statistics_b: Float64, metric: Callable[[Float64], Float64], draws: int = 2000, seed: int = 0
) -> Comparison:
    """Compare a metric that depends on sums over rows, by the paired bootstrap (Efron 1979).

    Args:
        statistics_a, statistics_b: [N, K], of the same rows.
        metric: sums [..., K] -> the metric [...].
    """
    rng = np.random.default_rng(seed)
    rows = len(statistics_a)
    both = np.concatenate([statistics_a, statistics_b], axis=1)  # [N, 2K]
    piece = max(1, _PIECE // max(1, rows))
    totals = np.concatenate(
        [
            rng.multinomial(rows, np.full(rows, 1.0 / rows), size=min(piece, draws - start)) @ both
            for start in range(0, draws, piece)
        ]
    )
    half = statistics_a.shape[1]
    drawn_a, drawn_b = metric(totals[:, :half]), metric(totals[:, half:])
    a, b = (float(metric(part.sum(axis=0))) for part in (statistics_a, statistics_b))
    return Comparison(a, _interval(drawn_a), b, _interval(drawn_b), a - b, _interval(drawn_a - drawn_b))


def _interval(values: Float64) -> list[float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return [float(low), float(high)]
