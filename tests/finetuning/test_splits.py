"""Who is trained on and who is measured."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bongsu.errors import DataError
from bongsu.finetuning.splits import Split, folds, hold_out, leave_out, near_duplicate_groups, protocol_splits
from bongsu.recipe import Validation


def test_near_duplicates_share_a_group() -> None:
    texts = [
        "Forest fire near La Ronge, residents leave their homes http://t.co/a",
        "forest FIRE near La Ronge! residents leave their homes http://t.co/b @you",
        "The committee met on Tuesday to speak about parking",
    ]
    groups = near_duplicate_groups(texts)
    assert groups[0] == groups[1] != groups[2]


@given(seed=st.integers(0, 1000), count=st.integers(2, 5), rows=st.integers(40, 120))
@settings(max_examples=25)
def test_folds_cover_every_row_once_and_split_no_group(seed: int, count: int, rows: int) -> None:
    generator = np.random.default_rng(seed)
    labels = np.arange(rows) % 2
    groups = generator.integers(0, rows // 2, rows)
    parts = folds(labels, groups, count, seed)
    assert sorted(np.concatenate([held for _, held in parts]).tolist()) == list(range(rows))
    for train, held in parts:
        assert not set(groups[train]) & set(groups[held])
        assert sorted([*train, *held]) == list(range(rows))
    train, held = hold_out(labels, groups, 0.2, seed)
    assert not set(groups[train]) & set(groups[held])
    assert 0 < len(held) < 0.5 * rows


@given(seed=st.integers(0, 1000), count=st.integers(2, 9))
@settings(max_examples=25)
def test_what_is_left_out_is_never_trained_on(seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    values = generator.choice(["flood", "fire", "quake", "storm", "war"], 90)
    groups = generator.integers(0, 60, 90)
    parts = leave_out(np.arange(90) % 2, values.tolist(), groups, count, seed)
    assert len(parts) == min(count, 5)
    assert sorted(np.concatenate([held for _, held in parts]).tolist()) == list(range(90))
    for train, held in parts:
        assert not set(values[train]) & set(values[held])
        assert not set(groups[train]) & set(groups[held])
        lost = set(range(90)) - set(train) - set(held)  # only near-duplicates of the rows measured on
        assert all(groups[row] in groups[held] for row in lost)
    with pytest.raises(DataError, match="one value only"):
        leave_out(np.arange(90) % 2, ["flood"] * 90, groups, count, seed)


def test_the_recipe_says_which_rows_are_measured_on() -> None:
    strata, groups, values = np.arange(60) % 2, np.arange(60) // 2, ["a", "b", "c"] * 20

    def same(one: list[Split], other: list[Split]) -> bool:
        pairs = zip(one, other, strict=True)
        return all(np.array_equal(mine, theirs) for pair in pairs for mine, theirs in zip(*pair, strict=True))

    assert same(protocol_splits(Validation(folds=4), strata, values, groups, 1), folds(strata, groups, 4, 1))
    assert same(
        protocol_splits(Validation(folds=0, holdout=0.3), strata, values, groups, 1), [hold_out(strata, groups, 0.3, 1)]
    )
    left = protocol_splits(Validation(folds=3, leave_out="place"), strata, values, groups, 1)
    assert same(left, leave_out(strata, values, groups, 3, 1))


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(DataError, match="class 'b' has 2 rows; too few for 3 folds"):
        folds(np.array([0] * 9 + [1] * 2), np.arange(11), 3, 0, ["a", "b"])
    with pytest.raises(DataError, match="without near-duplicates there are 2 texts"):
        folds(np.arange(12) % 2, np.arange(12) % 2, 3, 0)
    with pytest.raises(DataError, match="class number 1 has 1 row; nothing of it can be held out"):
        hold_out(np.array([0, 0, 1]), np.arange(3), 0.5, 0)
