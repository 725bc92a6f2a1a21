"""Damaged and hostile files: counted and passed over, or an error that says where and what to do."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import openpyxl
import pyarrow as pa
import pytest
import zstandard
from corpus_samples import (
    HEADER,
    PAIRS,
    Write,
    documents,
    pairs_workbook,
    parquet_bytes,
    texts,
    workbook_bytes,
)

from bongsu.corpus import workbooks
from bongsu.corpus.readers import ReadStats
from bongsu.errors import DataError


def test_bad_lines_are_passed_over_with_their_place(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    stats = ReadStats(10)
    path = write(
        "a.jsonl", b'{"text":"a"}\nnot json\n{"text":"\\ud800"}\n[1]\n{"n":1}\n\n' + b"[" * 10**6 + b'\n{"text":"b"}\n'
    )
    assert [document.text for document in documents(path, stats)] == ["a", "b"]
    assert [example.split(": ")[0] for example in stats.examples] == [f"{path}:{n}" for n in (2, 3, 4, 5, 7)]
    assert "passed over" in capsys.readouterr().err


def test_too_many_bad_lines_are_an_error(write: Write) -> None:
    path = write("a.jsonl", b'{"text":"a"}\n' + b"bad\n" * 4)
    assert len(documents(path, ReadStats(4))) == 1
    with pytest.raises(DataError, match=r"a\.jsonl:5: .*bad place number 4, and max_bad = 3"):
        documents(path, ReadStats(3))


@pytest.mark.parametrize(
    "name", ["a.txt", "a.csv", "a.jsonl", "a.parquet", "a.xlsx", "a.json", "a.zip", "a.txt.gz", "a.csv.zst"]
)
def test_an_empty_file_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match=name):
        texts(tmp_path / name)


def test_an_empty_file_among_others_is_not(write: Write) -> None:
    write("a.csv", b"")
    assert texts(write("b.csv", b"text\nx\n").parent) == ["x"]


def test_a_quote_never_closed_spoils_one_line(write: Write) -> None:
    stats = ReadStats(10)
    path = write("a.csv", b'text,n\na,1\n"broken,2\nb,3\n"c, with ""quotes""",4\n5" pipe,5\nlast,6\n')
    assert [document.text for document in documents(path, stats)] == ["a", "b", 'c, with "quotes"', '5" pipe', "last"]
    assert stats.examples[0].startswith(f"{path}:3: ")
    assert stats.count == 1


def test_a_quote_never_closed_up_to_the_end_is_an_error_that_names_its_row(write: Write) -> None:
    path = write("a.csv", b'text,n\nfine,0\n"broken,1\n' + b"x,1\n" * 10_000)
    with pytest.raises(DataError, match=rf"{path}:3: a quote is opened .* never closed"):
        documents(path)
    assert len(documents(path, quoting="none")) == 10_002


def test_a_header_that_cannot_be_read_is_an_error(write: Write) -> None:
    with pytest.raises(DataError, match=r"header cannot be read.*cp949"):
        texts(write("a.csv", "본문,text\na,b\n".encode("cp949")), encoding="utf-8")


def test_wrong_encodings_are_told(write: Write) -> None:
    path = write("a.txt", "불이 났다\n".encode("cp949"))
    with pytest.raises(DataError, match="encoding = 'cp949'"):
        texts(path, encoding="utf-8")
    with pytest.raises(DataError, match="Python knows no such encoding"):
        texts(path, encoding="utf-99")
    with pytest.raises(DataError, match=r"not text in UTF-8, UTF-16, cp949 or cp1252.*set encoding"):
        texts(write("b.txt", "これはひらがなのぶんしょうです\n".encode("euc-jp")))


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_packed_file_cut_short_is_one_problem_and_the_next_file_is_read(tmp_path: Path, ending: str) -> None:
    data = b"".join(b"line %d of many %d\n" % (n, n * n) for n in range(50_000))
    packed = gzip.compress(data) if ending == ".gz" else zstandard.compress(data)
    (tmp_path / f"a.txt{ending}").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "b.txt").write_bytes(b"the next file\n")
    stats = ReadStats(1)
    found = [document.text for document in documents(tmp_path, stats)]
    assert found[:-1] == data.decode().split("\n")[: len(found) - 1]
    assert len(found) > 1000
    assert found[-1] == "the next file"
    assert stats.count == 1


def test_broken_utf8_in_parquet_spoils_one_row(write: Write) -> None:
    broken = pa.Array.from_buffers(
        pa.string(), 3, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0"), pa.py_buffer(b"a\xffc")]
    )
    stats = ReadStats(1)
    path = write("a.parquet", parquet_bytes({"text": broken}))
    assert [document.text for document in documents(path, stats)] == ["a", "c"]
    assert stats.examples[0].startswith(f"{path}:2: ")


def test_a_parquet_bomb_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bongsu.corpus.parquet.BOMB_BYTES", 2**20)
    column = pa.array(["x" * 2**24])
    with pytest.raises(DataError, match="500 times its size"):
        texts(
            write(
                "a.parquet", parquet_bytes({"text": column}, compression="zstd", use_dictionary=False, write_statistics=False)
            )
        )


def test_one_stray_cell_far_away_does_not_end_the_process(write: Write) -> None:
    book = openpyxl.load_workbook(io.BytesIO(pairs_workbook()))
    book.active["XFD1048576"] = "x"
    buffer = io.BytesIO()
    book.save(buffer)
    stats = ReadStats(5)
    found = [document.text for document in documents(write("a.xlsx", buffer.getvalue()), stats)]
    assert found == [side for pair in PAIRS for side in pair]
    assert stats.rows < 10


def test_bombs_in_zip_files_are_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbooks, "BOMB_BYTES", 2**20)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", b" " * 2**22)
    for name in ("a.zip", "a.xlsx"):
        with pytest.raises(DataError, match="a bomb"):
            texts(write(name, buffer.getvalue()))


def test_json_cut_short_keeps_what_came_before(write: Write) -> None:
    stats = ReadStats(1)
    path = write("a.json", b'{"data": [{"ko": "\xea\xb0\x80", "en": "a"}, {"ko": "\xeb')
    assert [document.text for document in documents(path, stats)] == ["가", "a"]
    assert stats.count == 1


def test_half_a_pair_is_a_problem(write: Write) -> None:
    stats = ReadStats(10)
    path = write("a.xlsx", workbook_bytes([HEADER, [1, "가", None], [2, "나", "b"]]))
    assert [document.text for document in documents(path, stats)] == ["가", "나", "b"]
    assert stats.examples == [f"{path}:2: no text in en"]


def test_a_workbook_without_the_columns_names_those_there_are(write: Write) -> None:
    with pytest.raises(DataError, match="원문 and 번역문 are needed; the columns are SID, korean"):
        texts(write("a.xlsx", workbook_bytes([["SID", "korean"], [1, "가"]])))
