"""The temperature against a search over a fine grid, softmax against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from overconfident import overconfident
from scipy import special
from sklearn.metrics import log_loss

from bongsu.evaluation.temperature import (
    apply_temperature,
    fit_temperature,
    log_probabilities,
    log_softmax,
    minimize_temperature,
    softmax,
)

LOGITS = st.lists(st.lists(st.floats(-1e4, 1e4), min_size=3, max_size=3), min_size=1, max_size=4).map(np.array)


def test_the_temperature_is_the_one_of_least_loss() -> None:
    labels, logits = overconfident()
    found = fit_temperature(labels, logits)
    grid = np.arange(1.0, 5.0, 0.02)
    best = grid[np.argmin([log_loss(labels, special.softmax(logits / value, axis=1)) for value in grid])]
    assert found == pytest.approx(best, abs=0.03)
    assert found == pytest.approx(3.0, rel=0.1)
    assert fit_temperature(labels[:0], logits[:0]) == 1.0


def test_it_stays_between_its_ends() -> None:
    labels = np.array([0, 1])
    assert fit_temperature(labels, np.array([[1.0, -1.0], [-1.0, 1.0]])) == pytest.approx(0.05, rel=1e-3)  # all right
    assert fit_temperature(labels, np.array([[-1.0, 1.0], [1.0, -1.0]])) == pytest.approx(20.0, rel=1e-3)  # all wrong


@given(st.floats(0.06, 19.0))
def test_the_least_of_any_loss_with_one_valley_is_found(where: float) -> None:
    assert minimize_temperature(lambda value: (np.log(value) - np.log(where)) ** 2) == pytest.approx(where, rel=1e-4)


@given(LOGITS, st.floats(0.05, 20.0))
def test_softmax_is_that_of_scipy_however_large_the_logits(logits: np.ndarray, temperature: float) -> None:
    np.testing.assert_allclose(softmax(logits), special.softmax(logits, axis=1), atol=1e-12)
    np.testing.assert_allclose(log_softmax(logits), special.log_softmax(logits, axis=1), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        apply_temperature(logits, temperature), special.softmax(logits / temperature, axis=1), atol=1e-12
    )


def test_float32_logits_are_computed_in_float64() -> None:
    logits = np.array([[3.0, -2.0]], dtype=np.float32)
    assert [part.dtype for part in (log_softmax(logits), apply_temperature(logits, 2.0))] == [np.float64] * 2


def test_a_probability_of_zero_has_a_finite_logarithm() -> None:
    found = log_probabilities(np.array([[0.0, 1.0], [0.25, 0.75]]))
    np.testing.assert_allclose(found, np.log([[1e-12, 1.0], [0.25, 0.75]]))
