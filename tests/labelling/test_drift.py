"""Alarms when the answers change, and only then."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

from bongsu.labelling.differing import difference
from bongsu.labelling.drift import Advice, DriftWatch
from bongsu.labelling.features import BUCKETS, bucket_of
from bongsu.labelling.store import Candidate

WORDS = ["road", "school", "house", "water", "street", "people", "night", "rain"]


def korean(draw: random.Random) -> tuple[str, float]:
    return "".join(draw.choices(WORDS, k=3)) + " 목포에 큰물이 났습니다 모두 조심하세요", draw.betavariate(4, 2)


Say = Callable[[random.Random], tuple[str, float]]


def known_words() -> np.ndarray:
    known = np.zeros(BUCKETS, dtype=bool)
    known[[bucket_of(word) for word in WORDS]] = True
    return known


def usual(draw: random.Random) -> tuple[str, float]:
    return " ".join(draw.choices(WORDS, k=draw.randint(5, 12))), draw.betavariate(1, 4)


def run(then: Say, hours: int = 12, changed: int = 3, seed: int = 0, before: Say = usual, learned: bool = False) -> DriftWatch:
    draw, watch = random.Random(seed), DriftWatch(0.5, known_words(), learned, seed)
    for hour in range(hours):
        feed(watch, then if hour >= hours - changed else before, hour, draw)
    return watch


def feed(watch: DriftWatch, say: Say, hour: int, draw: random.Random, count: int = 300) -> list[Advice | None]:
    """Messages of an hour; returns the advice of all news."""
    found = []
    for number in range(count):
        text, probability = say(draw)
        when = (hour + draw.random()) * 3600
        news = watch.add([Candidate("s", f"{hour}.{number}", f"author {number % 3}", text, when, probability)])
        found += [news.advice] if news is not None else []
    return found


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
    assert drift.advice == "label"
    words = " ".join(drift.words)
    assert "Label fifty messages" in words
    assert "unknown words: 0.00 before" in words
    assert drift.said is not None
    assert {each.word for each in drift.said.words} == {"mokpo", "levee", "breach"}
    assert (drift.said.words[0].before, drift.said.words[0].now) == (0.0, 1.0)
    assert drift.said.auc == 1.0
    assert "mokpo (0%, now 100%)" in words
    [unknown] = [change for change in drift.changes if change.figure == "unknown_words"]
    assert unknown.now == pytest.approx(3 / (3 + 8.5), abs=0.03)


def test_another_language_asks_for_adapting() -> None:
    drift = run(korean).state()
    assert drift is not None
    assert {"hangul", "latin"} <= set(drift.explained)
    assert drift.advice == "adapt"


def test_when_the_words_are_known_again_the_advice_is_to_go_back() -> None:
    def event(draw: random.Random) -> tuple[str, float]:
        return f"{usual(draw)[0]} mokpo levee breach", draw.betavariate(3, 3)

    drift = run(usual, before=event, learned=True).state()
    assert drift is not None
    assert drift.advice == "go back"
    drift = run(usual, before=event).state()  # nothing was learned: there is nothing to go back from
    assert drift is not None
    assert drift.advice == "label"


def test_news_is_told_once_when_an_hour_is_over() -> None:
    draw, watch = random.Random(0), run(usual, 10)
    for hour, say, told in ((10, usual, []), (11, korean, []), (12, korean, ["adapt"]), (13, korean, []), (14, usual, [])):
        assert feed(watch, say, hour, draw) == told
    assert feed(watch, korean, 15, draw) == []  # the hour before was as usual
    assert feed(watch, usual, 16, draw) == ["adapt"]


def test_what_was_taken_back_is_no_longer_told() -> None:
    watch = run(lambda draw: (f"{usual(draw)[0]} mokpo levee", draw.betavariate(3, 3)))
    watch.forget("s", "author", "author 1")
    watch.forget("s", "id", "11.0")
    kept = [kept.message for hour in watch._hours.values() for kept in hour.sample()]
    assert len(kept) > 500
    assert not [message for message in kept if message[2] == "author 1" or message[1] == "11.0"]
    assert watch.state() is not None


def test_samples_of_the_same_words_cannot_be_told_apart() -> None:
    draw = random.Random(0)
    samples = [[set(usual(draw)[0].split()) for _ in range(400)] for _ in range(2)]
    found = difference(*samples)
    assert found.auc == pytest.approx(0.5, abs=0.08)
    assert found.words == []


def test_other_words_alone_are_no_alarm() -> None:
    drift = run(lambda draw: (f"{usual(draw)[0]} birthday cake party", draw.betavariate(1, 4))).state()
    assert drift is not None
    assert "unknown_words" in drift.explained
    assert not drift.alarm
    assert (drift.advice, drift.words, drift.said) == (None, [], None)


def test_few_messages_are_not_compared_and_another_version_begins_anew() -> None:
    assert run(usual, 6).state() is None
    watch = run(usual, 9)
    assert watch.state() is not None
    watch.restart(learned=True)
    assert watch.state() is None


def test_memory_is_bounded() -> None:
    watch = run(usual, 35, changed=0)
    assert len(watch._hours) <= 31
    assert max(map(len, watch._hours.values())) <= 200
