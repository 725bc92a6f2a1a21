"""A search goes on only while the files of its trials stay the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomli_w

from bongsu.errors import WorkspaceError
from bongsu.files import read_json
from bongsu.search.ledger import Ledger
from bongsu.search.study import load_study
from bongsu.search.tuning import _claim


def ledger(folder: Path, space: dict[str, Any], train: Path, corpus: Path) -> Ledger:
    recipe = {
        "corpus": {"sources": [{"path": str(corpus)}]},
        "tokenizer": {"vocab_size": 500},
        "model": {"d_model": 16, "n_layers": 1, "n_heads": 2},
        "pretrain": {"steps": 4},
        "task": {"train": str(train)},
    }
    (folder / "recipe.toml").write_text(tomli_w.dumps(recipe))
    study = {"name": "s", "recipe": str(folder / "recipe.toml"), "objective": "finetune.accuracy", "space": space}
    (folder / "study.toml").write_text(tomli_w.dumps(study))
    return Ledger(load_study(folder / "study.toml"), folder / "out", 4e9, "cpu")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Two labelled files and a folder of text."""
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("one\ntwo\n")
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text(f"text,target\n{name},1\nx,0\n")
    return tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "text"


def test_a_labelled_file_that_changed_is_refused_by_name(tmp_path: Path, files: tuple[Path, Path, Path]) -> None:
    train, _, corpus = files
    space = {"finetune.learning_rate": [1e-3, 2e-3]}
    _claim(ledger(tmp_path, space, train, corpus))
    before = read_json(tmp_path / "out" / "study.json")["files"]
    _claim(ledger(tmp_path, {"finetune.learning_rate": [1e-3, 5e-3]}, train, corpus))  # other values of a setting may be tried
    assert read_json(tmp_path / "out" / "study.json")["files"] == before
    train.write_text(train.read_text() + "more,1\n")
    with pytest.raises(WorkspaceError, match=r"a\.csv has changed since trials were run here"):
        _claim(ledger(tmp_path, space, train, corpus))
    assert read_json(tmp_path / "out" / "study.json")["files"] == before


def test_a_folder_with_another_file_is_refused(tmp_path: Path, files: tuple[Path, Path, Path]) -> None:
    train, _, corpus = files
    space = {"finetune.learning_rate": [1e-3, 2e-3]}
    _claim(ledger(tmp_path, space, train, corpus))
    (corpus / "b.txt").write_text("three\n")
    with pytest.raises(WorkspaceError, match="text has changed"):
        _claim(ledger(tmp_path, space, train, corpus))


def test_files_that_the_space_names_count(tmp_path: Path, files: tuple[Path, Path, Path]) -> None:
    train, other, corpus = files
    one, both = {"task.train": [str(train)]}, {"task.train": [str(train), str(other)]}
    _claim(ledger(tmp_path, one, train, corpus))
    _claim(ledger(tmp_path, both, train, corpus))  # a file that no trial was run on may join
    assert set(read_json(tmp_path / "out" / "study.json")["files"]) == {str(train), str(other), str(corpus)}
    other.write_text("text,target\ny,1\nz,0\n")
    with pytest.raises(WorkspaceError, match=r"b\.csv has changed"):
        _claim(ledger(tmp_path, both, train, corpus))
