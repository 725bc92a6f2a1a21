"""Regression against scipy and scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bongsu.errors import DataError
from bongsu.recipe import Regression
from bongsu.tasks.regression import RegressionTask
from bongsu.tasks.task import Calibration, Example, Outputs

NEUTRAL = Calibration()


def rows(values: np.ndarray) -> list[Example[float]]:
    return [Example(str(n), (f"text {n}",), (f"text {n}",), f"text {n}", float(value)) for n, value in enumerate(values)]


def learned(values: np.ndarray) -> RegressionTask:
    task = RegressionTask(Regression(train="x"))
    task.schema = task.learn_schema(rows(values))
    return task


def test_numbers_are_read_and_others_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "train.csv"
    file.write_text("text,score\na,1.5\nb,\nc,many\nd,nan\ne,-2e1\n")
    found = RegressionTask(Regression(train=str(file))).read(str(file), {})
    assert [example.target for example in found] == [1.5, -20.0]
    shown = capsys.readouterr().err
    assert "no label" in shown
    assert "is no number" in " ".join(shown.split())


def test_one_number_alone_cannot_be_learned() -> None:
    with pytest.raises(DataError, match="one number only"):
        RegressionTask(Regression(train="x")).learn_schema(rows(np.array([2.0, 2.0])))


def test_scores_are_those_of_scipy() -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(3.0, 2.0, 150).round(1)
    answered = truth + generator.normal(size=150)
    task = learned(truth)
    scaled = Outputs.of_rows(((answered - task.schema.shift) / task.schema.scale)[:, None])
    probabilities = task.probabilities(scaled, NEUTRAL)
    np.testing.assert_allclose(probabilities.values[:, 0], answered, atol=1e-5)
    found = task.score(rows(truth), probabilities, NEUTRAL)
    assert found["pearson"] == pytest.approx(stats.pearsonr(truth, answered)[0], abs=1e-6)
    assert found["spearman"] == pytest.approx(stats.spearmanr(truth, answered)[0], abs=1e-6)
    assert found["mae"] == pytest.approx(np.abs(truth - answered).mean(), abs=1e-5)
    totals = task.statistics(rows(truth), probabilities, NEUTRAL).sum(axis=0)
    assert float(task.main_metric(totals)) == pytest.approx(found["pearson"], abs=1e-6)


def test_what_does_not_vary_has_no_correlation() -> None:
    truth = np.array([1.0, 2.0, 3.0])
    task = learned(truth)
    constant = Outputs.of_rows(np.full((3, 1), 2.0))
    assert task.score(rows(truth), constant, NEUTRAL)["pearson"] == 0.0
    assert float(task.main_metric(task.statistics(rows(truth), constant, NEUTRAL).sum(axis=0))) == 0.0


def test_baselines_are_the_mean_and_ridge() -> None:
    texts = ["good good", "good", "bad", "bad bad"] * 3
    values = np.array([5.0, 4.0, 2.0, 1.0] * 3)
    examples = [Example("", (text,), (text,), text, value) for text, value in zip(texts, values.tolist(), strict=True)]
    task = learned(values)
    naive = task.probabilities(task.naive(examples, examples[:1]), NEUTRAL)
    assert naive.values[0, 0] == pytest.approx(3.0)
    scores = task.probabilities(task.tfidf_outputs(task.fit_tfidf(examples), examples), NEUTRAL).values[:, 0]
    assert scores[:2].min() > 3.5 > 2.5 > scores[2:4].max()


def test_strata_have_the_same_spread_of_numbers() -> None:
    task = learned(np.arange(100.0))
    strata = task.strata(rows(np.arange(100.0)))
    assert np.bincount(strata).tolist() == [20] * 5
