"""Calibration of probabilities: reliability curve and expected calibration error (Naeini et al. 2015; Guo et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NotRequired, TypedDict

import numpy as np
from numpy.typing import ArrayLike

from bongsu.arrays import Array, Float64, Int64


@dataclass(frozen=True)
class Reliability:
    """Accuracy by confidence."""

    edges: list[float]
    """[bins + 1]."""
    confidence: list[float | None]
    """[bins], the mean in each bin; None where it is empty."""
    accuracy: list[float | None]
    """[bins], likewise."""
    count: list[int]
    """[bins], rows."""


class CalibrationErrors(TypedDict):
    """Expected calibration errors of one model, calibrated in different ways."""

    before: float
    temperature: float
    isotonic: NotRequired[float]
    """With two classes and more than one fold."""


def reliability(labels: ArrayLike, probabilities: ArrayLike, bins: int = 10) -> Reliability:
    """Return how often the model is right, by its confidence.

    The confidence of a row is the probability of its likeliest class. Bin k of `bins` holds the confidences in
    (k / bins, (k + 1) / bins].

    Args:
        labels: classes [N] int.
        probabilities: [N, C] float, rows summing to 1.
    """
    truth, table = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    confidence, right = table.max(axis=1), table.argmax(axis=1) == truth
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)

    def means(values: Array) -> list[float | None]:
        sums = np.bincount(place, weights=values, minlength=bins)
        return [float(total / rows) if rows else None for total, rows in zip(sums, count, strict=True)]

    return Reliability(edges.tolist(), means(confidence), means(right), count.tolist())


def expected_calibration_error(labels: ArrayLike, probabilities: ArrayLike, bins: int = 10) -> float:
    """Return the mean distance of confidence and accuracy over the bins of `reliability`, weighted by rows; 0 is best."""
    curve = reliability(labels, probabilities, bins)
    gaps = zip(curve.confidence, curve.accuracy, curve.count, strict=True)
    errors = [count * abs(mean - right) for mean, right, count in gaps if mean is not None and right is not None]
    return float(sum(errors) / sum(curve.count))


def calibration(labels: Int64, before: Float64, after: Float64, fold: Int64) -> CalibrationErrors:
    """Return the error before and after temperature scaling, and with isotonic regression instead.

    Args:
        labels: [N].
        before, after: probabilities [N, C].
        fold: [N], the fold of each row: isotonic regression is fitted on the rows of the others.
    """
    errors: CalibrationErrors = {
        "before": expected_calibration_error(labels, before),
        "temperature": expected_calibration_error(labels, after),
    }
    if before.shape[1] == 2 and len(np.unique(fold)) > 1:
        errors["isotonic"] = expected_calibration_error(labels, isotonic_by_folds(labels, before, fold))
    return errors


def isotonic_by_folds(labels: Int64, probabilities: Float64, fold: Int64) -> Float64:
    """Return probabilities [N, 2] mapped by isotonic regression (Zadrozny and Elkan 2002) fitted on the other folds."""
    from sklearn.isotonic import IsotonicRegression

    result = np.empty_like(probabilities)
    for number in np.unique(fold):
        mine = fold == number
        fit = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(probabilities[~mine, 1], labels[~mine])
        result[mine, 1] = fit.predict(probabilities[mine, 1])
    result[:, 0] = 1.0 - result[:, 1]
    return result
