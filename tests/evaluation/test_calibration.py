"""Calibration errors before and after a temperature, and with isotonic regression."""

from __future__ import annotations

import numpy as np
from overconfident import overconfident

from bongsu.evaluation.calibration import calibration, expected_calibration_error, isotonic_by_folds
from bongsu.evaluation.temperature import apply_temperature, fit_temperature, softmax


def test_errors_of_calibration_fall() -> None:
    labels, logits = overconfident()
    fold = np.arange(len(labels)) % 4
    before, after = softmax(logits), np.empty_like(logits)
    for number in range(4):
        mine = fold == number
        after[mine] = apply_temperature(logits[mine], fit_temperature(labels[~mine], logits[~mine]))
    assert np.array_equal(after.argmax(axis=1), before.argmax(axis=1))
    errors = calibration(labels, before, after, fold)
    assert errors["before"] == expected_calibration_error(labels, before) > 0.08
    assert errors["temperature"] < 0.02
    assert errors["isotonic"] < 0.03
    assert "isotonic" not in calibration(labels, before, after, np.zeros_like(fold))  # a hold-out has no other fold


def test_isotonic_regression_does_not_look_at_a_folds_own_labels() -> None:
    labels, logits = overconfident(400)
    fold, before = np.arange(len(labels)) % 4, softmax(logits)
    other = labels.copy()
    other[fold == 2] = 1 - other[fold == 2]
    one, two = isotonic_by_folds(labels, before, fold), isotonic_by_folds(other, before, fold)
    assert np.array_equal(one[fold == 2], two[fold == 2])
    assert not np.array_equal(one[fold != 2], two[fold != 2])
    assert np.allclose(one.sum(axis=1), 1.0)
