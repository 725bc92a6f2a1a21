"""The command line, as a user meets it."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import call

from bongsu.errors import DataError
from bongsu.pipeline.predicting import check_ids, render
from bongsu.printable import unformula
from bongsu.recipe import Classification
from bongsu.tasks.classification import ClassificationTask, Prediction
from bongsu.tasks.task import Schema

TASK = ClassificationTask(Classification(train="x"), Schema(["0", "1"]))


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (["run", "nothere.toml"], "no such recipe. Paths are relative to the current folder", 1),
        (["run", "empty"], "has nothing to run", 1),
        (["run", "study.toml"], "a study, not a recipe: bongsu tune study.toml", 1),
        (["run", "few.toml", "--set", "finetune.device=nothere"], "finetune.device: 'nothere' cannot be used", 1),
        (["run", "few.toml", "--out", "empty"], "what should be a folder here is a file", 1),
        (["tune", "few.toml"], "a recipe, not a study: bongsu run few.toml", 1),
        (["predict", "nothere", "hello"], "no such folder", 1),
        (["predict", "folder", "hello"], "neither a run's folder (recipe.toml) nor a bundle", 1),
        (["predict", "few.csv", "--output", "folder"], "folder: is a folder; name a file", 1),
        (["predict", "few.csv", "--delimiter", "abc"], "delimiter: give one character", 1),
        (["predict", " "], "A message is empty", 1),
        (["predict", "empty.csv"], "nothing to read; it is empty", 1),
        (["predict", "picture.csv"], "by its first bytes this is a PNG file; save what is to be read as text", 1),
        (["watch", "picture.csv"], "by its first bytes this is a PNG file", 1),
        (["init", "few.csv", "--test", "nothere.csv"], "nothere.csv: no such file", 1),
        (["audit", "few.csv", "--output", "folder"], "folder: is a folder", 1),
        (["serve", "few.csv"], "few.csv: a file, and no folder with a model", 1),
        (["serve", "folder"], "folder: neither a run's folder (recipe.toml) nor a bundle", 1),
        (["alerts", "few.csv"], "not a store of `bongsu watch`. Name one", 1),
        (["alerts", "folder"], "folder: a folder; name the file", 1),
        (["label", "folder"], "folder: is a folder", 1),
        (["embed", "--input", "few.csv", "--query", ""], "--query: is empty", 1),
        (["predict", "nothere", "--format", "xml", "hello"], "one of jsonl, csv, kaggle", 1),
        (["export", "nothere"], "no such folder", 1),
        (["export", "nothere", "--to", "hf", "--int8"], "is for --to onnx", 1),
        (["export", "nothere", "--to", "pickle"], "is not one of", 2),
        (["import", "nothere", "--out", "there"], "no such file", 1),
        (["frobnicate"], "No such command", 2),
    ],
)
def test_errors_have_no_traceback(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    words: list[str],
    message: str,
    code: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "empty.csv"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "few.csv").write_text("id,text,target\n1,the river rose,1\n2,a quiet day,0\n")
    (tmp_path / "few.toml").write_text('[task]\ntrain = "few.csv"\n[finetune]\nencoder = "bongsu:beacon"\n')
    (tmp_path / "study.toml").write_text('recipe = "few.toml"\nobjective = "finetune.accuracy"\n[space]\n')
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    assert call(monkeypatch, *words) == code
    shown = capfd.readouterr().err
    assert message in " ".join(shown.split())
    assert "Traceback" not in shown


def test_help_loads_no_heavy_package() -> None:
    code = (
        "import sys, bongsu.cli; print([name for name in ('torch', 'pyarrow', 'sklearn', 'matplotlib') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_kaggle_file_is_exactly_id_and_target() -> None:
    predictions = [Prediction("disaster", 0.9, "1", {}), Prediction("other", 0.2, "0", {})]
    assert render(TASK, ["0", "2"], [["a"], ["b"]], predictions, "kaggle") == b"id,target\n0,1\n2,0\n"


def test_cells_of_a_csv_are_no_formulas() -> None:
    text = '=HYPERLINK("http://evil"),\n"quoted"'
    rows = list(csv.reader(io.StringIO(render(TASK, ["1"], [[text]], [Prediction("other", 0.5, "0", {})], "csv").decode())))
    assert rows[1][1] == "'" + text
    formulas = ["@x", "\tx", "+82-10", "-1+2", "=1", "-a"]
    assert [unformula(cell) for cell in formulas] == [f"'{cell}" for cell in formulas]
    others = ["-1", "+1", "-0.5", "-.5", "1e-3", "-1e5", "plain", ""]
    assert [unformula(cell) for cell in others] == others


def test_ids_are_checked_against_the_sample(tmp_path: Path) -> None:
    sample = tmp_path / "sample.csv"
    sample.write_text("id,target\n0,0\n2,0\n")
    check_ids(["2", "0"], "test.csv", str(sample))
    for ids, message in ((["0"], "id 2"), (["0", "2", "3"], "id 3"), (["0", "0"], "twice")):
        with pytest.raises(DataError, match=message):
            check_ids(ids, "test.csv", str(sample))
