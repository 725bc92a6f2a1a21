"""Robustness against counting."""

from __future__ import annotations

import random
from collections.abc import Sequence

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


def shouting(texts: Sequence[str]) -> list[str]:
    return ["loud" if text.isupper() else "calm" for text in texts]


def test_flips_are_counted() -> None:
    found = {each.change: each for each in count_flips(["fire", "Fire", "see http://t.co/x"], shouting, seed=0)}
    assert list(found) == list(CHANGES)
    assert found["upper case"] == FlipCount("upper case", 3, 3)
    assert found["lower case"] == FlipCount("lower case", 1, 0)
    assert found["links removed"] == FlipCount("links removed", 1, 0)
    assert found["a link added"] == FlipCount("a link added", 3, 0)
    assert {each.change: each for each in count_flips(["FIRE"], shouting, seed=0)}["lower case"].flipped == 1
    assert [each.texts for each in count_flips([], shouting, seed=0)] == [0] * len(CHANGES)


def test_counts_of_folds_are_summed() -> None:
    one = [FlipCount("a", 3, 1), FlipCount("b", 2, 0)]
    other = [FlipCount("a", 4, 2), FlipCount("b", 0, 0)]
    assert sum_flips([one, other]) == [FlipCount("a", 7, 3), FlipCount("b", 2, 0)]
    assert sum_flips([]) == []
