"""Operating points: thresholds for different costs of a miss, and for a precision of 0.90."""

from __future__ import annotations

from typing import NotRequired, TypedDict

import numpy as np

from bongsu.arrays import Bool, Float64, Int64
from bongsu.evaluation.metrics import wilson

COSTS = (1.0, 2.0, 5.0, 10.0)
PRECISION = 0.90


class OperatingPoint(TypedDict):
    """What a detector does at a threshold."""

    name: str
    threshold: float
    """Of the precision: the folds' mean."""
    precision: float | None
    """None without an alarm."""
    recall: float | None
    """None without a positive row."""
    recall_interval: list[float] | None
    alarms: float
    """Share of rows."""
    cost: NotRequired[float]
    """Of a thousand rows; not of the precision."""


def operating_points(labels: Int64, positive: Float64, fold: Int64, miss_cost: float) -> list[OperatingPoint]:
    """Return what the detector does at thresholds for several costs of a miss, and at a precision of 0.90.

    For calibrated probabilities the threshold of least expected cost is 1 / (1 + cost of a miss), a false alarm costing 1
    (Elkan 2001): nothing is fitted. That of the precision is chosen for each fold on the other folds' rows.

    Args:
        labels: [N], 1 for the positive class.
        positive: [N], calibrated probabilities of the positive class.
        fold: [N].
        miss_cost: the recipe's, shown among the usual ones.
    """
    points: list[OperatingPoint] = []
    for cost in sorted({*COSTS, miss_cost}):
        threshold = 1.0 / (1.0 + cost)
        point = _point(f"a miss costs {cost:g}", labels, positive >= threshold, threshold)
        misses, false_alarms = (
            int(((positive < threshold) & (labels == 1)).sum()),
            int(((positive >= threshold) & (labels != 1)).sum()),
        )
        points.append({**point, "cost": 1000.0 * (cost * misses + false_alarms) / len(labels)})
    thresholds = np.empty(len(labels))
    for number in np.unique(fold):
        others = fold != number if len(np.unique(fold)) > 1 else fold == number
        thresholds[fold == number] = threshold_for_precision(labels[others], positive[others], PRECISION)
    mean = float(np.mean([thresholds[fold == number][0] for number in np.unique(fold)]))
    return [*points, _point(f"precision {PRECISION:.2f}", labels, positive >= thresholds, mean)]


def threshold_for_precision(labels: Int64, positive: Float64, precision: float) -> float:
    """Return the lowest threshold with at least this precision; one above every probability when there is none."""
    order = np.argsort(-positive, kind="stable")
    hits = np.cumsum(labels[order] == 1)
    last_of_value = np.append(positive[order][1:] != positive[order][:-1], True)  # equal probabilities are taken together
    enough = np.flatnonzero((hits / np.arange(1, len(hits) + 1) >= precision) & last_of_value)
    return float(positive[order][enough[-1]]) if len(enough) else float(np.nextafter(positive.max(), 2.0))


def _point(name: str, labels: Int64, alarm: Bool, threshold: float) -> OperatingPoint:
    hits, positives, alarms = int((alarm & (labels == 1)).sum()), int((labels == 1).sum()), int(alarm.sum())
    return {
        "name": name,
        "threshold": threshold,
        "precision": hits / alarms if alarms else None,
        "recall": hits / positives if positives else None,
        "recall_interval": wilson(hits, positives) if positives else None,
        "alarms": alarms / len(labels),
    }
