"""`bongsu predict`: what goes in is answered or counted, whatever wrote it, and written where it is asked for."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from web_server import serving

from bongsu.cli import main
from bongsu.inference.onnx import BundlePredictor

KOREAN = ["산불이 났다", "노래를 듣는다", "홍수 경보가 내렸다"]
Predict = Callable[..., tuple[int, str, str]]


@pytest.fixture
def predict(bundle: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Predict:
    """Call the command and return its exit code, what it wrote and what it said."""

    def call(*words: str, stdin: bytes = b"", verb: str = "predict") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bongsu", verb, str(bundle), *words])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(stdin))))
        capfd.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, said = capfd.readouterr()
        return code, out, " ".join(said.split())

    return call


def json_rows(content: str) -> list[tuple[str, str]]:
    return [(row["id"], row["text"]) for row in map(json.loads, content.splitlines())]


def table(content: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content)))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16", "utf-16-le"])
def test_lines_of_standard_input_in_any_encoding(predict: Predict, encoding: str) -> None:
    text = f"{KOREAN[0]}\r\n\r\n{KOREAN[1]}\n   \n{KOREAN[2]}"
    code, out, said = predict(stdin=text.encode(encoding))
    assert code == 0
    assert json_rows(out) == [("0", KOREAN[0]), ("2", KOREAN[1]), ("4", KOREAN[2])]  # as in a file
    assert "standard input: 5 rows, 3 used; not used: blank line 2" in said
    assert ("read as cp949" in said) == (encoding == "cp949")


def test_an_encoding_may_show_late_or_be_said(predict: Predict) -> None:
    late = b"plain text\n" * 2000 + KOREAN[0].encode("cp949") + b"\n"
    _, out, said = predict(stdin=late)
    assert json_rows(out)[-1] == ("2000", KOREAN[0])
    assert "read as cp949 from line 2,001 on" in said
    _, out, _ = predict("--encoding", "koi8-r", stdin="пожар\n".encode("koi8-r"))
    assert json_rows(out) == [("0", "пожар")]
    code, out, said = predict("--encoding", "utf-8", stdin=KOREAN[0].encode("cp949") + b"\n")
    assert (code, out) == (1, "")
    assert "no text could be read (not utf-8 1" in said
    assert predict("--encoding", "utf-99", stdin=b"a\n")[0] == 1


def test_objects_a_line_are_read_and_other_json_is_named(predict: Predict) -> None:
    lines = [b'{"text": "one"},', b'{"text": "[two]"}', b'{"id": 3}']
    for given in (b"\n".join(lines), b"[\n" + b"\n".join(lines) + b"\n]\n", b"[" + b"\n".join(lines) + b"]"):
        code, out, said = predict(stdin=given)
        assert code == 0
        assert [json.loads(line)["text"] for line in out.splitlines()] == ["one", "[two]"]
        assert "no key 'text'" in said
    for given in (b'{\n  "text": "one"\n}\n', b'[{"text": "one"}, {"text": "two"}]\n'):
        code, _, said = predict(stdin=given)
        assert code == 1
        assert "line 1 begins an array, or an object over several lines" in said
    assert json.loads(predict(stdin="[속보] 지진\n".encode())[1])["text"] == "[속보] 지진"


def test_nothing_to_answer_is_an_error(predict: Predict, tmp_path: Path) -> None:
    code, _, said = predict(stdin=b"\n  \n")
    assert code == 1
    assert "standard input: no text could be read (blank line 2)" in said
    (tmp_path / "a.csv").write_text("text,keyword\n,x\n ,y\n")
    code, out, said = predict("--input", str(tmp_path / "a.csv"))
    assert (code, out) == (1, "")
    assert "none of 2 rows has a text" in said


def test_a_csv_has_one_header(predict: Predict, tmp_path: Path) -> None:
    _, out, _ = predict("--format", "csv", stdin=b"a\n\nb\nc\n")
    assert [row["id"] for row in table(out)] == ["0", "2", "3"]
    assert out.count("probability_disaster") == 1
    _, again, _ = predict("--format", "csv", "a", "b", "c")
    assert [row["text"] for row in table(again)] == ["a", "b", "c"]


def test_output_is_written_whatever_is_answered(predict: Predict, tmp_path: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_text("one\n\ntwo\n")
    for number, (words, stdin) in enumerate([(["one", "two"], b""), ([], b"one\n\ntwo\n"), (["--input", str(source)], b"")]):
        for form in ("jsonl", "csv"):
            path = tmp_path / f"{number}.{form}"
            code, out, said = predict(*words, "--output", str(path), "--format", form, stdin=stdin)
            assert (code, out) == (0, "")
            assert "2 rows in" in said
            found = table(path.read_text()) if form == "csv" else [json.loads(line) for line in path.read_text().splitlines()]
            assert [row["text"] for row in found] == ["one", "two"]
            assert [row["id"] for row in found] == (["0", "1"] if number == 0 else ["0", "2"])


def test_numbers_of_a_csv_stay_numbers(predict: Predict, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,keyword,text\n-1,,-5\n=1+1,,=cmd\n")
    _, out, _ = predict("--input", str(path), "--format", "csv")
    assert [(row["id"], row["text"]) for row in table(out)] == [("-1", "-5"), ("'=1+1", "'=cmd")]


def test_files_of_any_encoding_and_separator(predict: Predict, bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = "".join(f"{number};{text};\n" for number, text in enumerate(KOREAN))
    path.write_bytes(f"id;text;keyword\n{rows}".encode("cp949"))
    code, out, said = predict("--input", str(path))
    assert code == 0
    assert [text for _, text in json_rows(out)] == KOREAN
    assert "read as cp949" in said
    assert "cells are separated by semicolons" in said
    expected = BundlePredictor.load(bundle).predict(KOREAN)
    found = [json.loads(line)["probability"] for line in out.splitlines()]
    assert np.allclose(found, [each.probability for each in expected], atol=1e-5)
    path.write_bytes("id~text~keyword\n7~пожар~\n".encode("koi8-r"))
    assert json_rows(predict("--input", str(path), "--encoding", "koi8-r", "--delimiter", "~")[1]) == [("7", "пожар")]
    path.write_text('text\tkeyword\n"fire\t\nsong" of\t\n')
    assert [text for _, text in json_rows(predict("--input", str(path), "--delimiter", "\\t", "--quoting", "none")[1])] == [
        '"fire',
        'song" of',
    ]


def test_rows_that_cannot_be_read_are_counted(predict: Predict, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,keyword\na,x\nb\n\n,y\nc,z\n")
    code, out, said = predict("--input", str(path))
    assert code == 0
    assert json_rows(out) == [("0", "a"), ("3", ""), ("4", "c")]
    assert "5 rows, 3 used; not used: wrong number of cells 1, blank line 1" in said
    assert "1 rows have an empty text" in said
    code, _, said = predict("--input", str(path), "--max-bad", "0")
    assert code == 1
    assert "max_bad = 0" in said


def test_only_rows_without_a_label_are_answered(predict: Predict, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,text,keyword,target\n1,a,,1\n2,b,,\n3,c,,nan\n4,d,,0.0\n")
    _, out, said = predict("--input", str(path), "--unlabelled")
    assert json_rows(out) == [("2", "b"), ("3", "c")]
    assert "not used: has a label 2" in said
    assert len(json_rows(predict("--input", str(path))[1])) == 4
    assert predict("--unlabelled", "a")[0] == 1


def test_an_address_is_read(predict: Predict, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text,keyword\n7,fire,x\n")
    with serving(tmp_path) as server:
        code, out, said = predict("--input", f"{server.url}/a.csv?key=secret")
        assert (code, json_rows(out)) == (0, [("7", "fire")])
        assert "secret" not in said
        (tmp_path / "sample.csv").write_text("id,target\n7,0\n")
        kaggle: list[Any] = ["--format", "kaggle", "--sample", f"{server.url}/sample.csv"]
        assert predict("--input", f"{server.url}/a.csv", *kaggle)[1].startswith("id,target\n7,")
        vectors = tmp_path / "a.npy"
        assert predict("--input", f"{server.url}/a.csv", "--output", str(vectors), verb="embed")[0] == 0
        assert np.load(vectors).shape[0] == 1
