"""What the report says of a classifier, from its probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from bongsu.inference.explain import Word
from bongsu.recipe import Recipe, parse_recipe
from bongsu.reporting.groups import by_context, by_writing
from bongsu.reporting.run import MAJORITY, TFIDF, as_written, classification_section, shade, worst

LABELS = np.array([0, 1, 1, 0, 1])
TABLE = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.1, 0.9], [0.55, 0.45]])
NAMES = ["other", "disaster"]


def recipe_of(**evaluate: float) -> Recipe:
    return parse_recipe({"evaluate": evaluate})


def test_words_are_shaded_by_the_largest_weight_of_their_text() -> None:
    shares = shade([Word("fire", 0.5), Word("the", -0.25), Word("town", 0.0)])
    assert shares == [
        ("fire", 0.5, 1.0),
        ("the", -0.25, 0.5),
        ("town", 0.0, 0.0),
    ]
    assert [each.share for each in shade([Word("a", 0.0)])] == [0.0]
    assert shade([]) == []


def test_the_errors_shown_are_the_surest_by_the_threshold_of_the_recipe() -> None:
    raw = [f"text {row}" for row in range(5)]
    found = worst(recipe_of(), LABELS, TABLE, raw, NAMES)
    assert [(each.row, each.text, each.label, each.predicted) for each in found] == [
        (3, "text 3", "other", "disaster"),
        (1, "text 1", "disaster", "other"),
        (4, "text 4", "disaster", "other"),
    ]
    assert [each.probability for each in found] == pytest.approx([0.9, 0.7, 0.55])
    assert [each.row for each in worst(recipe_of(threshold=0.3), LABELS, TABLE, raw, NAMES)] == [3]
    assert [each.row for each in worst(recipe_of(worst=1), LABELS, TABLE, raw, NAMES)] == [3]


@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_the_model_is_measured_at_its_threshold_with_the_baselines(threshold: float) -> None:
    majority, tfidf = np.tile([0.4, 0.6], (5, 1)), TABLE[:, ::-1]
    section = classification_section(
        recipe_of(threshold=threshold), LABELS, TABLE, {MAJORITY: majority, TFIDF: tfidf}, NAMES, "by hand"
    )
    predicted = TABLE[:, 1] >= threshold
    assert section.model.accuracy == pytest.approx(accuracy_score(LABELS, predicted))
    assert section.model.f1 == pytest.approx(f1_score(LABELS, predicted))
    assert section.baselines[MAJORITY].accuracy == 0.6
    assert section.baselines[TFIDF].accuracy == pytest.approx(accuracy_score(LABELS, tfidf[:, 1] >= 0.5))
    gain = (predicted == LABELS).mean() - ((tfidf[:, 1] >= 0.5) == LABELS).mean()
    assert section.difference is not None
    assert section.difference.difference == pytest.approx(100 * gain)
    assert section.baseline == TFIDF
    assert list(section.compared) == [MAJORITY]
    assert section.scores is not None
    assert section.scores.probabilities == TABLE[:, 1].tolist()


def test_curves_of_thresholds_are_of_two_classes_alone() -> None:
    table = np.full((5, 3), 1 / 3)
    section = classification_section(recipe_of(), LABELS, table, {TFIDF: table}, ["a", "b", "c"], "by hand")
    assert section.scores is None
    assert section.thresholds is None


def test_a_message_that_stands_twice_is_shown_once_and_with_signs() -> None:
    raw = ["a", "Fire &amp; flood", "c", "FIRE &amp; flood!", "d"]
    found = worst(recipe_of(), LABELS, TABLE, raw, NAMES)
    assert [each.text for each in found] == ["FIRE & flood!", "d"]


def test_explained_words_stand_as_they_were_written() -> None:
    words = shade([Word("keyword", 0.1), Word("|", 0.0), Word("big", 0.2), Word("fire", 0.3)])
    assert [each.text for each in as_written(words, "BIG fire!")] == ["keyword", "|", "BIG", "fire!"]
    assert as_written(words, "one two three four five") == words


def test_a_row_for_each_writing_and_each_value_of_a_column() -> None:
    texts = ["산불이 났다", "fire in town", "fire", "지진", "all calm"]
    decided = np.array([0, 0, 1, 1, 0])
    table = by_writing(texts, LABELS, decided, LABELS, "en")
    found = {row.name: (row.rows, row.accuracy, row.baseline, row.missed, row.alarms) for row in table.rows}
    assert found == {"Latin letters": (3, 1 / 3, 1.0, 2, 0), "Korean": (2, 0.5, 1.0, 0, 1)}
    assert by_writing(["a", "b"], LABELS[:2], decided[:2], LABELS[:2], "en").rows == []
    values = ["flood"] * 6 + [""] * 5 + ["rare"]
    labels = np.arange(12) % 2
    table = by_context("keyword", values, labels, labels, 1 - labels, "ko")
    assert table.title == "keyword별"
    assert [(row.name, row.rows, row.accuracy, row.baseline) for row in table.rows] == [
        ("flood", 6, 1.0, 0.0), ("(empty)", 5, 1.0, 0.0), ("other values", 1, 1.0, 0.0),
    ]  # fmt: skip
