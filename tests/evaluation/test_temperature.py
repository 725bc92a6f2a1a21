"""Temperature against a search over a fine grid, and operating points against counting."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

from bongsu.evaluation.calibration import calibration, expected_calibration_error
from bongsu.evaluation.operating import operating_points, threshold_for_precision
from bongsu.evaluation.repeats import repeats
from bongsu.evaluation.temperature import apply_temperature, fit_temperature, log_probabilities, log_softmax


def overconfident(rows: int = 4000, by: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(rows, 2)) * 1.5
    labels = (generator.random(rows) < softmax(logits, axis=1)[:, 1]).astype(np.int64)
    return labels, softmax(by * logits, axis=1)


def test_the_temperature_is_the_one_of_least_loss() -> None:
    labels, predicted = overconfident()
    logits = log_probabilities(predicted)
    found = fit_temperature(labels, logits)
    grid = np.arange(1.0, 5.0, 0.02)
    best = grid[np.argmin([log_loss(labels, apply_temperature(logits, value)) for value in grid])]
    assert found == pytest.approx(best, abs=0.03)
    assert found == pytest.approx(3.0, rel=0.1)
    assert fit_temperature(labels[:0], logits[:0]) == 1.0


def test_a_temperature_makes_probabilities_honest() -> None:
    labels, predicted = overconfident()
    logits = log_probabilities(predicted)
    fold = np.arange(len(labels)) % 4
    calibrated = apply_temperature(logits, fit_temperature(labels, logits))
    assert np.array_equal(calibrated.argmax(axis=1), predicted.argmax(axis=1))
    errors = calibration(labels, predicted, calibrated, fold)
    assert errors["before"] == expected_calibration_error(labels, predicted) > 0.08
    assert errors["temperature"] < 0.02
    assert errors["isotonic"] < 0.03


def test_softmax_neither_overflows_nor_underflows() -> None:
    logits = np.array([[1e4, 0.0, -1e4], [3.0, 1.0, 2.0]])
    np.testing.assert_allclose(log_softmax(logits)[1], np.log(softmax(logits[1])), atol=1e-12)
    assert np.isfinite(log_softmax(logits)).all()
    np.testing.assert_array_equal(apply_temperature(logits, 1.0)[0], [1.0, 0.0, 0.0])
    assert np.isfinite(log_probabilities(np.array([[0.0, 1.0]]))).all()


def test_operating_points_are_counted() -> None:
    labels, predicted = overconfident(by=1.0)
    positive = predicted[:, 1]
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
    assert 0 < strict["recall"] < three["recall"]


def test_the_threshold_of_a_precision() -> None:
    labels, positive = np.array([1, 1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.6, 0.1])
    assert threshold_for_precision(labels, positive, 0.9) == 0.8
    assert threshold_for_precision(labels, positive, 0.75) == 0.6
    assert threshold_for_precision(np.zeros(5, dtype=np.int64), positive, 0.75) > 0.9
    tied = threshold_for_precision(np.array([1, 0, 1]), np.array([0.5, 0.5, 0.5]), 0.9)
    assert tied > 0.5  # rows alike in probability are taken or left together


def test_repeats() -> None:
    labels = np.array([0, 1, 1, 0])
    one, other = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]]), np.array([[0.4, 0.6], [0.2, 0.8]] * 2)
    found = repeats(labels, np.stack([one, other]), np.array([0, 0, 1, 1]))
    assert found["table"] == [[1.0, 0.5], [0.5, 0.5]]
    assert found["mean"] == 0.625
    assert found["interval"] == pytest.approx([0.625 - 3.1824463 * 0.125, 0.625 + 3.1824463 * 0.125])
