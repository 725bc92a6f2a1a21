"""Alarms when the answers change, and only then."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

from bongsu.labelling.drift import DriftWatch, in_words
from bongsu.labelling.features import BUCKETS, bucket_of

WORDS = ["road", "school", "house", "water", "street", "people", "night", "rain"]
Say = Callable[[random.Random], tuple[str, float]]


def known_words() -> np.ndarray:
    known = np.zeros(BUCKETS, dtype=bool)
    known[[bucket_of(word) for word in WORDS]] = True
    return known


def usual(draw: random.Random) -> tuple[str, float]:
    return " ".join(draw.choices(WORDS, k=draw.randint(5, 12))), draw.betavariate(1, 4)


def run(then: Say, hours: int = 30, changed: int = 3, seed: int = 0) -> DriftWatch:
    draw, watch = random.Random(seed), DriftWatch(0.5, known_words(), seed)
    for hour in range(hours):
        for _ in range(300):
            text, probability = (then if hour >= hours - changed else usual)(draw)
            watch.add(text, hour * 3600 + draw.random() * 3600, probability)
    return watch


def test_a_stream_that_stays_the_same_raises_no_alarm() -> None:
    assert not [seed for seed in range(10) if run(usual, 10, seed=seed).state().alarm]  # type: ignore[union-attr]


def test_answers_that_change_raise_an_alarm_that_says_what_to_do() -> None:
    def event(draw: random.Random) -> tuple[str, float]:
        return f"{usual(draw)[0]} mokpo levee breach", draw.betavariate(3, 3)

    drift = run(event).state()
    assert drift is not None
    assert drift.alarm
    assert drift.explained[0] == "unknown_words"
    assert drift.passing[0] < 0.15 < 0.4 < drift.passing[1]
    words = in_words(drift)
    assert "Label fifty messages" in " ".join(words)
    assert "unknown words: 0.00 before" in " ".join(words)
    [unknown] = [change for change in drift.changes if change.figure == "unknown_words"]
    assert unknown.now == pytest.approx(3 / (3 + 8.5), abs=0.03)


def test_another_language_asks_for_adapting() -> None:
    def korean(draw: random.Random) -> tuple[str, float]:
        return "".join(draw.choices(WORDS, k=3)) + " 목포에 큰물이 났습니다 모두 조심하세요", draw.betavariate(4, 2)

    drift = run(korean).state()
    assert drift is not None
    assert {"hangul", "latin"} <= set(drift.explained)


def test_other_words_alone_are_no_alarm() -> None:
    drift = run(lambda draw: (f"{usual(draw)[0]} birthday cake party", draw.betavariate(1, 4))).state()
    assert drift is not None
    assert "unknown_words" in drift.explained
    assert not drift.alarm
    assert in_words(drift) == []


def test_few_messages_are_not_compared_and_another_version_begins_anew() -> None:
    assert run(usual, 6).state() is None
    watch = run(usual, 20)
    assert watch.state() is not None
    watch.restart()
    assert watch.state() is None
    assert in_words(None) == []


def test_memory_is_bounded() -> None:
    watch = run(usual, 200, changed=0)
    assert len(watch._hours) <= 31
    assert max(map(len, watch._hours.values())) <= 200
