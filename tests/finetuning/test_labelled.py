"""Labelled files."""

from __future__ import annotations

from pathlib import Path

import pytest

from bongsu.errors import DataError, RecipeError
from bongsu.finetuning.data import check_columns, read_extra, read_labelled
from bongsu.recipe import Finetune, parse_recipe


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


def test_labels_may_be_numbers_in_a_recipe(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "text,target\none,1\ntwo,0\n")
    tree = {"finetune": {"train": file, "encoder": "x", "positive": 0, "names": {"0": 7}}}
    settings = parse_recipe(tree).finetune
    assert settings is not None
    assert read_labelled(settings, file, {}).classes == ["1", "0"]
    assert settings.names == {"0": "7"}


def test_corrections_change_and_drop_rows(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "id,text,target\n7,one,1\n8,two,0\n9,three,0\n")
    fixed = write(tmp_path / "fixed.csv", "id,correction,text\n8,1,two\n7,drop,one\n9,,three\n")
    data = read_labelled(Finetune(train=file, corrections=fixed), file, {})
    assert (data.ids, data.labels.tolist(), data.classes) == (["8", "9"], [1, 0], ["0", "1"])
    wrong = write(tmp_path / "wrong.csv", "id,correction\n5,1\n")
    with pytest.raises(DataError, match="no row with id '5'"):
        read_labelled(Finetune(train=file, corrections=wrong), file, {})


def test_labels_of_kaggles_test_rows_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "_unit_id,choose_one,text,target\n1,Relevant,a,1\n2,Not Relevant,b,0\n")
    check_columns(Finetune(train=file))
    with pytest.raises(DataError, match="Kaggle drew its test rows from"):
        check_columns(Finetune(train=file), kaggle=True)


def test_labels_of_another_file_are_mapped(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "tweet,kind\nA flood!,on-topic\nA joke,off-topic\nWho knows,unclear\n")
    extra = {"path": file, "text": "tweet", "label": "kind", "labels": {"on-topic": "1", "off-topic": "0"}}
    texts, labels = read_extra(Finetune(train="x", extra=[extra]), ["0", "1"])
    assert (texts, labels.tolist()) == (["A flood!", "A joke"], [1, 0])
    with pytest.raises(DataError, match="'2' is not one of the labels 0, 1"):
        read_extra(Finetune(train="x", extra=[{**extra, "labels": {"on-topic": "2"}}]), ["0", "1"])
    with pytest.raises(DataError, match="no row has a label among"):
        read_extra(Finetune(train="x", extra=[{**extra, "labels": {}}]), ["0", "1"])
