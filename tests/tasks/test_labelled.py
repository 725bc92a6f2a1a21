"""Labelled files and their splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bongsu.errors import DataError, RecipeError
from bongsu.recipe import Finetune
from bongsu.tasks.labelled import check_columns, folds, groups_of, hold_out, read_labelled


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_reads_labels_and_context(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.csv", "id,keyword,text,target\n7,forest%20fire,Smoke &amp; flames http://t.co/x,1\n8,,I love fruits,0\n"
    )
    data = read_labelled(Finetune(train=file, context=["keyword"]), file, {})
    assert data.texts == ["forest fire | Smoke & flames [LINK]", "I love fruits"]
    assert data.ids == ["7", "8"]
    assert data.classes == ["0", "1"]
    assert data.labels.tolist() == [1, 0]


def test_the_positive_class_comes_last(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "text,target\none,alarm\ntwo,other\n")
    assert read_labelled(Finetune(train=file, positive="alarm"), file, {}).classes == ["other", "alarm"]
    with pytest.raises(RecipeError, match="alarm, other"):
        read_labelled(Finetune(train=file, positive="fire"), file, {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,label\na,1\n", "there is no column 'target'; the columns are text, label"),
        ("text,target\na,1\nb,1\n", "one label only"),
        ("text,target\n", "not one text|no labelled row"),
        ("", "empty"),
    ],
)
def test_says_what_is_wrong(tmp_path: Path, content: str, message: str) -> None:
    file = write(tmp_path / "a.csv", content)
    with pytest.raises(DataError, match=message):
        read_labelled(Finetune(train=file), file, {})


def test_a_missing_column_is_found_before_training(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "text,target\na,1\n")
    with pytest.raises(DataError, match="keyword"):
        check_columns(Finetune(train=file, context=["keyword"]))


def test_near_twins_share_a_group() -> None:
    texts = [
        "Forest fire near La Ronge, residents leave their homes http://t.co/a",
        "forest FIRE near La Ronge! residents leave their homes http://t.co/b @you",
        "The committee met on Tuesday to speak about parking",
    ]
    groups = groups_of(texts)
    assert groups[0] == groups[1] != groups[2]


@given(seed=st.integers(0, 1000), count=st.integers(2, 5), rows=st.integers(40, 120))
@settings(max_examples=25, deadline=None)
def test_folds_cover_every_row_once_and_split_no_group(seed: int, count: int, rows: int) -> None:
    generator = np.random.default_rng(seed)
    labels = np.arange(rows) % 2
    groups = generator.integers(0, rows // 2, rows)
    parts = folds(labels, groups, count, seed)
    assert sorted(np.concatenate([held for _, held in parts]).tolist()) == list(range(rows))
    for train, held in parts:
        assert not set(groups[train]) & set(groups[held])
        assert sorted([*train, *held]) == list(range(rows))
    train, held = hold_out(labels, groups, 0.2, seed)
    assert not set(groups[train]) & set(groups[held])
    assert 0 < len(held) < 0.5 * rows
