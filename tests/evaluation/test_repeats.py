"""Folds and seeds, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bongsu.evaluation.repeats import repeats


def test_accuracies_of_folds_and_seeds() -> None:
    labels = np.array([0, 1, 1, 0])
    one, other = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]]), np.array([[0.4, 0.6], [0.2, 0.8]] * 2)
    found = repeats(labels, np.stack([one, other]), np.array([0, 0, 1, 1]))
    assert found.table == [[1.0, 0.5], [0.5, 0.5]]
    assert found.mean == 0.625
    assert found.interval == pytest.approx([0.625 - 3.1824463 * 0.125, 0.625 + 3.1824463 * 0.125])
