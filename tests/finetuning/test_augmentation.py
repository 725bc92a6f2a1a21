"""Changed copies: what may change, and that they are the same whenever they are made."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bongsu.finetuning.augmentation import MARKS, aeda, augment

words = st.lists(st.text("abc가", min_size=1, max_size=4), min_size=1, max_size=12).map(" ".join)


@given(words, st.integers(0, 99))
def test_aeda_only_inserts_marks(text: str, seed: int) -> None:
    changed = aeda(text, random.Random(seed)).split(" ")
    assert [word for word in changed if word not in MARKS] == text.split(" ")
    assert 1 <= len(changed) - len(text.split(" ")) <= max(1, len(text.split(" ")) // 3)


def test_every_mark_is_used() -> None:
    drawn = {mark for seed in range(200) for mark in aeda("one two three", random.Random(seed)).split(" ")}
    assert drawn == {"one", "two", "three", *MARKS}


def test_copies_are_pure_and_differ_by_epoch_and_row() -> None:
    text = "one two three four five six seven"
    assert augment(text, 1.0, 1, 0, 3) == augment(text, 1.0, 1, 0, 3)
    assert len({augment(text, 1.0, 1, row, epoch) for row in range(5) for epoch in range(5)}) > 20


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_shares_are_as_asked(share: float) -> None:
    text = "one two three four"
    changed = [augment(text, share, 2, row, epoch) != text for row in range(300) for epoch in range(10)]
    assert sum(changed) / 3000 == pytest.approx(share, abs=0.03 if 0 < share < 1 else 0)
