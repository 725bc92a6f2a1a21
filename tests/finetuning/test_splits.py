"""Who is trained on and who is measured."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bongsu.errors import DataError
from bongsu.finetuning.splits import distinct, folds, groups_of, hold_out, leave_out


def test_near_twins_share_a_group() -> None:
    texts = [
        "Forest fire near La Ronge, residents leave their homes http://t.co/a",
        "forest FIRE near La Ronge! residents leave their homes http://t.co/b @you",
        "The committee met on Tuesday to speak about parking",
    ]
    groups = groups_of(texts)
    assert groups[0] == groups[1] != groups[2]


@given(seed=st.integers(0, 1000), count=st.integers(2, 5), rows=st.integers(40, 120))
@settings(max_examples=25, deadline=None)
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
@settings(max_examples=25, deadline=None)
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
        lost = set(range(90)) - set(train) - set(held)  # only twins of the rows measured on
        assert all(groups[row] in groups[held] for row in lost)
    with pytest.raises(DataError, match="one value only"):
        leave_out(np.arange(90) % 2, ["flood"] * 90, groups, count, seed)


def test_copies_count_once_with_the_label_of_their_majority() -> None:
    texts = ["Fire! http://t.co/a", "fire", "FIRE @you", "flood", "Flood.", "storm"]
    labels = np.array([1, 0, 1, 0, 1, 0])
    rows, agreed = distinct(texts, labels, np.arange(6))
    assert (rows.tolist(), agreed.tolist()) == ([0, 5], [1, 0])  # the floods contradict each other
    rows, agreed = distinct(texts, labels, np.array([1, 3]))
    assert (rows.tolist(), agreed.tolist()) == ([1, 3], [0, 0])
