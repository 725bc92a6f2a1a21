"""`bongsu label` on files and stores, with keys from a pipe."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bongsu.cli import app
from bongsu.errors import BongsuError, DataError
from bongsu.labelling.store import Asked, LabelStore

TERMINAL = CliRunner()


def run(*arguments: object, keys: str = "") -> str:
    found = TERMINAL.invoke(app, ["label", *map(str, arguments)], input=keys)
    if found.exception is not None:
        raise found.exception
    return found.stdout


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def messages(tmp_path: Path, sentences: list[str]) -> Path:
    path = tmp_path / "messages.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        writer.writerows([number, text] for number, text in enumerate(sentences[300:360]))
    return path


def test_messages_of_a_file_are_labelled_key_by_key(messages: Path, with_features: Path, tmp_path: Path) -> None:
    said = run(messages, "--model", with_features, "--by", "kim", keys="dnsu" + "ㅇㅜ" + "d" * 10 + "q")
    assert said.count("disaster") >= 11
    labels = LabelStore(tmp_path / "messages.csv.labels.db")
    assert [each.label for each in labels.labels()][:4] == [1, 0, 1, 0]
    assert {each.by for each in labels.labels()} == {"kim"}
    assert labels._all("SELECT labels FROM versions") == [(10,)]
    labels.close()
    assert "* 0  as it was exported" in run(messages, "--versions")
    assert "* 1  10 labels: not judged yet" in run(messages, "--use", 1, "--by", "lee")
    assert run(tmp_path / "messages.csv.labels.db", "--versions") == run(messages, "--versions")
    with pytest.raises(BongsuError, match="there are 0, 1"):
        run(messages, "--use", 2)
    output = tmp_path / "rows.csv"
    run(messages, "--model", with_features, "--output", output, "--event", "mokpo")
    rows = rows_of(output)
    assert len(rows) == 14
    assert [row["target"] for row in rows[:4]] == ["1", "0", "1", "0"]
    assert {row["event"] for row in rows} == {"mokpo"}


def test_a_spreadsheet_can_be_used(messages: Path, with_features: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.csv"
    run(messages, "--model", with_features, "--to-label", sheet, "--count", 8)
    rows = rows_of(sheet)
    assert len(rows) == 8
    assert {row["drawn"] for row in rows} == {"random", "doubtful"}
    for number, row in enumerate(rows):
        row["label"] = ["disaster", "0", "skip", ""][number % 4]
    with open(sheet, "w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    run(messages, "--model", with_features, "--input", sheet)
    labels = LabelStore(tmp_path / "messages.csv.labels.db").labels()
    assert [(each.asked.id, each.label) for each in labels] == [
        (row["id"], {"disaster": 1, "0": 0, "skip": None}[row["label"]]) for row in rows if row["label"]
    ]
    assert all(each.asked.base is not None for each in labels)
    rows[0]["label"] = "perhaps"
    with open(sheet, "w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(DataError, match=r"sheet\.csv:.*'perhaps'"):
        run(messages, "--model", with_features, "--input", sheet)


def test_the_queue_of_a_watch_is_labelled_from_another_terminal(tmp_path: Path) -> None:
    path = tmp_path / "watch.db"
    store = LabelStore(path)
    store.show([Asked("s", str(n), "", f"=text {n}", 1.0, "random", "v", 0.5, 0.5, None) for n in range(4)])
    said = run(path, "--by", "lee", keys="dnuuq")
    assert "=text 1" in said
    run(path, "--by", "lee", keys="ds")
    assert [(each.asked.id, each.label) for each in store.labels()] == [("2", 1), ("3", None)]
    run(path, "--output", tmp_path / "rows.csv")
    assert [row["text"] for row in rows_of(tmp_path / "rows.csv")] == ["'=text 2"]  # no formula in a spreadsheet


def test_what_is_missing_is_said(tmp_path: Path, messages: Path) -> None:
    with pytest.raises(BongsuError, match="no such file"):
        run(tmp_path / "none.csv")
    with pytest.raises(BongsuError, match="--model RUN"):
        run(messages)
