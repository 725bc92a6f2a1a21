"""Folds that cannot be are refused before anything is trained, naming class and fold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_task import data_of, make, work_of
from tokenizers import Tokenizer

from bongsu.errors import DataError
from bongsu.files import read_json
from bongsu.finetuning.data import Data
from bongsu.finetuning.splits import folds

TOPICS = ["fire", "flood", "quake", "storm", "joke", "song", "film", "game"]


def text(number: int) -> str:
    """Return a text that is no near-duplicate of another."""
    draw = np.random.default_rng(number)
    return " ".join("".join(draw.choice(list("abcdefghijklmnop"), 7)) for _ in range(8))


def data(tokenizer: Tokenizer, folder: Path, rows: list[tuple[str, str, str]], **sections: dict[str, Any]) -> Data:
    """Return the data of rows of (text, class, event)."""
    recipe = make(tokenizer, folder, **sections)
    content = "".join(f"{words},{label},{event}\n" for words, label, event in rows)
    (folder / "train.csv").write_text(f"text,target,event\n{content}")
    return data_of(recipe, folder)


def test_copies_of_one_text_are_no_class_to_measure(tokenizer: Tokenizer, tmp_path: Path) -> None:
    rows = [(text(n), "no", "") for n in range(20)] + [("THE SAME ALARM over and over again", "alarm", "")] * 9
    with pytest.raises(DataError, match=r"validation\.folds: class 'alarm' has 9 rows, 1 without near-duplicates; too few"):
        data(tokenizer, tmp_path, rows)
    with pytest.raises(DataError, match="class 'alarm' has 9 rows that are near-duplicates of each other; nothing of it"):
        data(tokenizer, tmp_path, rows, validation={"folds": 0})


def test_as_many_groups_as_folds_leave_no_fold_empty() -> None:
    for seed in range(20):
        sizes = np.random.default_rng(seed).integers(1, 9, 5)
        groups = np.repeat(np.arange(5), sizes)
        parts = folds(np.arange(len(groups)) % 2, groups, 5, seed, every_label=False)
        assert sorted(np.concatenate([held for _, held in parts]).tolist()) == list(range(len(groups)))
        assert all(len(held) for _, held in parts)


def test_every_fold_has_every_class_that_has_enough_texts() -> None:
    for seed in range(30):
        draw = np.random.default_rng(seed)
        groups = np.concatenate(
            [np.repeat(np.arange(4), draw.integers(1, 30, 4)), 4 + np.repeat(np.arange(6), draw.integers(1, 9, 6))]
        )
        labels = (groups >= 4).astype(np.int64)
        for train, held in folds(labels, groups, 4, seed, ["a", "b"]):
            assert set(labels[held].tolist()) == set(labels[train].tolist()) == {0, 1}
            assert not set(groups[train]) & set(groups[held])


def test_a_class_of_one_event_is_refused_by_name(
    tokenizer: Tokenizer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    leave_out = {"validation": {"leave_out": "event", "folds": 4}}
    rows = [(text(n), ("yes", "no")[n % 2], TOPICS[n % 4]) for n in range(24)]
    alone = [(text(100 + n), "odd", "flood") for n in range(6)]
    with pytest.raises(DataError, match=r"fold 2 of 4 \(event: flood\) has no row of class 'odd' to train on"):
        data(tokenizer, tmp_path, [*rows, *alone], **leave_out)
    capfd.readouterr()
    made = data(tokenizer, tmp_path, rows, **leave_out)  # an event has one class, and each class two events
    assert len(made.splits) == 4
    said = " ".join(capfd.readouterr().err.split())
    assert "fold 1 of 4 (event: fire) measures no row of class 'no'; such folds are not stratified" in said
    with pytest.raises(DataError, match=r"fold 1 of 2 \(event: fire\) has no row of class 'yes' to train on"):
        data(tokenizer, tmp_path, [row for row in rows if row[2] in ("fire", "flood")], **leave_out)


def test_contradicting_copies_are_no_class_to_train_on(tokenizer: Tokenizer, tmp_path: Path) -> None:
    rows = [(text(n), "no", "") for n in range(12)]
    rows += [(text(100 + n), label, "") for n in range(4) for label in ("no", "yes")]
    with pytest.raises(DataError, match=r"fold 1 of 3 has no row of class 'yes' to train on .copies of a text count once"):
        data(tokenizer, tmp_path, rows)


def test_a_development_split_that_cannot_be_is_found_before_training(tokenizer: Tokenizer, tmp_path: Path) -> None:
    rows = [(text(n), ("yes", "no")[n % 2], TOPICS[n % 4]) for n in range(24)]
    rows += [(text(100), "odd", "fire"), (text(101), "odd", "flood")]
    made = data(tokenizer, tmp_path, rows, validation={"leave_out": "event", "folds": 4})
    recipe = make(tokenizer, tmp_path, validation={"leave_out": "event", "folds": 4})
    work = work_of(recipe, tmp_path, made)
    with pytest.raises(
        DataError, match=r"development: of the rows that fold 1 of 4 trains on, class 'odd' has 1 row; .* Set it to 0"
    ):
        work.run()
    assert not list((tmp_path / "folds").iterdir())


def test_what_became_of_the_rows_stands_in_the_folder(tokenizer: Tokenizer, tmp_path: Path) -> None:
    test = tmp_path / "test.csv"
    test.write_bytes("text;target\n불;1\n홍수;\n".encode("cp949"))
    recipe = make(tokenizer, tmp_path, task={"test": str(test)})
    with open(tmp_path / "train.csv", "a") as file:
        file.write("one cell\n,1\nno label,\n\n")
    made = data_of(recipe, tmp_path)
    rows = read_json(tmp_path / "data" / "rows.json")
    assert (rows["train"]["rows"], rows["train"]["used"]) == (54, len(made.training))
    assert rows["train"]["dropped"] == {"wrong number of cells": 1, "no text": 1, "no label": 1, "blank line": 1}
    assert rows["train"]["bad_examples"][0].endswith("train.csv:52: wrong number of cells: 1 instead of 2")
    assert (rows["test"]["rows"], rows["test"]["used"], rows["test"]["dropped"]) == (2, len(made.test), {"no label": 1})
    assert rows["test"]["assumed"] == {str(test): "read as cp949, cells are separated by semicolons"}
    assert rows["test"]["path"] == str(test)
