"""Robustness against counting."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from bongsu.evaluation.robustness import CHANGES, FlipCount, count_flips, sum_flips, typing_error


@given(st.text("abcdéf @#:/", max_size=40), st.integers(0, 50))
def test_a_typing_error_only_swaps_two_letters(text: str, seed: int) -> None:
    changed = typing_error(text, random.Random(seed))
    assert sorted(changed) == sorted(text)
    different = [place for place, (old, new) in enumerate(zip(text, changed, strict=True)) if old != new]
    assert len(different) in (0, 2)


def test_links_stay_whole() -> None:
    text = "see http://t.co/abcdef @someone"
    assert {typing_error(text, random.Random(number)) for number in range(9)} == {text}


def test_flips_are_counted() -> None:
    texts = ["fire", "Fire", "see http://t.co/x"]
    counts = count_flips(texts, lambda many: [str(text.isupper()) for text in many], seed=0)
    found = {count.change: count for count in counts}
    assert found.keys() == CHANGES.keys()
    assert found["upper case"] == FlipCount("upper case", 3, 3)
    assert found["lower case"] == FlipCount("lower case", 1, 0)
    assert found["links removed"] == FlipCount("links removed", 1, 0)
    total = {count.change: count for count in sum_flips([counts, counts])}
    assert total["upper case"] == FlipCount("upper case", 6, 6)
