"""Multilabel against scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import average_precision_score, f1_score, log_loss

from bongsu.errors import DataError
from bongsu.finetuning.ensemble import calibrate_by_fold
from bongsu.recipe import Multilabel
from bongsu.tasks.multilabel import MultilabelTask, best_thresholds
from bongsu.tasks.task import Calibration, Example, Outputs, Schema


def task(labels: int = 3, **settings: object) -> MultilabelTask:
    return MultilabelTask(Multilabel(train="x", **settings), Schema([f"l{n}" for n in range(labels)]))  # type: ignore[arg-type]


def examples(truth: np.ndarray) -> list[Example[list[str]]]:
    return [
        Example(str(n), ("a",), ("a",), f"a{n}", [f"l{label}" for label in np.flatnonzero(row)]) for n, row in enumerate(truth)
    ]


@pytest.mark.parametrize(
    ("header", "cell", "settings", "expected"),
    [
        ("labels", '"water,food"', {}, ["water", "food"]),
        ("labels", '""', {}, []),
        ("labels", '" water ; food ;"', {"separator": ";"}, ["water", "food"]),
        ("labels", '"[""water"", ""food""]"', {}, ["water", "food"]),
        ("water,food,fire", "1,0,Yes", {"label_columns": ["water", "food", "fire"]}, ["water", "fire"]),
    ],
)
def test_labels_are_read_in_every_form(
    tmp_path: Path, header: str, cell: str, settings: dict[str, object], expected: list[str]
) -> None:
    file = tmp_path / "train.csv"
    file.write_text(f"text,{header}\nwe need help,{cell}\n")
    made = MultilabelTask(Multilabel(train=str(file), **settings))  # type: ignore[arg-type]
    [example] = made.read(str(file), {})
    assert example.target == expected


def test_labels_with_few_rows_are_left_out(tmp_path: Path) -> None:
    truth = np.zeros((30, 3), dtype=bool)
    truth[:20, 0] = truth[:12, 1] = truth[:3, 2] = True
    assert task(min_rows=10).learn_schema(examples(truth)).labels == ["l0", "l1"]
    with pytest.raises(DataError, match="no label has 25 rows"):
        task(min_rows=25).learn_schema(examples(truth))


def test_scores_are_those_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    truth = generator.random((200, 4)) < [0.5, 0.3, 0.1, 0.0]
    logits = generator.normal(size=(200, 4)) + 2.0 * truth
    made, rows, calibration = task(4), examples(truth), Calibration(1.0, [0.4, 0.5, 0.3, 0.5])
    probabilities = made.probabilities(Outputs.of_rows(logits), calibration)
    np.testing.assert_allclose(probabilities.values, expit(logits), atol=1e-6)
    chosen = probabilities.values >= calibration.thresholds
    found = made.score(rows, probabilities, calibration)
    assert found["micro_f1"] == pytest.approx(f1_score(truth, chosen, average="micro"))
    assert found["macro_f1"] == pytest.approx(f1_score(truth[:, :3], chosen[:, :3], average="macro"))
    expected = np.mean([average_precision_score(truth[:, n], logits[:, n]) for n in range(3)])
    assert found["map"] == pytest.approx(expected)
    losses = [log_loss(truth[:, n], expit(logits[:, n]), labels=[0, 1]) for n in range(4)]
    assert found["loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    totals = made.statistics(rows, probabilities, calibration).sum(axis=0)
    assert float(made.main_metric(totals)) == pytest.approx(found["micro_f1"])


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.2, 0.5, 0.50001, 0.9, 1.0])), min_size=1, max_size=12))
def test_the_threshold_of_one_label_is_that_of_best_f1(rows: list[tuple[bool, float]]) -> None:
    truth, scores = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    [chosen] = best_thresholds(truth[:, None], scores[:, None])
    if not truth.any():
        assert chosen == 0.5
        return
    tried = [f1_score(truth, scores >= value, zero_division=0) for value in np.arange(1, 100) / 100]
    assert f1_score(truth, scores >= chosen, zero_division=0) == pytest.approx(max(tried))


def test_a_label_with_many_rows_has_its_own_threshold_and_a_rare_one_the_common_one() -> None:
    generator = np.random.default_rng(2)
    probabilities = generator.random((6000, 3))
    truth = generator.random((6000, 3)) < probabilities * np.array([1.0, 1.0, 0.5])
    probabilities[:, 1] *= 0.02
    truth[:, 1] = False
    truth[np.argmax(probabilities[:, 1]), 1] = True  # by its one row alone the threshold would be 0.01
    own, rare, other = best_thresholds(truth, probabilities)
    for label, chosen in ((0, own), (2, other)):
        tried = [f1_score(truth[:, label], probabilities[:, label] >= value) for value in np.arange(1, 100) / 100]
        assert f1_score(truth[:, label], probabilities[:, label] >= chosen) > max(tried) - 0.002
    common = np.arange(1, 100) / 100
    micro = [f1_score(truth, probabilities >= value, average="micro") for value in common]
    assert own < other
    assert rare == pytest.approx(common[int(np.argmax(micro))], abs=0.05)


def test_a_temperature_and_thresholds_are_chosen_on_rows() -> None:
    generator = np.random.default_rng(1)
    logits = generator.normal(size=(3000, 2)) * 2
    truth = generator.random((3000, 2)) < expit(logits)
    found = task(2).calibrate(examples(truth), Outputs.of_rows(3.0 * logits))
    assert found.temperature == pytest.approx(3.0, rel=0.1)
    assert len(found.thresholds) == 2
    extreme = task(2).probabilities(Outputs.of_rows(np.array([[1e4, -1e4]])), found)
    assert np.isfinite(extreme.values).all()


def test_answers_name_what_reaches_its_threshold() -> None:
    made = task(2, names={"l0": "water"})
    outputs = Outputs.of_rows(np.array([[0.6, 0.2], [0.1, 0.1]]))
    first, second = made.answers(examples(np.zeros((2, 2), dtype=bool)), outputs, Calibration(1.0, [0.5, 0.15]))
    assert first.labels == ["water", "l1"]
    assert second.labels == []
    assert made.flat(first)["label"] == "water,l1"
    assert first.probabilities["water"] == pytest.approx(0.6)


def test_baselines_say_what_the_training_rows_say() -> None:
    truth = np.array([[True, False], [True, True], [False, False], [True, False]])
    texts = ["send water", "send water and food", "fine here", "water please"]
    rows = [Example("", (text,), (text,), text, example.target) for text, example in zip(texts, examples(truth), strict=True)]
    made = task(2)
    naive = made.probabilities(made.naive(rows, rows[:1]), Calibration())
    np.testing.assert_allclose(naive.values, [[0.75, 0.25]], atol=1e-6)
    scores = made.tfidf_outputs(made.fit_tfidf(rows), rows).values
    assert scores[:, 0].argmin() == 2
    assert scores[:, 1].argmax() == 1


def test_thresholds_of_a_baseline_are_chosen_on_the_rows_of_other_folds() -> None:
    draw = np.random.default_rng(3)
    truth, logits, fold = draw.random((90, 3)) < 0.3, draw.normal(size=(90, 3)), np.arange(90) % 3
    kind, rows, outputs = task(), examples(truth), Outputs.of_rows(logits)
    found = calibrate_by_fold(kind, rows, outputs, fold)
    decided = np.zeros_like(truth)
    for number in range(3):
        mine, others = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        chosen = kind.calibrate([rows[row] for row in others], outputs.take(others))
        decided[mine] = expit(logits[mine] / chosen.temperature) >= chosen.thresholds
    np.testing.assert_array_equal(kind.decide(*found), decided)
    score = kind.score(rows, *found)
    assert score["macro_f1"] == pytest.approx(f1_score(truth, decided, average="macro"))
    own = kind.calibrate(rows, outputs)  # of noise, thresholds chosen on the rows themselves look better than they are
    assert kind.score(rows, kind.probabilities(outputs, own), own)["macro_f1"] > score["macro_f1"]
