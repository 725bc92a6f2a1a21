"""The audit against cases one can count by hand."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_task import data_of, finish, make
from tokenizers import Tokenizer

from bongsu.errors import DataError
from bongsu.finetuning.audit import audit, label_errors, of_run, out_of_fold, render, summary
from bongsu.recipe import Classification
from bongsu.tasks.classification import ClassificationTask
from bongsu.tasks.task import Example

Read = tuple[ClassificationTask, list[Example[str]]]


def read(settings: Classification) -> Read:
    task = ClassificationTask(settings)
    examples = task.read(settings.train, {})
    task.schema = task.learn_schema(examples)
    return task, examples


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows = [f"{number},message number {number} about topic {number % 7} and place {number * 31},{number % 2}"
            for number in range(40)]  # fmt: skip
    mill = "near the old mill"
    rows += [f"90,Fire {mill},1", f"91,Fire {mill},0", f"92,fire {mill.upper()} http://t.co/x,1", "93,=SUM(A1),0"]
    path = tmp_path / "train.csv"
    path.write_text("id,text,target\n" + "\n".join(rows) + "\n")
    return path


@pytest.fixture
def labelled(file: Path) -> Read:
    return read(Classification(train=str(file)))


def test_groups_conflicts_and_near_duplicates(labelled: Read) -> None:
    task, examples = labelled
    found = audit(task, examples, ["Fire near the old mill!", "nothing like it"])
    assert found.exact == found.conflicts == [[40, 41]]
    assert found.near == found.near_conflicts == [[40, 41, 42]]
    assert found.test_copies == found.test_near_duplicates == [0]
    rows = list(csv.DictReader(io.StringIO(render(found, task, examples).decode())))
    assert [row["id"] for row in rows[:3]] == ["90", "91", "92"]
    assert all(row["correction"] == "" for row in rows)
    counts = {str(line[0]): line[1:] for line in summary(found, 2)}
    assert counts["texts that occur more than once"] == [1, 2]
    assert counts["near-duplicates (those above included)"] == [1, 3]
    assert counts["test rows with the same words here"] == ["", 1]


def test_the_file_can_be_fed_back(labelled: Read, file: Path, tmp_path: Path) -> None:
    task, examples = labelled
    lines = render(audit(task, examples), task, examples).decode().splitlines()
    edited = tmp_path / "audit.csv"
    edited.write_text("\n".join(line.replace("91,,", "91,drop,") for line in lines) + "\n")
    again = read(Classification(train=str(file), corrections=str(edited)))[1]
    assert {example.id for example in examples} - {example.id for example in again} == {"91"}


def test_confident_learning_by_hand() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    table = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.95, 0.05]])
    # Means of the own class: (0.9 + 0.8 + 0.1) / 3 = 0.6 and (0.8 + 0.7 + 0.05) / 3 = 0.517.
    assert label_errors(labels, table).tolist() == [5, 2]
    assert label_errors(labels, np.full((6, 2), 0.5)).tolist() == []


def test_a_label_that_was_changed_looks_wrong() -> None:
    texts = [f"{('fire in street', 'song about love')[n % 2]} {n * 17}" for n in range(60)]
    examples = [Example(str(n), (text,), (text,), text, str(n % 2)) for n, text in enumerate(texts)]
    examples[7] = replace(examples[7], target="0")
    task = ClassificationTask(Classification(train="x"))
    task.schema = task.learn_schema(examples)
    probabilities = out_of_fold(task, examples, np.arange(60), seed=0)
    np.testing.assert_allclose(probabilities.sum(axis=1), np.ones(60), atol=1e-6)
    assert audit(task, examples).suspects == [7]


def test_a_runs_probabilities_must_be_of_these_rows(tokenizer: Tokenizer, tmp_path: Path) -> None:
    work, _, measured = finish(make(tokenizer, tmp_path, validation={"diagnose": False}), tmp_path)
    examples = work.data.training
    table = of_run(work.data, tmp_path / "model", examples)
    np.testing.assert_array_equal(table[measured.rows], measured.seeds[0].values)
    assert len(measured.rows) == len(table) == 50
    found = audit(work.task, examples, probabilities=table)  # type: ignore[arg-type]
    assert found.suspects == label_errors(work.task.strata(examples), table).tolist()
    with pytest.raises(DataError, match="rows are others"):
        of_run(work.data, tmp_path / "model", examples[1:])


def test_rows_that_a_hold_out_did_not_measure_are_not_suspected(tokenizer: Tokenizer, tmp_path: Path) -> None:
    recipe = make(tokenizer, tmp_path, validation={"folds": 0})
    data = data_of(recipe, tmp_path)
    table = np.zeros((len(data.training), 2))
    table[3] = [0.01, 0.99]
    assert audit(data.task, data.training, probabilities=table).suspects == []  # type: ignore[arg-type]  # its own measure
