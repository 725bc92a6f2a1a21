"""Operating points against counting."""

from __future__ import annotations

import numpy as np
import pytest
from overconfident import overconfident

from bongsu.evaluation.operating import operating_points, threshold_for_precision
from bongsu.evaluation.temperature import softmax


def test_operating_points_are_counted() -> None:
    labels, logits = overconfident(by=1.0)
    positive = softmax(logits)[:, 1]
    fold = np.arange(len(labels)) % 4
    points = {point["name"]: point for point in operating_points(labels, positive, fold, miss_cost=3.0)}
    three = points["a miss costs 3"]
    assert three["threshold"] == 0.25
    alarm = positive >= 0.25
    misses, false = int((~alarm & (labels == 1)).sum()), int((alarm & (labels == 0)).sum())
    assert three["cost"] == pytest.approx(1000 * (3 * misses + false) / len(labels))
    others = [positive >= threshold for threshold in np.arange(101) / 100]
    costs = [3 * (~alarm & (labels == 1)).sum() + (alarm & (labels == 0)).sum() for alarm in others]
    assert 3 * misses + false <= 1.02 * min(costs)  # of calibrated probabilities no threshold is much better
    strict = points["precision 0.90"]
    assert strict["precision"] == pytest.approx(0.90, abs=0.02)
    assert 0 < strict["recall"] < three["recall"]  # type: ignore[operator]


def test_the_threshold_of_a_precision() -> None:
    labels, positive = np.array([1, 1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.6, 0.1])
    assert threshold_for_precision(labels, positive, 0.9) == 0.8
    assert threshold_for_precision(labels, positive, 0.75) == 0.6
    assert threshold_for_precision(np.zeros(5, dtype=np.int64), positive, 0.75) > 0.9
    tied = threshold_for_precision(np.array([1, 0, 1]), np.array([0.5, 0.5, 0.5]), 0.9)
    assert tied > 0.5  # rows alike in probability are taken or left together
