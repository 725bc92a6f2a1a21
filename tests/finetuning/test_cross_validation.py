"""Cross-validation: what a fold is trained on, what it leaves, and that it goes on from there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss
from tiny_task import data_of, make, work_of
from tokenizers import Tokenizer
from torch import nn

from bongsu.errors import DataError, RecipeError
from bongsu.finetuning.cross_validation import load_outputs, save_outputs
from bongsu.finetuning.trainable import predict
from bongsu.tasks.task import Calibration, Outputs

pytestmark = pytest.mark.slow


def test_no_fold_trains_on_what_it_measures_and_no_text_twice(tokenizer: Tokenizer, tmp_path: Path) -> None:
    work = work_of(make(tokenizer, tmp_path, validation={"folds": 3, "development": 0.2}), tmp_path)
    data = work.data
    text = [example.cleaned.lower() for example in data.training]
    assert sorted(row for _, held in data.splits for row in held.tolist()) == list(range(50))
    for fold, (train, held) in enumerate(data.splits):
        rows, development = work.rows(fold)
        assert sorted([*rows, *development]) == train.tolist()
        parts = [{text[row] for row in part} for part in (rows, development, held)]
        assert all(parts)
        assert not parts[0] & parts[1]
        assert not parts[0] & parts[2]
        assert not parts[1] & parts[2]
        training = work.training(data.take(rows), data.take(development), 0)
        shown = [example.cleaned.lower() for example in training.training]
        assert len(shown) == len(set(shown))
        assert set(shown) == parts[0]


def test_without_a_development_split_a_fold_trains_on_all_its_rows(tokenizer: Tokenizer, tmp_path: Path) -> None:
    work = work_of(make(tokenizer, tmp_path, finetune={"patience": "none"}, validation={"development": 0.0}), tmp_path)
    for fold, (train, _) in enumerate(work.data.splits):
        rows, development = work.rows(fold)
        assert np.array_equal(rows, train)
        assert len(development) == 0
    work.run()
    found = work.load()[0]
    assert [len(fold.development) for fold in found] == [0] * len(found)
    assert [fold.result.epochs for fold in found] == [1.0] * len(found)


def test_each_seed_of_each_fold_is_measured_on_the_rows_held_out(tokenizer: Tokenizer, tmp_path: Path) -> None:
    recipe = make(tokenizer, tmp_path, finetune={"learning_rate": 0.01}, validation={"seeds": 2})
    work = work_of(recipe, tmp_path)
    work.run()
    found = work.load()
    assert [len(seed) for seed in found] == [3, 3]
    assert {path.name for path in (tmp_path / "folds").iterdir()} == {
        f"fold-{fold}{seed}" for fold in range(3) for seed in ("", "-seed-1")
    }
    neutral = Calibration()
    for seed, folds in enumerate(found):
        for number, fold in enumerate(folds):
            held_out = work.data.take(work.data.splits[number][1])
            assert (fold.result.fold, fold.result.seed) == (number, seed)
            assert fold.held_out.values.shape == (len(held_out), 2)
            assert np.array_equal(fold.development_rows, work.rows(number)[1])
            table = work.task.probabilities(fold.held_out, neutral).values
            labels = work.data.task.strata(held_out)
            assert fold.result.metrics["accuracy"] == pytest.approx(accuracy_score(labels, table[:, 1] >= 0.5))
            assert fold.result.metrics["loss"] == pytest.approx(log_loss(labels, table, labels=[0, 1]), rel=1e-5)
            # The model a fold was measured with can be had again.
            model = work.best_model(fold.result)
            again = predict(work.task, model, work.tokenizer, held_out)
            np.testing.assert_allclose(again.values, fold.held_out.values, atol=1e-6)
            development = predict(work.task, model, work.tokenizer, work.data.take(fold.development_rows))
            np.testing.assert_allclose(development.values, fold.development.values, atol=1e-6)
    for one, other in zip(*found, strict=True):
        assert not np.array_equal(one.held_out.values, other.held_out.values)


def test_the_labels_of_the_rows_measured_on_change_nothing(tokenizer: Tokenizer, tmp_path: Path) -> None:
    recipe = make(tokenizer, tmp_path, finetune={"learning_rate": 0.01}, validation={"folds": 0, "holdout": 0.3})
    said = []
    data = data_of(recipe, tmp_path)
    flipped = list(data.training)
    for row in data.splits[0][1].tolist():
        flipped[row] = replace(flipped[row], target={"0": "1", "1": "0"}[flipped[row].target])
    for name, rows in (("one", data.training), ("other", flipped)):
        work = work_of(recipe, tmp_path, replace(data, training=rows))
        work.folder = tmp_path / name
        work.run()
        said.append(work.load()[0][0])
    assert np.array_equal(said[0].held_out.values, said[1].held_out.values)
    assert said[0].result.metrics["accuracy"] == pytest.approx(1 - said[1].result.metrics["accuracy"])


def test_what_is_done_is_not_done_again_and_what_is_not_is(tokenizer: Tokenizer, tmp_path: Path) -> None:
    recipe = make(tokenizer, tmp_path)
    work = work_of(recipe, tmp_path)
    work.run()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "folds").rglob("*") if path.is_file()}
    outputs = work.load()[0][1].held_out.values
    (tmp_path / "folds" / "fold-1" / "result.json").unlink()
    work_of(recipe, tmp_path, work.data).run()
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "folds").rglob("*") if path.is_file()}
    assert after.keys() == before.keys()
    changed = {path.parts[path.parts.index("folds") + 1] for path in after if after[path] != before[path]}
    assert changed == {"fold-1"}
    np.testing.assert_array_equal(work.load()[0][1].held_out.values, outputs)


@pytest.mark.parametrize(("metric", "monitored", "higher"), [(None, "accuracy", True), ("loss", "loss", False)])
def test_the_metric_to_stop_by_is_the_main_one_or_the_one_named(
    tokenizer: Tokenizer, tmp_path: Path, metric: str | None, monitored: str, higher: bool
) -> None:
    work = work_of(make(tokenizer, tmp_path, finetune={"epochs": 4}, validation={"metric": metric}), tmp_path)
    training = work.training(work.data.training, [], 0)
    plan = work.plan(training, "x")
    assert (plan.monitor, plan.higher_is_better) == (monitored, higher)
    assert plan.steps == 4 * training.batches_per_epoch
    assert plan.evaluate_every == training.batches_per_epoch


def test_says_what_the_recipe_alone_cannot_tell(tokenizer: Tokenizer, tmp_path: Path) -> None:
    work = work_of(make(tokenizer, tmp_path, validation={"metric": "f2"}), tmp_path)
    with pytest.raises(RecipeError, match=r"validation\.metric: 'f2'; a classification task has accuracy, f1, roc_auc, loss"):
        work.run()
    work = work_of(make(tokenizer, tmp_path, task={"max_length": 33}), tmp_path)
    with pytest.raises(RecipeError, match=r"task\.max_length: 33 is more than the encoder's 32 positions"):
        work.start(0)
    contradicting = [work.data.training[0], replace(work.data.training[0], target="0")]
    work = work_of(make(tokenizer, tmp_path), tmp_path)
    with pytest.raises(DataError, match="No row is left to train on"):
        work.training(contradicting, [], 0)


def test_a_model_starts_as_the_recipe_says(tokenizer: Tokenizer, tmp_path: Path) -> None:
    recipe = make(tokenizer, tmp_path, finetune={"freeze": True, "encoder_dropout": 0.25})
    model = work_of(recipe, tmp_path).start(0)
    assert {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad} == {"head"}
    assert {part.p for part in model.encoder.modules() if isinstance(part, nn.Dropout)} == {0.25}
    with pytest.raises(RecipeError, match="no layer"):
        work_of(make(tokenizer, tmp_path, finetune={"remove_last": 1}), tmp_path).start(0)


def test_outputs_come_back_from_files(tmp_path: Path) -> None:
    tables = [np.arange(6.0).reshape(3, 2), np.zeros((0, 2)), np.ones((1, 2))]
    save_outputs(tmp_path / "some", Outputs.of_tables(tables, 2))
    again = load_outputs(tmp_path / "some")
    assert [table.tolist() for table in again.tables()] == [table.tolist() for table in tables]
    assert [table.tolist() for table in again.take(np.array([2, 0])).tables()] == [tables[2].tolist(), tables[0].tolist()]


def test_interpolated_weights_lie_between_the_start_and_the_tuned_encoder(tokenizer: Tokenizer, tmp_path: Path) -> None:
    weights = []
    for name, share in (("tuned", 1.0), ("between", 0.8)):
        recipe = make(tokenizer, tmp_path, finetune={"learning_rate": 0.01, "interpolation": share})
        work = work_of(recipe, tmp_path)
        work.folder = tmp_path / name
        work.run()
        model = work.best_model(work.load()[0][0].result)
        weights.append({key: value.detach() for key, value in model.encoder.named_parameters()})
        assert not torch.equal(model.head.linear.weight, work.start(0).head.linear.weight)
    for name, start in work.start(0).encoder.named_parameters():
        torch.testing.assert_close(weights[1][name], 0.8 * weights[0][name] + 0.2 * start.detach())
