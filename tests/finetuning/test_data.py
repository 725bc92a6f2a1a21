"""The rows of a run: there and back, and what is found before hours of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_task import data_of, make
from tokenizers import Tokenizer

from bongsu.errors import DataError
from bongsu.finetuning.data import check_columns
from bongsu.finetuning.splits import near_duplicate_groups, protocol_splits
from bongsu.recipe import Recipe, parse_recipe
from bongsu.tasks.registry import build_task


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def recipe_of(train: str, predict: dict[str, Any] | None = None, **task: Any) -> Recipe:
    return parse_recipe({"task": {"train": train, **task}, "finetune": {"encoder": "x"}, "predict": predict})


def test_what_is_written_is_what_was_read(tokenizer: Tokenizer, tmp_path: Path) -> None:
    test = write(tmp_path / "test.csv", 'text,target,place\n"a ""quoted""\nflood",1,서울\nsong,0,\n')
    recipe = make(tokenizer, tmp_path, task={"test": test, "positive": "0"})
    assert recipe.task is not None
    data = data_of(recipe, tmp_path)
    task = build_task(recipe.task)
    assert data.training == task.read(recipe.task.train, {})
    assert data.test == task.read(test, {})
    assert data.task.schema.labels == ["1", "0"]
    assert np.array_equal(data.groups, near_duplicate_groups([example.cleaned for example in data.training]))
    expected = protocol_splits(recipe.validation, data.task.strata(data.training), [], data.groups, recipe.seed)
    for found, wanted in zip(data.splits, expected, strict=True):
        assert all(np.array_equal(one, other) for one, other in zip(found, wanted, strict=True))
    assert isinstance(data.training[0].inputs, tuple)
    assert data.take(np.array([3, 1])) == [data.training[3], data.training[1]]


def test_a_column_can_be_left_out_in_the_folds(tokenizer: Tokenizer, tmp_path: Path) -> None:
    recipe = make(tokenizer, tmp_path, validation={"leave_out": "place", "folds": 4})
    rows = [f"text {n * 13} of {n},{n % 2},{('north', 'south', 'east')[n % 3]}" for n in range(30)]
    write(tmp_path / "train.csv", "text,target,place\n" + "\n".join(rows))
    data = data_of(recipe, tmp_path)
    assert [{data.training[row].group for row in held} for _, held in data.splits] == [{"east"}, {"north"}, {"south"}]


def test_no_test_file_is_no_test_row(tokenizer: Tokenizer, tmp_path: Path) -> None:
    assert data_of(make(tokenizer, tmp_path), tmp_path).test == []


def test_a_test_file_with_another_label_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    test = write(tmp_path / "test.csv", "text,target\na,1\nb,2\n")
    with pytest.raises(DataError, match=r"test\.csv: label '2'"):
        data_of(make(tokenizer, tmp_path, task={"test": test}), tmp_path)


def test_too_few_rows_to_measure_on_are_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    recipe = make(tokenizer, tmp_path)
    write(tmp_path / "train.csv", "text,target\n" + "".join(f"text {n},{int(n < 2)}\n" for n in range(20)))
    with pytest.raises(DataError, match=r"validation\.folds: class '1' has 2 rows"):
        data_of(recipe, tmp_path)


@pytest.mark.parametrize("where", ["train", "test"])
def test_a_missing_column_is_found_before_training(tmp_path: Path, where: str) -> None:
    files = {name: write(tmp_path / f"{name}.csv", "text,target,keyword\na,1,x\n") for name in ("train", "test")}
    check_columns(recipe_of(files["train"], test=files["test"], context=["keyword"]))
    write(tmp_path / f"{where}.csv", "text,target\na,1\n")
    with pytest.raises(DataError, match=rf"{where}\.csv: there is no column 'keyword'"):
        check_columns(recipe_of(files["train"], test=files["test"], context=["keyword"]))


def test_a_missing_column_to_leave_out_is_found_too(tmp_path: Path) -> None:
    recipe = recipe_of(write(tmp_path / "a.csv", "text,target\na,1\n"))
    recipe = recipe.model_copy(update={"validation": recipe.validation.model_copy(update={"leave_out": "event"})})
    with pytest.raises(DataError, match="no column 'event'"):
        check_columns(recipe)


def test_labels_of_kaggles_test_rows_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "_unit_id,choose_one,text,target\n1,Relevant,a,1\n2,Not Relevant,b,0\n")
    check_columns(recipe_of(file))
    check_columns(recipe_of(file, {"input": "test.csv"}))
    with pytest.raises(DataError, match="Kaggle drew its test rows from"):
        check_columns(recipe_of(file, {"input": "test.csv", "format": "kaggle"}))
