"""Are the probabilities honest? Reliability and expected calibration error (Naeini et al. 2015; Guo et al. 2017)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bongsu.arrays import Array, Float64, Int64


def reliability(labels: ArrayLike, probabilities: ArrayLike, bins: int = 10) -> dict[str, Any]:
    """How often the model is right, by how sure it says it is.

    The confidence of a row is the probability of its likeliest class. Bin k of `bins` holds the confidences in
    (k / bins, (k + 1) / bins].

    Args:
        labels: classes [N] int.
        probabilities: [N, C] float, rows summing to 1.

    Returns:
        `edges` [bins + 1]; `confidence` and `accuracy` [bins], the means in each bin (None where it is empty); `count` [bins].
    """
    truth, table = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    confidence, right = table.max(axis=1), table.argmax(axis=1) == truth
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)

    def means(values: Array) -> list[float | None]:
        sums = np.bincount(place, weights=values, minlength=bins)
        return [float(total / rows) if rows else None for total, rows in zip(sums, count, strict=True)]

    return {"edges": edges.tolist(), "confidence": means(confidence), "accuracy": means(right), "count": count.tolist()}


def expected_calibration_error(labels: ArrayLike, probabilities: ArrayLike, bins: int = 10) -> float:
    """The mean distance between confidence and accuracy over the bins of `reliability`, weighted by their rows; 0 is best."""
    curve = reliability(labels, probabilities, bins)
    rows = sum(curve["count"])
    gaps = zip(curve["confidence"], curve["accuracy"], curve["count"], strict=True)
    return float(sum(count / rows * abs(confidence - accuracy) for confidence, accuracy, count in gaps if count))


def calibration(labels: Int64, before: Float64, after: Float64, fold: Int64) -> dict[str, float]:
    """Expected calibration error before and after the temperature, and with isotonic regression in its place.

    Args:
        labels: [N].
        before, after: probabilities [N, C].
        fold: [N], the fold of each row: isotonic regression is fitted on the rows of the others.

    Returns:
        `before`, `temperature`, and with two classes and more than one fold `isotonic`.
    """
    errors = {
        "before": expected_calibration_error(labels, before),
        "temperature": expected_calibration_error(labels, after),
    }
    if before.shape[1] == 2 and len(np.unique(fold)) > 1:
        errors["isotonic"] = expected_calibration_error(labels, isotonic_by_folds(labels, before, fold))
    return errors


def isotonic_by_folds(labels: Int64, probabilities: Float64, fold: Int64) -> Float64:
    """Probabilities [N, 2] mapped by isotonic regression (Zadrozny and Elkan 2002), each fold by one fitted on the others."""
    from sklearn.isotonic import IsotonicRegression

    result = np.empty_like(probabilities)
    for number in np.unique(fold):
        mine = fold == number
        fit = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(probabilities[~mine, 1], labels[~mine])
        result[mine, 1] = fit.predict(probabilities[mine, 1])
    result[:, 0] = 1.0 - result[:, 1]
    return result
