"""Cells of CSV files that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bongsu.finetuning.audit import audit, render
from bongsu.printable import reformula, unformula
from bongsu.recipe import Classification
from bongsu.tasks.classification import ClassificationTask


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1+1", "-x", "@x", "\tx", "\rx", "\n=1", " =1", "＝1", "＋1", "－1", "＠x", "\u3000＝1", "'=1"]
)
def test_a_formula_becomes_text(cell: str) -> None:
    assert unformula(cell) == "'" + cell


@pytest.mark.parametrize("cell", ["", "plain", "1=1", "0.5", "+1", "-1", "-1e3", "'quoted'", "(=1)", "불이 났다", " x"])
def test_other_cells_stay(cell: str) -> None:
    assert unformula(cell) == cell


@given(st.text(st.sampled_from("'=+-@＝\t\n\r a1")))
def test_the_apostrophe_is_taken_away_again(cell: str) -> None:
    assert reformula(unformula(cell)) == cell
    assert unformula(unformula(cell)[1:]) == unformula(cell) or unformula(cell) == cell


def test_an_audit_holds_no_formula_and_is_read_back(tmp_path: Path) -> None:
    labels = ["－good", "=bad"]
    rows = [[f"={number}", f"＝HYPERLINK(1) number {number % 20} of {number % 3}", labels[number % 2]] for number in range(40)]
    file, edited = tmp_path / "train.csv", tmp_path / "audit.csv"
    with open(file, "w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([["id", "text", "target"], *rows])
    settings = Classification(train=str(file))
    task = ClassificationTask(settings)
    examples = task.read(str(file), {})
    task.schema = task.learn_schema(examples)
    table = list(csv.DictReader(io.StringIO(render(audit(task, examples), task, examples).decode())))
    assert len(table) == 40
    assert all(cell[:1] not in tuple("=+-@＝＋－＠") for row in table for cell in row.values())
    assert {row["id"][:2] for row in table} == {"'="}
    table[0]["correction"], table[1]["correction"] = "drop", table[0]["label"]
    with open(edited, "w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    again = ClassificationTask(settings.model_copy(update={"corrections": str(edited)})).read(str(file), {})
    targets = {example.id: example.target for example in again}
    assert table[0]["id"][1:] not in targets
    assert targets[table[1]["id"][1:]] == table[0]["label"][1:]
    assert len(targets) == 39
