"""Labelled files as people have them: every row is used or counted, whatever wrote the file."""

from __future__ import annotations

import gzip
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from bongsu.corpus.readers import ReadStats
from bongsu.errors import DataError
from bongsu.recipe import Answering, Classification, Labelled, Multilabel, Pair, Regression, Tagging, TextFormat
from bongsu.tasks.registry import build_task
from bongsu.tasks.task import Example


def read(settings: Labelled) -> tuple[list[Example[Any]], ReadStats]:
    """Return the labelled rows of the training file and what was counted, which must agree."""
    task = build_task(settings)
    stats = task.new_stats()
    examples = task.read(settings.train, settings.where, stats=stats)
    assert stats.used == len(examples)
    return examples, stats


def targets(path: Path, **settings: Any) -> list[str]:
    return [example.target for example in read(Classification(train=str(path), **settings))[0]]


# How a file is written

ROWS = [("산불이 났다", "1"), ("노래를 듣는다", "0"), ("홍수; 경보, 발령", "1")]


def table(delimiter: str, rows: list[tuple[str, str]] = ROWS) -> str:
    quoted = [f'"{text}"' if delimiter in text else text for text, _ in rows]
    return "".join(
        f"{text}{delimiter}{label}\n" for text, (_, label) in zip(["text", *quoted], [("", "target"), *rows], strict=True)
    )


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp949"])
@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_encodings_and_separators_are_found(tmp_path: Path, encoding: str, delimiter: str, ending: str) -> None:
    path = tmp_path / f"a.{'tsv' if delimiter == chr(9) else 'csv'}{ending}"
    data = table(delimiter).encode(encoding)
    path.write_bytes({"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[ending](data))  # type: ignore[operator]
    examples, stats = read(Classification(train=str(path)))
    assert [(example.raw[0], example.target) for example in examples] == ROWS
    said = stats.as_dict()["assumed"].get(str(path), "")
    assert ("cp949" in said) == (encoding == "cp949")
    assert ("semicolons" in said) == (delimiter == ";")


def test_western_text_is_found_and_may_be_said(tmp_path: Path) -> None:
    rows = [("Überschwemmung in Köln", "1"), ("Das Café ist schön", "0")]
    path = tmp_path / "a.csv"
    path.write_bytes(table(";", rows).encode("cp1252"))
    for settings in ({}, {"encoding": "cp1252", "delimiter": ";"}):
        examples, _ = read(Classification(train=str(path), **settings))  # type: ignore[arg-type]
        assert [example.raw[0] for example in examples] == [text for text, _ in rows]


def test_what_cannot_be_found_can_be_said(tmp_path: Path) -> None:
    rows = [("пожар в лесу", "1"), ("песня", "0")]
    path = tmp_path / "a.csv"
    path.write_bytes(table("~", rows).encode("koi8-r"))
    written = {"encoding": "koi8-r", "delimiter": "~"}
    examples, _ = read(Classification(train=str(path), **written))  # type: ignore[arg-type]
    assert [example.raw[0] for example in examples] == [text for text, _ in rows]
    task = build_task(Classification(train="x"))
    assert [each.raw[0] for each in task.read_unlabelled(str(path), written=TextFormat(**written))] == [  # type: ignore[arg-type]
        text for text, _ in rows
    ]


def test_a_quote_may_be_a_character_as_any_other(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,target\n"fire,1\nsong" of,0\n')
    assert targets(path, quoting="none") == ["1", "0"]


# Labels


def test_rows_without_a_label_are_counted_and_no_bad_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = [f"{n},text {n},{'' if n % 3 else n % 2}" for n in range(4000)]
    path.write_text("id,text,target\n" + "\n".join(rows) + "\n")
    settings = Classification(train=str(path))
    examples, stats = read(settings)
    assert (len(examples), stats.rows, stats.dropped) == (1334, 4000, {"no label": 2666})
    task = build_task(settings)
    left = ReadStats(0)
    unlabelled = task.read_unlabelled(str(path), stats=left, only_unlabelled=True)
    assert [example.id for example in unlabelled] == [str(n) for n in range(4000) if n % 3]
    assert (left.used, left.dropped) == (2666, {"has a label": 1334})


@pytest.mark.parametrize("cell", ["nan", "NaN", "", "null", "<NA>"])
def test_a_cell_that_says_nothing_is_no_label(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"text,target,score,tags\na,1,0.5,x\nb,{cell},{cell},{cell or 'nan'}\nc,0,1.5,y\n")
    for settings in (
        Classification(train=str(path)),
        Regression(train=str(path)),
        Multilabel(train=str(path), labels="tags", min_rows=1),
    ):
        examples, stats = read(settings)
        assert ([each.id for each in examples], stats.dropped) == (["0", "2"], {"no label": 1})


def test_nan_of_parquet_and_json_is_no_label(tmp_path: Path) -> None:
    labels = [1.0, float("nan"), None, 0.0]
    pq.write_table(
        pa.table({"text": list("abcd"), "target": pa.array(labels, pa.float64(), from_pandas=False)}), tmp_path / "a.parquet"
    )
    rows = [{"text": text, "target": label} for text, label in zip("abcd", labels, strict=True)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "a.json").write_text(json.dumps(rows, indent=2))
    for name in ("a.parquet", "a.jsonl", "a.json"):
        examples, stats = read(Classification(train=str(tmp_path / name)))
        assert [(each.id, each.target) for each in examples] == [("0", "1"), ("3", "0")], name
        assert (stats.rows, stats.dropped) == (4, {"no label": 2})


def test_a_label_is_one_class_however_it_is_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.jsonl"
    cells: list[Any] = [1, "1", 1.0, True, "True", 0, "0.0", False, 2]
    path.write_text("".join(json.dumps({"text": f"t{n}", "target": cell}) + "\n" for n, cell in enumerate(cells)))
    examples, stats = read(Classification(train=str(path)))
    assert [example.target for example in examples] == ["1"] * 5 + ["0"] * 3 + ["2"]
    said = " ".join(capfd.readouterr().err.split())
    assert "'1' (2), '1.0' (1), 'True' (1), 'true' (1) in column 'target' read as the class '1'" in said
    assert "read as the class '0'" in stats.assumed[str(path)]


def test_the_test_file_may_write_labels_in_another_way(tmp_path: Path) -> None:
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    for of_train, of_test, known in (
        ("10", ("True", "FALSE"), "10"),
        (("True", "False"), "10", ("True", "False")),
        (("true", "False"), ("TRUE", "0.0"), ("true", "False")),
    ):
        train.write_text(f"text,target\na,{of_train[0]}\nb,{of_train[1]}\n")
        test.write_text(f"text,target\nc,{of_test[0]}\nd,{of_test[1]}\n")
        task = build_task(Classification(train=str(train), positive="1", names={"1": "yes", "False": "no"}))
        task.schema = task.learn_schema(task.read(str(train), {}))
        assert task.schema.labels == [known[1], known[0]]
        assert task.names == ["no", "yes"]  # type: ignore[attr-defined]
        examples = task.read(str(test), {})
        task.check(examples, str(test))
        assert [example.target for example in examples] == list(known)


def test_codes_stay_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    cells = ["007", "-1", "1.5", "v1.0", "none", "NA", "1.10"]
    path.write_text("text,target\n" + "".join(f"t{n},{cell}\n" for n, cell in enumerate(cells)))
    assert targets(path) == cells


def test_rows_left_out_by_corrections_are_counted(tmp_path: Path) -> None:
    path, fixed = tmp_path / "a.csv", tmp_path / "fixed.csv"
    path.write_text("text,target\na,1\nb,0\nc,0\n")
    fixed.write_text("id,correction\n0,drop\n2,1.0\n")
    examples, stats = read(Classification(train=str(path), corrections=str(fixed)))
    assert [(each.id, each.target) for each in examples] == [("1", "0"), ("2", "1")]
    assert stats.dropped == {"left out by task.corrections": 1}


def test_labels_that_cannot_be_read_are_counted_and_stop_when_they_are_many(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,score\na,1\nb,much\nc,inf\nd,2\n")
    examples, stats = read(Regression(train=str(path)))
    assert [example.target for example in examples] == [1.0, 2.0]
    assert stats.dropped == {"a label that cannot be read": 2}
    with pytest.raises(DataError, match=r"a\.csv:4: .*'inf' in column 'score' is not finite.*max_bad = 1"):
        read(Regression(train=str(path), max_bad=1))
    path.write_text("text,score\na,x\nb,y\n")
    with pytest.raises(DataError, match=r"no labelled row could be read .a label that cannot be read 2"):
        read(Regression(train=str(path)))


# Rows and columns


def test_ids_are_the_files_own_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,target\na,1\n\nb,\nc,1,2\n,0\nd,0\n")
    examples, stats = read(Classification(train=str(path)))
    assert [(each.id, each.raw[0]) for each in examples] == [("0", "a"), ("5", "d")]
    assert (stats.rows, stats.dropped) == (6, {"blank line": 1, "no label": 1, "wrong number of cells": 1, "no text": 1})
    task = build_task(Classification(train=str(path)))
    assert [each.id for each in task.read_unlabelled(str(path))] == ["0", "2", "4", "5"]
    lines = tmp_path / "a.txt"
    lines.write_text("one\n\ntwo\n\n\nthree")
    assert [each.id for each in task.read_unlabelled(str(lines))] == ["0", "2", "5"]


def test_ids_of_several_files_are_different(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("text,target\none,1\ntwo,0\n")
    examples, _ = read(Classification(train=str(tmp_path)))
    assert [example.id for example in examples] == ["a.csv:0", "a.csv:1", "b.csv:0", "b.csv:1"]


@pytest.mark.parametrize("twice", ["text", "target", "id"])
def test_a_column_that_occurs_twice_is_refused(tmp_path: Path, twice: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"id,text,target,{twice}\n7,a,1,x\n")
    with pytest.raises(DataError, match=f"the column '{twice}' occurs 2 times"):
        read(Classification(train=str(path)))
    path.write_text("id,text,target,other,other\n7,a,1,x,y\n")
    assert targets(path) == ["1"]


def test_columns_of_parquet_that_nobody_needs_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    times = pa.array([1, 2**62], pa.timestamp("ns", tz="Asia/Seoul"))
    odd = pa.array([b"\xff", b"\xfe"], pa.binary())
    nested = pa.array([[1], [2]])
    columns = {"id": [7, 8], "text": ["a", "b"], "target": [1, 0], "t": times, "odd": odd, "nested": nested}
    pq.write_table(pa.table(columns), path)
    examples, stats = read(Classification(train=str(path)))
    assert [(each.id, each.target) for each in examples] == [("7", "1"), ("8", "0")]
    assert stats.rows == 2
    dated, _ = read(Classification(train=str(path), context=["t"]))
    assert dated[0].inputs[0].startswith(f"{datetime(1970, 1, 1):%Y-%m-%d}")


def test_arrays_of_json_with_nested_keys(tmp_path: Path) -> None:
    rows = [
        {"guid": "k0", "sentence1": "가", "sentence2": "나", "labels": {"label": 3.7, "real-label": 3.714, "binary-label": 1}},
        {"guid": "k1", "sentence1": "다", "sentence2": "라", "labels": {"label": 0.0, "real-label": None, "binary-label": 0}},
        {"guid": "k2", "sentence1": "마", "sentence2": "바", "labels": {"label": 1.0, "real-label": 0.5, "binary-label": 0}},
    ]
    array = json.dumps(rows, ensure_ascii=False, indent=2).encode()
    contents = {
        "a.json": array,
        "bom.json": b"\xef\xbb\xbf" + array,
        "korean.json": json.dumps(rows, ensure_ascii=False).encode("cp949"),
        "data.json": json.dumps({"version": 1, "data": rows}).encode(),
        "a.json.gz": gzip.compress(array),
        "a.json.zst": zstandard.compress(array),
        "lines.json": "\n".join(map(json.dumps, rows)).encode(),
        "a.jsonl": "\n".join(map(json.dumps, rows)).encode(),
    }
    for name, content in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        settings = Pair(train=str(path), label="labels.real-label", target="number", id="guid")
        examples, stats = read(settings)
        found = [(each.id, each.raw, each.target) for each in examples]
        assert found == [("k0", ("가", "나"), 3.714), ("k2", ("마", "바"), 0.5)], name
        assert (stats.rows, stats.dropped) == (3, {"no label": 1})
        kept, stats = read(settings.model_copy(update={"where": {"labels.binary-label": "0"}}))
        assert [each.id for each in kept] == ["k2"]
        assert stats.dropped == {"no label": 1, "other rows than wanted": 1}
    with pytest.raises(DataError, match=r"no column 'labels\.other'; the columns are guid, .*labels\.real-label"):
        read(Pair(train=str(tmp_path / "a.json"), label="labels.other"))


def test_an_array_that_is_cut_short_keeps_what_came_before(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    rows = [{"text": f"t{n}", "target": n % 2} for n in range(10)]
    path.write_text(
        json.dumps([*rows, "no object", {"text": "no label"}, {"text": "\ud800", "target": 1}])[:-1] + ', {"text": "cut'
    )
    examples, stats = read(Classification(train=str(path)))
    assert len(examples) == 10
    assert stats.dropped == {"not a JSON object": 1, "no key 'target'": 1, "half a character (a lone surrogate)": 1}
    assert (stats.rows, stats.count) == (13, 4)  # the last of them is the file's end
    assert "what came before it is kept" in stats.last


# Other kinds


def test_spans_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    cells: list[Any] = [[[0, 4, "X"]], [[0, 99, "X"]], "broken", [], None]
    path.write_text("".join(json.dumps({"text": "fire in town", "spans": cell}) + "\n" for cell in cells))
    examples, stats = read(Tagging(train=str(path)))
    assert [(each.id, each.target) for each in examples] == [("0", [(0, 4, "X")]), ("3", []), ("4", [])]
    assert stats.dropped == {"a label that cannot be read": 2}


def test_conll_files_are_read_in_their_encoding_and_their_blocks_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_bytes("서울 B-LOC\n산불 O\n\n태그없음\n\n\n부산 B-LOC\n홍수 O\n".encode("cp949"))
    settings = Tagging(train=str(path))
    examples, stats = read(settings)
    assert [(each.id, each.raw[0]) for each in examples] == [("0", "서울 산불"), ("2", "부산 홍수")]
    assert (stats.rows, stats.dropped) == (3, {"a line without a tag": 1})
    assert stats.assumed == {str(path): "read as cp949"}
    assert [each.id for each in build_task(settings).read_unlabelled(str(path))] == ["0", "2"]


def test_answers_out_of_place_are_counted(tmp_path: Path) -> None:
    def question(name: str, start: int) -> dict[str, Any]:
        return {"id": name, "question": "where?", "answers": [{"text": "town", "answer_start": start}]}

    squad = {"data": [{"title": "t", "paragraphs": [{"context": "fire in town", "qas": [question("a", 8), question("b", 1)]}]}]}
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path = tmp_path / f"{encoding}.json"
        path.write_bytes(json.dumps(squad).encode(encoding))
        examples, stats = read(Answering(train=str(path)))
        assert [each.id for each in examples] == ["a"]
        assert (stats.rows, stats.dropped) == (2, {"an answer out of place": 1})


# Long texts


def test_long_texts_are_cleaned_like_short_ones(tmp_path: Path) -> None:
    long = "Smoke &amp; fire at http://t.co/abc \x00 " + "word " * 1000
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text, "target": n}) + "\n" for n, text in enumerate((long, "song"))))
    examples, _ = read(Classification(train=str(path)))
    assert examples[0].inputs[0] == ("Smoke & fire at [LINK] " + "word " * 1000).strip()
    task = build_task(Classification(train="x", cleaning={"min_characters": 5, "scripts": ["hangul"]}))  # type: ignore[arg-type]
    assert task.example(["a &lt; b"]).inputs == ("a < b",)
    assert task.example(["\x00\x00"]).inputs == ("",)
