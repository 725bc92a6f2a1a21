"""The model folder that is kept: partner, calibration, threshold, and what was measured for the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from tiny_task import finish, log_odds, make, work_of
from tokenizers import Tokenizer

from bongsu.evaluation.temperature import fit_temperature
from bongsu.finetuning.cross_validation import CrossValidation
from bongsu.finetuning.ensemble import ROBUSTNESS_ROWS, assemble, load_measured
from bongsu.finetuning.trainable import predict
from bongsu.inference.torch_backend import load_predictor
from bongsu.model.io import load_task_model
from bongsu.tasks.task import Calibration, Outputs

pytestmark = pytest.mark.slow

LEARNING = {"learning_rate": 0.01, "epochs": 3}


def labels_of(work: CrossValidation, rows: np.ndarray) -> np.ndarray:
    return np.array([int(work.data.training[row].target) for row in rows.tolist()])


def scale_of(labels: np.ndarray, encoder: np.ndarray, tfidf: np.ndarray) -> float:
    """Return the factor that makes one as confident as the other, by the temperatures of both."""
    return fit_temperature(labels, encoder) / fit_temperature(labels, tfidf)


def merged_odds(work: CrossValidation, *tables: np.ndarray) -> np.ndarray:
    """Return the log odds of an ensemble of members with these logits [N, 2], computed as their mean where none is extreme."""
    odds = log_odds(work.task.merge([Outputs.of_rows(table) for table in tables]).values)
    ordinary = np.all([np.abs(log_odds(table)) < 10 for table in tables], axis=0)
    np.testing.assert_allclose(odds[ordinary], np.mean([log_odds(table) for table in tables], axis=0)[ordinary], atol=1e-4)
    return odds


def test_seeds_are_measured_and_each_fold_is_calibrated_on_the_others(tokenizer: Tokenizer, tmp_path: Path) -> None:
    recipe = make(tokenizer, tmp_path, finetune={**LEARNING, "refit": False}, validation={"seeds": 2})
    work, _, measured = finish(recipe, tmp_path)
    assert measured.rows.tolist() == list(range(50))
    assert [outputs.values.shape for outputs in (*measured.seeds, measured.raw, measured.encoder)] == [(50, 2)] * 4
    assert not np.array_equal(measured.seeds[0].values, measured.seeds[1].values)
    raw = log_odds(measured.raw.values)
    labels = labels_of(work, measured.rows)
    for fold, (_, held) in enumerate(work.data.splits):
        mine = measured.fold == fold
        assert measured.rows[mine].tolist() == sorted(held.tolist())
        np.testing.assert_allclose(measured.encoder.values[held], work.load()[0][fold].held_out.values, atol=1e-6)
        temperature = fit_temperature(labels[~mine], measured.raw.values[~mine])
        assert measured.calibrations[fold].temperature == pytest.approx(temperature)
        odds = np.log(measured.seeds[0].values[mine, 1] / measured.seeds[0].values[mine, 0])
        np.testing.assert_allclose(odds, raw[mine] / temperature, rtol=1e-3, atol=1e-4)
    assert [round(epochs, 6) for epochs in measured.epochs] == [fold.result.epochs for fold in work.load()[0]]
    # The model that is kept is the first fold's, and calibrated on all rows that were measured.
    kept = load_predictor(tmp_path / "model")
    assert kept.calibration.temperature == pytest.approx(fit_temperature(labels, measured.raw.values))
    first = work.data.take(measured.rows[measured.fold == 0])
    odds = np.log(kept.outputs_of(first).values[:, 1] / kept.outputs_of(first).values[:, 0])
    np.testing.assert_allclose(odds * kept.calibration.temperature, raw[measured.fold == 0], rtol=1e-3, atol=1e-4)


def test_a_hold_out_is_calibrated_on_its_development_split(tokenizer: Tokenizer, tmp_path: Path) -> None:
    recipe = make(tokenizer, tmp_path, finetune=LEARNING, validation={"folds": 0, "development": 0.3}, ensemble={"tfidf": True})
    work, _, measured = finish(recipe, tmp_path)
    [fold] = work.load()[0]
    development = work.data.take(fold.development_rows)
    labels = labels_of(work, fold.development_rows)
    # TF-IDF is as confident as it is on rows that it has not learned from.
    learned = np.setdiff1d(work.data.splits[0][0], fold.development_rows)
    tfidf = work.task.tfidf_outputs(work.task.fit_tfidf(work.task.unique(work.data.take(learned))), development).values
    odds = merged_odds(work, fold.development.values, scale_of(labels, fold.development.values, tfidf) * tfidf)
    expected = fit_temperature(labels, np.stack([np.zeros(len(odds)), odds], axis=1))
    assert measured.calibrations[0].temperature == pytest.approx(expected, rel=1e-4)
    assert set(measured.rows.tolist()) == set(work.data.splits[0][1].tolist())
    assert set(measured.fold.tolist()) == {0}


@pytest.mark.parametrize("refit", [True, False])
def test_the_log_odds_of_an_ensemble_are_the_mean_of_two_equally_confident_members_over_the_temperature(
    tokenizer: Tokenizer, tmp_path: Path, refit: bool
) -> None:
    recipe = make(tokenizer, tmp_path, finetune={**LEARNING, "refit": refit}, ensemble={"tfidf": True})
    work, baselines, measured = finish(recipe, tmp_path)
    assert baselines.tfidf is not None
    # In the folds: of each fold's encoder and the TF-IDF fitted on the fold's rows, scaled on the other folds' rows.
    labels = labels_of(work, measured.rows)
    tables = np.zeros((2, len(labels), 2))
    for fold, (_, held) in enumerate(work.data.splits):
        tables[0][held], tables[1][held] = work.load()[0][fold].held_out.values, baselines.tfidf.folds[fold].values
    for fold, (_, held) in enumerate(work.data.splits):
        encoder, tfidf = tables[:, held]
        others = measured.fold != fold
        odds = merged_odds(work, encoder, scale_of(labels[others], *tables[:, others]) * tfidf)
        np.testing.assert_allclose(log_odds(measured.raw.values[held]), odds, atol=1e-4)
        np.testing.assert_allclose(measured.encoder.values[held], encoder, atol=1e-6)
    # In the model that is kept.
    kept = load_predictor(tmp_path / "model")
    model, _ = load_task_model(tmp_path / "model")
    examples = work.data.training
    texts = [example.raw[0] for example in examples]
    encoder = predict(work.task, model, work.tokenizer, examples).values
    unique = work.task.unique(examples if refit else work.data.take(work.data.splits[0][0]))
    tfidf = work.task.tfidf_outputs(work.task.fit_tfidf(unique), examples).values
    scale = scale_of(labels, *tables)
    expected = merged_odds(work, encoder, scale * tfidf) / kept.calibration.temperature
    table = kept.probabilities(texts)
    np.testing.assert_allclose(table[:, 1], expit(expected), atol=1e-4)
    assert np.abs(expected - log_odds(encoder) / kept.calibration.temperature).max() > 0.1  # TF-IDF has a say


def test_without_a_partner_none_is_kept(tokenizer: Tokenizer, tmp_path: Path) -> None:
    work, _, measured = finish(make(tokenizer, tmp_path), tmp_path)
    kept = load_predictor(tmp_path / "model")
    assert kept.tfidf is None
    assert not (tmp_path / "model" / "tfidf.json").exists()
    np.testing.assert_allclose(log_odds(measured.raw.values), log_odds(measured.encoder.values), atol=1e-4)
    assert kept.task.settings == work.task.settings
    assert kept.task.schema == work.task.schema


def test_the_threshold_of_the_recipe_is_kept_with_the_model(tokenizer: Tokenizer, tmp_path: Path) -> None:
    quick = {"diagnose": False}
    work, baselines, _ = finish(make(tokenizer, tmp_path, validation=quick), tmp_path)
    texts = [f"a flood of number {n * 7}" for n in range(30)]
    settings: list[tuple[dict[str, float], float]] = [({}, 0.5), ({"miss_cost": 4.0}, 0.2), ({"threshold": 0.9}, 0.9)]
    for evaluate, threshold in settings:  # of the same folds: a threshold trains nothing
        folder = tmp_path / f"model-{threshold}"
        folder.mkdir()
        changed = work_of(make(tokenizer, tmp_path, evaluate=evaluate, validation=quick), tmp_path, work.data)
        assemble(changed, baselines, tmp_path / "refit" / "model", folder)
        kept = load_predictor(folder)
        assert kept.threshold == threshold
        assert [each.thresholds for each in load_measured(folder).calibrations] == [[threshold]] * 3
        table = kept.probabilities(texts)
        assert [answer.value for answer in kept.predict(texts)] == ["1" if row[1] >= threshold else "0" for row in table]


def test_test_rows_are_answered_by_the_model_that_is_kept(tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("text,target\nthe flood number 9 in street 4,1\na song,0\n")
    recipe = make(tokenizer, tmp_path, task={"test": str(tmp_path / "test.csv")}, ensemble={"tfidf": True})
    _, _, measured = finish(recipe, tmp_path)
    kept = load_predictor(tmp_path / "model")
    found = kept.probabilities(["the flood number 9 in street 4", "a song"])
    np.testing.assert_allclose(measured.test.values, found, atol=1e-6)


@pytest.mark.parametrize("tfidf", [True, False])
def test_the_most_confident_errors_are_explained_and_flips_counted(tokenizer: Tokenizer, tmp_path: Path, tfidf: bool) -> None:
    recipe = make(tokenizer, tmp_path, ensemble={"tfidf": tfidf})
    lines = (tmp_path / "train.csv").read_text().splitlines()
    lines[4] = lines[4].removesuffix("1") + "0"  # a storm that is called a joke: an error that every model makes
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    work, _, measured = finish(recipe, tmp_path)
    table = work.task.probabilities(measured.raw, Calibration()).values
    wrong = measured.rows[table.argmax(axis=1) != labels_of(work, measured.rows)]
    assert set(measured.explanations) == set(wrong.tolist())
    assert len(wrong) > 0
    for row, words in measured.explanations.items():
        assert [word.text for word in words] == work.data.training[row].inputs[0].split()
    assert len(measured.flips) == 6
    assert all(each.flipped <= each.texts <= min(50, 3 * ROBUSTNESS_ROWS) for each in measured.flips)
    assert next(each for each in measured.flips if each.change == "a link added").texts == 50


def test_what_a_search_does_not_look_at_is_left_out(tokenizer: Tokenizer, tmp_path: Path) -> None:
    recipe = make(tokenizer, tmp_path, validation={"folds": 0, "diagnose": False}, finetune={"refit": False})
    _, _, measured = finish(recipe, tmp_path)
    assert (measured.explanations, measured.flips) == ({}, [])
    assert len(measured.seeds[0]) == len(measured.rows)
