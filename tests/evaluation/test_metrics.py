"""Metrics against scikit-learn and scipy, and against sums done by hand."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics as reference

from bongsu.evaluation.bootstrap import interval, paired_difference
from bongsu.evaluation.calibration import expected_calibration_error, reliability
from bongsu.evaluation.metrics import classification_metrics, predictions, threshold_curve, wilson
from bongsu.files import read_json, write_json


def drawn(rows: int, classes: int, seed: int, skill: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels and the probabilities of a model that knows a little."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    logits = rng.normal(size=(rows, classes))
    logits[np.arange(rows), labels] += skill
    table = np.exp(logits)
    return labels, table / table.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_metrics_are_those_of_scikit_learn(classes: int, threshold: float) -> None:
    labels, table = drawn(400, classes, seed=classes)
    found = classification_metrics(labels, table, threshold)
    if classes == 2:
        predicted, average, auc = table[:, 1] >= threshold, "binary", reference.roc_auc_score(labels, table[:, 1])
    else:
        predicted, average = table.argmax(axis=1), "macro"
        auc = reference.roc_auc_score(labels, table, multi_class="ovr", average="macro")
    assert found.accuracy == pytest.approx(reference.accuracy_score(labels, predicted))
    assert found.precision == pytest.approx(reference.precision_score(labels, predicted, average=average))
    assert found.recall == pytest.approx(reference.recall_score(labels, predicted, average=average))
    assert found.f1 == pytest.approx(reference.f1_score(labels, predicted, average=average))
    assert found.roc_auc == pytest.approx(auc)
    assert found.log_loss == pytest.approx(reference.log_loss(labels, table))
    assert found.confusion == reference.confusion_matrix(labels, predicted).tolist()
    assert found.rows == 400
    assert found.f1_interval[0] < found.f1 < found.f1_interval[1]


def test_certain_and_wrong_has_a_finite_log_loss() -> None:
    found = classification_metrics([0, 1], [[0.0, 1.0], [0.0, 1.0]])
    assert found.log_loss == pytest.approx(reference.log_loss([0, 1], [[0.0, 1.0], [0.0, 1.0]]))


@pytest.mark.parametrize("classes", [2, 3])
def test_a_class_without_rows(classes: int) -> None:
    _, table = drawn(20, classes, seed=1)
    found = classification_metrics(np.zeros(20, dtype=np.int64), table)
    assert found.roc_auc is None
    assert np.isfinite([found.f1, found.precision, found.recall, found.log_loss]).all()
    assert len(found.confusion) == classes


def test_metrics_go_into_json_and_back(tmp_path: Path) -> None:
    found = classification_metrics(*drawn(50, 2, seed=0))
    write_json(tmp_path / "metrics.json", found)
    assert read_json(tmp_path / "metrics.json") == asdict(found) == json.loads(json.dumps(asdict(found)))


@pytest.mark.parametrize(
    ("labels", "table"),
    [([], np.zeros((0, 2))), ([0, 1], [[0.5, 0.5]]), ([0, 2], [[0.5, 0.5]] * 2), ([-1], [[1, 0]]), ([0], [[np.nan, 1]])],
)
def test_what_cannot_be_measured_is_refused(labels: list[int], table: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"needed|labels must|finite"):
        classification_metrics(labels, table)


@given(st.integers(1, 5000).flatmap(lambda rows: st.tuples(st.integers(0, rows), st.just(rows))))
def test_wilson_is_that_of_scipy(case: tuple[int, int]) -> None:
    right, rows = case
    expected = binomtest(right, rows).proportion_ci(0.95, method="wilson")
    assert wilson(right, rows) == pytest.approx([expected.low, expected.high], abs=1e-9)


@given(st.integers(0, 10**6), st.integers(1, 60))
@settings(max_examples=40)
def test_every_threshold_is_what_counting_gives(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    labels, score = rng.integers(0, 2, rows), rng.integers(0, 101, rows) / 100  # on the thresholds themselves
    curve = threshold_curve(labels, score)
    assert curve.thresholds == [number / 100 for number in range(101)]
    for place in (0, 1, 29, 50, 57, 100):
        predicted = score >= curve.thresholds[place]
        expected = reference.precision_recall_fscore_support(labels, predicted, average="binary", zero_division=0)
        assert (curve.precision[place], curve.recall[place], curve.f1[place]) == pytest.approx(expected[:3])
        assert curve.accuracy[place] == pytest.approx(np.mean(predicted == labels))


def test_predictions_at_the_threshold_itself() -> None:
    assert predictions([[0.4, 0.6], [0.41, 0.59]], 0.6).tolist() == [1, 0]
    assert predictions([[0.2, 0.5, 0.3]]).tolist() == [1]


def test_reliability_by_hand() -> None:
    labels = [1, 0, 1, 1]
    table = [[0.4, 0.6], [0.35, 0.65], [0.05, 0.95], [0.0, 1.0]]
    curve = reliability(labels, table, bins=10)
    assert curve.count == [0, 0, 0, 0, 0, 1, 1, 0, 0, 2]  # 0.6 is in (0.5, 0.6]
    assert curve.accuracy[5:] == [1.0, 0.0, None, None, 1.0]
    assert curve.confidence[9] == pytest.approx(0.975)
    assert expected_calibration_error(labels, table) == pytest.approx((0.4 + 0.65 + 2 * 0.025) / 4)


@pytest.mark.parametrize("bins", [1, 7, 10])
def test_calibration_error_is_what_the_paper_says(bins: int) -> None:
    labels, table = drawn(500, 4, seed=9, skill=3)
    confidence, right = table.max(axis=1), table.argmax(axis=1) == labels
    error = 0.0
    for number in range(bins):
        inside = (confidence > number / bins) & (confidence <= (number + 1) / bins)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(labels, table, bins) == pytest.approx(error)


def test_paired_difference_against_drawing_rows() -> None:
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 3, 300)
    a, b = (np.where(rng.random(300) < share, labels, rng.integers(0, 3, 300)) for share in (0.7, 0.55))
    found = paired_difference(labels, a, b)
    gain = 100.0 * ((a == labels).astype(int) - (b == labels).astype(int))
    rows = rng.integers(0, 300, (4000, 300))
    assert found.difference == pytest.approx(gain.mean())
    assert found.interval == pytest.approx(np.quantile(gain[rows].mean(axis=1), [0.025, 0.975]), abs=0.7)
    assert found == paired_difference(labels, a, b)
    assert found.only_a == ((a == labels) & (b != labels)).sum()
    back = paired_difference(labels, b, a)
    assert back.difference == -found.difference


def test_the_mean_of_seeds_against_drawing_rows() -> None:
    rng = np.random.default_rng(5)
    labels, other = rng.integers(0, 2, 250), rng.integers(0, 2, 250)
    seeds = np.where(rng.random((3, 250)) < 0.6, labels, rng.integers(0, 2, (3, 250)))
    found = paired_difference(labels, seeds, other)
    gain = 100.0 * ((seeds == labels).mean(axis=0) - (other == labels))
    rows = rng.integers(0, 250, (4000, 250))
    assert found.difference == pytest.approx(gain.mean())
    assert found.interval == pytest.approx(np.quantile(gain[rows].mean(axis=1), [0.025, 0.975]), abs=0.7)
    assert found.only_a - found.only_b == pytest.approx(gain.sum() / 100)


def test_nothing_between_two_alike() -> None:
    found = paired_difference([0, 1, 1], [0, 1, 0], [0, 1, 0])
    assert (found.difference, found.interval) == (0.0, [0.0, 0.0])


def test_f1_interval_against_drawing_rows() -> None:
    labels, table = drawn(200, 2, seed=3)
    predicted = predictions(table)
    rng = np.random.default_rng(0)
    drawn_rows = rng.integers(0, 200, (1500, 200))
    scores = [reference.f1_score(labels[rows], predicted[rows]) for rows in drawn_rows[:600]]
    assert classification_metrics(labels, table).f1_interval == pytest.approx(np.quantile(scores, [0.025, 0.975]), abs=0.025)


def test_an_interval_in_pieces_has_the_draws_it_should() -> None:
    counts = np.ones((600, 600), dtype=np.int64)  # more cells than are drawn at a time
    sizes: list[int] = []

    def statistic(drawn_counts: np.ndarray) -> np.ndarray:
        sizes.append(len(drawn_counts))
        return drawn_counts[:, 0, 0].astype(float)

    interval(counts, statistic, draws=5)
    assert sum(sizes) == 5
    assert len(sizes) > 1
