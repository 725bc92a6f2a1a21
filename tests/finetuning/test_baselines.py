"""Baselines: learn what can be learned, and stand whatever texts they are given."""

import numpy as np
import pytest

from bongsu.finetuning.baselines import majority, tfidf_logistic

DISASTER = [
    "forest fire spreads near the town",
    "earthquake hits the coast",
    "flood warning for the river",
    "지진이 발생했습니다",
]
OTHER = ["what a lovely morning", "my mixtape is out now", "coffee with friends", "오늘 점심 맛있다"]
TEXTS = [f"{text} {number}" for number in range(40) for text in DISASTER + OTHER]
LABELS = [label for _ in range(40) for label in [1] * 4 + [0] * 4]


def test_majority_gives_the_shares() -> None:
    table = majority([0, 0, 2, 0], n_classes=4, n=3)
    assert table.tolist() == [[0.75, 0.0, 0.25, 0.0]] * 3
    assert majority([], 2, 1).tolist() == [[0.5, 0.5]]


def test_words_are_learned_and_the_same_each_time() -> None:
    asked = ["fire near the river", "coffee this morning", "지진이 났다", "맛있다"]
    table = tfidf_logistic(TEXTS, LABELS, asked)
    assert table.shape == (4, 2)
    assert table.sum(axis=1) == pytest.approx(np.ones(4))
    assert table.argmax(axis=1).tolist() == [1, 0, 1, 0]
    np.testing.assert_array_equal(table, tfidf_logistic(TEXTS, LABELS, asked))


def test_classes_keep_their_columns_when_one_is_missing() -> None:
    labels = np.array(LABELS) * 2  # classes 0 and 2
    table = tfidf_logistic(TEXTS, labels, ["earthquake"], n_classes=4)
    assert table.shape == (1, 4)
    assert table.argmax() == 2
    assert table[0, [1, 3]].tolist() == [0.0, 0.0]


def test_three_classes() -> None:
    texts, labels = ["red"] * 5 + ["green"] * 5 + ["blue"] * 5, [0] * 5 + [1] * 5 + [2] * 5
    assert tfidf_logistic(texts, labels, ["blue", "red", "green"]).argmax(axis=1).tolist() == [2, 0, 1]


def test_texts_without_a_word() -> None:
    table = tfidf_logistic(["🔥🔥", "🙂", "🔥", "🙂🙂"], [1, 0, 1, 0], ["🔥", "🙂", ""])
    assert table[:2].argmax(axis=1).tolist() == [1, 0]
    assert np.isfinite(table).all()


@pytest.mark.parametrize(
    ("texts", "labels", "asked"), [(["a b", "c d"], [1, 1], ["a"]), (["", " "], [0, 1], ["a"]), (["x y", "z"], [0, 1], [])]
)
def test_nothing_to_learn_from_is_the_majority(texts: list[str], labels: list[int], asked: list[str]) -> None:
    np.testing.assert_array_equal(tfidf_logistic(texts, labels, asked, 2), majority(labels, 2, len(asked)))
