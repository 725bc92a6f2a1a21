"""Hashes that look random, and permutations that are permutations."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bongsu.tokens.random import mix, permute, uniform


@given(size=st.integers(1, 3000), key=st.integers(0, 2**64 - 1))
def test_permute_is_a_permutation(size: int, key: int) -> None:
    assert np.array_equal(np.sort(permute(np.arange(size), size, np.uint64(key))), np.arange(size))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 255, 256, 257, 65_536, 65_537])
def test_permute_at_powers_of_two(size: int) -> None:
    assert np.array_equal(np.sort(permute(np.arange(size), size, 7)), np.arange(size))


def test_permute_works_piece_by_piece_and_differs_by_key() -> None:
    whole = permute(np.arange(1000), 1000, 3)
    assert np.array_equal(permute(np.arange(500, 600), 1000, 3), whole[500:600])
    other = permute(np.arange(1000), 1000, 4)
    assert np.mean(whole == other) < 0.02
    both = permute(np.array([5, 5]), 1000, np.array([3, 4]))
    assert both.tolist() == [whole[5], other[5]]


def test_permute_reaches_far_corpora() -> None:
    index = np.arange(10**12, 10**12 + 1000)
    to = permute(index, 3 * 10**12, 1)
    assert len(np.unique(to)) == 1000
    assert to.min() >= 0
    assert to.max() < 3 * 10**12
    assert stats.kstest(to / 3e12, "uniform").pvalue > 1e-4


def test_every_place_is_as_likely_as_any_other() -> None:
    """Where index 0 of 10 goes, over 10,000 keys: chi-square."""
    to = permute(np.zeros(10_000, dtype=np.int64), 10, mix(5, np.arange(10_000)))
    assert stats.chisquare(np.bincount(to, minlength=10)).pvalue > 1e-4


def test_mix_is_uniform_and_its_draws_independent() -> None:
    draws = uniform(mix(1, np.arange(300)[:, None], np.arange(300)))
    assert draws.shape == (300, 300)
    assert 0.0 <= draws.min() <= draws.max() < 1.0
    assert stats.kstest(draws.ravel(), "uniform").pvalue > 1e-4
    table = np.histogram2d(draws[:, :-1].ravel(), draws[:, 1:].ravel(), bins=16)[0]
    assert stats.chisquare(table.ravel()).pvalue > 1e-4
    assert len(np.unique(mix(np.arange(1000), 2))) == 1000
    assert mix(1, 2) != mix(2, 1)


def test_splitmix64_as_published() -> None:
    """The first output of SplitMix64 for the seed 1234567, as in the reference implementation's tests."""
    assert int(mix(1234567)) == 6457827717110365317


def test_mix_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mix(0, -1, 2**63 - 1, np.uint64(2**64 - 1)).dtype == np.uint64
        assert mix(np.arange(3), np.arange(4)[:, None]).shape == (4, 3)
        permute(np.arange(10), 10, mix(3, 1))
