"""The audit against cases one can count by hand."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from bongsu.errors import DataError
from bongsu.files import write_json
from bongsu.finetuning.audit import audit, label_errors, of_run, render
from bongsu.finetuning.data import Labelled, read_labelled
from bongsu.recipe import Finetune


@pytest.fixture
def data(tmp_path: Path) -> Labelled:
    rows = [f"{number},message number {number} about topic {number % 7} and place {number * 31},{number % 2}"
            for number in range(40)]  # fmt: skip
    mill = "near the old mill"
    rows += [f"90,Fire {mill},1", f"91,Fire {mill},0", f"92,fire {mill.upper()} http://t.co/x,1", "93,=SUM(A1),0"]
    path = tmp_path / "train.csv"
    path.write_text("id,text,target\n" + "\n".join(rows) + "\n")
    return read_labelled(Finetune(train=str(path)), str(path), {})


def test_groups_conflicts_and_twins(data: Labelled) -> None:
    found = audit(data, ["Fire near the old mill!", "nothing like it"])
    assert found.exact == found.conflicts == [[40, 41]]
    assert found.near == found.near_conflicts == [[40, 41, 42]]
    assert found.test_copies == found.test_twins == [0]
    rows = list(csv.DictReader(io.StringIO(render(found, data).decode())))
    assert [row["id"] for row in rows[:3]] == ["90", "91", "92"]
    assert all(row["correction"] == "" for row in rows)


def test_the_file_can_be_fed_back(data: Labelled, tmp_path: Path) -> None:
    lines = render(audit(data), data).decode().splitlines()
    edited = tmp_path / "audit.csv"
    edited.write_text("\n".join(line.replace("91,,", "91,drop,") for line in lines) + "\n")
    settings = Finetune(train=str(tmp_path / "train.csv"), corrections=str(edited))
    assert "91" not in read_labelled(settings, settings.train, {}).ids


def test_confident_learning_by_hand() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    table = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.95, 0.05]])
    # Means of the own class: (0.9 + 0.8 + 0.1) / 3 = 0.6 and (0.8 + 0.7 + 0.05) / 3 = 0.517.
    assert label_errors(labels, table).tolist() == [5, 2]
    assert label_errors(labels, np.full((6, 2), 0.5)).tolist() == []


def test_a_runs_probabilities_must_be_of_these_rows(data: Labelled, tmp_path: Path) -> None:
    path = tmp_path / "predictions.json"
    known = {"ids": data.ids, "classes": data.classes, "rows": [40], "probabilities": [[0.99, 0.01]]}
    write_json(path, known)
    assert audit(data, probabilities=of_run(path, data)).suspects == []  # a row alone is its own measure
    write_json(path, {**known, "ids": data.ids[1:]})
    with pytest.raises(DataError, match="other rows"):
        of_run(path, data)
