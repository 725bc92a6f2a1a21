"""Names are found in time that grows with the text, whatever the text."""

from __future__ import annotations

import pytest

from bongsu.watch.hazards import places_in

LENGTH = 300_000  # in quadratic time each of these would take minutes or hours


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A" + "a" * LENGTH + ":", ()),
        ("Boston A" + "a" * LENGTH + "@", ("boston",)),
        ("A" + "a" * LENGTH, ("a" * (LENGTH + 1),)),
        ("Abc9" + "9" * LENGTH + "/", ()),
        ("#" * LENGTH, ()),
    ],
    ids=["colon", "name before it", "one word", "digits", "hashtags"],
)
def test_a_long_word_takes_no_time(text: str, expected: tuple[str, ...]) -> None:
    assert places_in(text) == expected


def test_a_word_that_is_no_place_leaves_the_words_before_it() -> None:
    assert places_in("in New York Times: read") == ("new york",)
    assert places_in("Mayor: Boston") == ("boston",)
