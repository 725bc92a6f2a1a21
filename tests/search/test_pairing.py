"""Points compared pair by pair."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from bongsu.evaluation.bootstrap import paired_difference
from bongsu.search import pairing
from bongsu.search.ledger import Ledger
from bongsu.search.pairing import difference, difference_to_best, difference_to_best_by_rows, effects
from bongsu.search.results import Result, spread
from bongsu.search.study import Plan, Study

METRICS = st.floats(-10, 10)


@given(st.lists(st.tuples(METRICS, METRICS), min_size=3, max_size=9))
def test_a_difference_is_what_the_paired_t_test_says(pairs: list[tuple[float, float]]) -> None:
    found = difference(pairs)
    assert found is not None
    assert found.half is not None
    if found.half > 1e-9:
        test = ttest_rel([second for _, second in pairs], [first for first, _ in pairs])
        low, high = test.confidence_interval()
        assert [found.mean - found.half, found.mean + found.half] == pytest.approx([low, high])
        assert found.significant == (test.pvalue < 0.05)


def test_one_pair_has_no_interval_and_none_has_no_difference() -> None:
    single = difference([(1.0, 3.0)])
    assert single is not None
    assert (single.mean, single.half, single.significant) == (2.0, None, False)
    assert difference([]) is None


def a_study(**space: list[object]) -> Study:
    return Study.model_validate({"name": "s", "recipe": "r", "objective": "finetune.accuracy", "space": space})


def result(point: dict[str, object], by_seed: dict[int, float]) -> Result:
    return Result(point, [], {"accuracy": spread(list(by_seed.values()))}, by_seed, 0.0, True)


@given(
    st.lists(METRICS, min_size=3, max_size=3),
    st.lists(METRICS, min_size=2, max_size=2),
    st.lists(METRICS, min_size=2, max_size=2),
)
def test_what_a_value_adds_is_found_whatever_else_varies(of_a: list[float], of_b: list[float], of_seed: list[float]) -> None:
    study = a_study(a=[1, 2, 3], b=["x", "y"])
    results = [
        result({"a": a, "b": b}, {seed: of_a[i] + of_b[j] + of_seed[seed] for seed in range(2)})
        for (i, a), (j, b) in itertools.product(enumerate([1, 2, 3]), enumerate("xy"))
    ]
    table = effects(results, study)
    assert list(table["a"]) == ["1", "2", "3"]
    assert table["a"]["1"].against_first is None
    for number in (1, 2):
        told = table["a"][str(number + 1)].against_first
        assert told is not None
        assert told.mean == pytest.approx(of_a[number] - of_a[0], abs=1e-9)
        assert told.count == 4


def test_seeds_that_only_one_was_run_with_are_left_out() -> None:
    found = difference_to_best(result({"a": 1}, {0: 0.5, 1: 0.7}), result({"a": 2}, {1: 0.6, 2: 0.9}))
    assert found is not None
    assert found.mean == pytest.approx(-0.1)
    assert found.count == 1


def test_values_without_a_like_point_to_compare_have_no_difference() -> None:
    study = a_study(a=[1, 2], b=["x", "y"])
    table = effects([result({"a": 1, "b": "x"}, {0: 0.5}), result({"a": 2, "b": "y"}, {0: 0.7})], study)
    assert table["a"]["2"].against_first is None
    assert table["a"]["2"].over_points.mean == 0.7


def test_row_by_row_it_says_what_the_bootstrap_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    book = Ledger(Plan(a_study(a=[1, 2]), {}), tmp_path, 1e9, "cpu")
    labels = draw.integers(0, 2, 900)
    rows = np.arange(0, 900, 2)
    right = {name: draw.random(len(rows)) < share for name, share in (("x", 0.8), ("y", 0.7))}
    answers = {name: np.where(where, labels[rows], 1 - labels[rows]) for name, where in right.items()}
    scores = {name: dict(zip(rows.tolist(), where.astype(float).tolist(), strict=True)) for name, where in right.items()}
    monkeypatch.setattr(pairing, "row_scores", lambda folder: scores[folder.name])
    points = [Result({"a": number}, [name], {}, {0: 0.0}, 0.0, True) for number, name in enumerate(answers)]
    found = difference_to_best_by_rows(points[0], points[1], book)
    expected = paired_difference(labels[rows], answers["y"], answers["x"])
    assert found is not None
    assert found.half is not None
    assert found.count == 450
    assert 100 * found.mean == pytest.approx(expected.difference)
    assert [100 * (found.mean - found.half), 100 * (found.mean + found.half)] == pytest.approx(expected.interval, abs=0.5)
