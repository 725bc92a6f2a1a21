"""Readers against what other programs wrote: csv, json, pyarrow, openpyxl, zipfile."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tracemalloc
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import fsspec
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from bongsu.corpus import streams, workbooks
from bongsu.corpus.readers import Document, Problems, format_of, read, read_rows
from bongsu.errors import DataError
from bongsu.recipe import Source

TEXTS = ["Forest fire near La Ronge", '그는 "불이야" 하고, 외쳤다', "two\nlines; a tab\there", "😀 the end"]
PLAIN = [text.replace("\n", " ") for text in TEXTS]
PAIRS = [("가.", "Go."), ("비가 온다", 'It rains, "hard"'), ("산불", "forest fire")]
HEADER = ["SID", "원문", "번역문"]

Write = Callable[[str, bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, data: bytes) -> Path:
        packer: Any = {".gz": gzip.compress, ".zst": zstandard.compress}.get(Path(name).suffix, bytes)
        (tmp_path / name).write_bytes(packer(data))
        return tmp_path / name

    return write


def documents(path: Path | str, problems: Problems | None = None, **settings: Any) -> list[Document]:
    return list(read(Source(path=str(path), **settings), Problems(1000) if problems is None else problems))


def texts(path: Path | str, **settings: Any) -> list[str]:
    return [document.text for document in documents(path, **settings)]


def csv_bytes(rows: list[list[str]], delimiter: str = ",") -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=delimiter).writerows(rows)
    return buffer.getvalue().encode()


def parquet_bytes(columns: dict[str, Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, **options)
    return buffer.getvalue()


def workbook_bytes(rows: list[list[Any]]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)  # type: ignore[union-attr]
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def pairs_workbook() -> bytes:
    return workbook_bytes([HEADER, *([number, *pair] for number, pair in enumerate(PAIRS))])


def jsonl(values: list[Any]) -> bytes:
    return b"".join(json.dumps(value, ensure_ascii=False).encode() + b"\n" for value in values)


@pytest.mark.parametrize("packed", ["", ".gz", ".zst"])
@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.txt", "\n".join(PLAIN).encode(), PLAIN),
        ("a.csv", csv_bytes([["n", "text"], *([str(n), text] for n, text in enumerate(TEXTS))]), TEXTS),
        ("a.tsv", csv_bytes([["n", "text"], *([str(n), text] for n, text in enumerate(TEXTS))], "\t"), TEXTS),
        ("a.jsonl", jsonl([{"n": n, "text": text} for n, text in enumerate(TEXTS)]), TEXTS),
        ("a.parquet", parquet_bytes({"n": range(4), "text": TEXTS}, row_group_size=3), TEXTS),
        ("a.xlsx", pairs_workbook(), [side for pair in PAIRS for side in pair]),
    ],
)
def test_every_format_plain_and_packed(write: Write, name: str, data: bytes, expected: list[str], packed: str) -> None:
    path = write(name + packed, data)
    assert texts(path) == expected
    assert texts(path, limit=2) == expected[:2]
    assert all(document.place.startswith(str(path)) for document in documents(path))


def test_a_folder_of_different_formats_in_order(write: Write) -> None:
    write("a.txt", b"one\n")
    write("b.csv.gz", b"text,n\ntwo,2\n")
    path = write("c.jsonl.zst", jsonl([{"text": "three"}]))
    assert texts(path.parent) == ["one", "two", "three"]
    assert texts(path.parent / "[ab].*") == ["one", "two"]


def test_a_url(write: Write) -> None:
    fsspec.filesystem("memory").pipe({"/u/a.parquet": parquet_bytes({"text": TEXTS}), "/u/b.csv": b"text\nlast\n"})
    assert texts("memory://u") == [*TEXTS, "last"]


def test_places_and_other_columns(write: Write) -> None:
    path = write("a.csv", b'id,body,label\n1,"one\nline",x\n\n2,two,y\n')
    first, second = documents(path, text="body")
    assert (first.place, first.fields) == (f"{path}:2", {"id": "1", "label": "x"})
    assert (second.text, second.place) == ("two", f"{path}:5")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b"id,other\n1,2\n"),
        ("a.jsonl", b'{"id":1,"other":2}\n'),
        ("a.parquet", parquet_bytes({"id": [1], "other": [2]})),
    ],
)
def test_a_missing_column_names_those_there_are(write: Write, name: str, data: bytes) -> None:
    with pytest.raises(DataError, match=r"'text'; the columns are id, other"):
        texts(write(name, data))


def test_where_keeps_rows(write: Write) -> None:
    path = write("a.csv", b"text,split,n\na,train,1\nb,test,1\nc,train,2\n")
    assert texts(path, where={"split": "train"}) == ["a", "c"]
    assert texts(path, where={"split": "train", "n": "2"}) == ["c"]
    with pytest.raises(DataError, match="none of 3 rows has split = 'dev'"):
        texts(path, where={"split": "dev"})
    with pytest.raises(DataError, match="no column 'fold'; the columns are text, split, n"):
        texts(path, where={"fold": "1"})
    path = write("a.jsonl", jsonl([{"text": "a", "n": 1, "ok": True}, {"text": "b", "n": 2, "ok": True}]))
    assert texts(path, where={"n": "2", "ok": "true"}) == ["b"]


def test_values_of_json_and_parquet_as_text(write: Write) -> None:
    values = {"text": "x", "i": 7, "f": 0.5, "t": True, "none": None, "list": [1, "a"], "big": 2**70}
    assert documents(write("a.jsonl", jsonl([values])))[0].fields | {"big": ""} == {
        "i": "7", "f": "0.5", "t": "true", "none": "", "list": '[1,"a"]', "big": ""
    }  # fmt: skip
    row = {"text": ["x"], "d": pa.array([Decimal("1.50")]), "b": pa.array([b"\xffz"]), "day": pa.array([1], pa.date32())}
    assert documents(write("a.parquet", parquet_bytes(row)))[0].fields == {"d": "1.50", "b": "\ufffdz", "day": "1970-01-02"}


def test_read_rows(write: Write) -> None:
    path = write("a.csv", b"text,label\na,1\nb,\n")
    problems = Problems(0)
    rows = list(read_rows(Source(path=str(path)), problems, ["text", "label"]))
    assert rows == [(f"{path}:2", {"text": "a", "label": "1"}), (f"{path}:3", {"text": "b", "label": ""})]
    with pytest.raises(DataError, match="'target'"):
        list(read_rows(Source(path=str(path)), problems, ["target"]))
    with pytest.raises(DataError, match="not one text"):
        list(read_rows(Source(path=str(write("b.csv", b"text,label\n"))), problems, ["label"]))
    with pytest.raises(DataError, match="a table is needed"):
        list(read_rows(Source(path=str(write("c.xlsx", pairs_workbook()))), problems, ["text"]))


# The Pile


def pile(text: Any, subset: str) -> dict[str, Any]:
    return {"text": text, "meta": {"pile_set_name": subset}}


PILE = [pile("a web page", "Pile-CC"), pile("an article", "Wikipedia (en)"), pile("another", "Wikipedia (en)")]


@pytest.mark.parametrize(
    "repack",
    [
        lambda line: line,
        lambda line: {**line, "meta": json.dumps(line["meta"])},
        lambda line: {**line, "text": line["text"].split("\n")},
    ],
)
def test_the_pile_and_its_repacked_copies(write: Write, repack: Callable[[dict[str, Any]], Any]) -> None:
    path = write("a.jsonl.zst", jsonl([repack(line) for line in PILE]))
    assert format_of(Source(path=str(path)), str(path)) == "pile"
    assert texts(path) == ["a web page", "an article", "another"]
    chosen = documents(path, subsets=["Wikipedia (en)"])
    assert [document.text for document in chosen] == ["an article", "another"]
    assert chosen[0].fields == {"subset": "Wikipedia (en)"}


def test_the_pile_as_bare_strings(write: Write) -> None:
    assert texts(write("a.jsonl", jsonl(["one", "two\nlines"]))) == ["one", "two\nlines"]


def test_subsets_may_stand_in_another_file_but_must_stand_somewhere(write: Write) -> None:
    write("a.jsonl", jsonl(PILE[:1]))
    folder = write("b.jsonl", jsonl(PILE[1:])).parent
    assert texts(folder, subsets=["Wikipedia (en)", "Books"]) == ["an article", "another"]
    with pytest.raises(DataError, match=r"no document of Wikipedia; the subsets here are Pile-CC, Wikipedia \(en\)"):
        texts(folder, subsets=["Wikipedia"])


def test_text_that_speaks_of_the_pile_is_not_the_pile(write: Write) -> None:
    path = write("a.jsonl", jsonl([{"text": 'its key is "pile_set_name"'}]))
    assert format_of(Source(path=str(path)), str(path)) == "jsonl"


# AI Hub


@pytest.mark.parametrize("languages", ["ko", "en", "both"])
@pytest.mark.parametrize("name", ["a.xlsx", "a.json", "a.json.zst"])
def test_ai_hub(write: Write, name: str, languages: str) -> None:
    records = [{"sn": str(n), "ko": ko, "en": en, "more": {"deep": [1]}} for n, (ko, en) in enumerate(PAIRS)]
    tree = {"name": "말뭉치", "data": records, "after": 1}
    path = write(name, pairs_workbook() if name == "a.xlsx" else json.dumps(tree, ensure_ascii=False, indent=1).encode())
    expected = [
        (side, lang) for pair in PAIRS for side, lang in zip(pair, ("ko", "en"), strict=True) if languages in (lang, "both")
    ]
    assert [(document.text, document.lang) for document in documents(path, languages=languages)] == expected


@pytest.mark.parametrize("encoding", ["utf-8", "cp949"])
def test_ai_hub_in_a_zip_with_korean_names(tmp_path: Path, encoding: str) -> None:
    name = "한국어/1_구어체(1).xlsx"
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        if encoding == "utf-8":
            archive.writestr(name, pairs_workbook())
        else:  # what Korean zip programs write: bytes of cp949 without the flag for UTF-8
            archive.writestr("x" * len(name.encode("cp949")), pairs_workbook())
        archive.writestr("readme.txt", "no corpus")
        archive.writestr("__MACOSX/._1.xlsx", "no workbook")
    if encoding == "cp949":
        path.write_bytes(path.read_bytes().replace(b"x" * len(name.encode("cp949")), name.encode("cp949")))
    first = documents(path)[0]
    assert (first.text, first.place) == ("가.", f"{path}/{name}:2")


def test_a_workbook_without_the_columns_names_those_there_are(write: Write) -> None:
    with pytest.raises(DataError, match="원문 and 번역문 are needed; the columns are SID, korean"):
        texts(write("a.xlsx", workbook_bytes([["SID", "korean"], [1, "가"]])))


def test_half_a_pair_is_a_problem(write: Write) -> None:
    problems = Problems(10)
    path = write("a.xlsx", workbook_bytes([HEADER, [1, "가", None], [2, "나", "b"]]))
    assert [document.text for document in documents(path, problems)] == ["가", "나", "b"]
    assert problems.examples == [f"{path}:2: no text in en"]


def test_one_stray_cell_far_away_does_not_end_the_process(write: Write) -> None:
    book = openpyxl.load_workbook(io.BytesIO(pairs_workbook()))
    book.active["XFD1048576"] = "x"  # type: ignore[index]
    buffer = io.BytesIO()
    book.save(buffer)
    with pytest.raises(DataError, match="row 1,048,576 and column 16,384"):
        texts(write("a.xlsx", buffer.getvalue()))


def test_bombs_in_zip_files_are_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbooks, "BOMB_BYTES", 2**20)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", b" " * 2**22)
    for name in ("a.zip", "a.xlsx"):
        with pytest.raises(DataError, match="a bomb"):
            texts(write(name, buffer.getvalue()))


def test_json_of_ai_hub_is_streamed(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with open(path, "w") as file:
        file.write('{"data": [' + ",".join(json.dumps({"ko": f"가 {n}" * 20, "en": "x" * 200}) for n in range(30_000)) + "]}")
    tracemalloc.start()
    count = sum(1 for _ in read(Source(path=str(path)), Problems(0)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 60_000
    assert peak < 2**23 < path.stat().st_size


def test_json_cut_short_keeps_what_came_before(write: Write) -> None:
    problems = Problems(1)
    path = write("a.json", b'{"data": [{"ko": "\xea\xb0\x80", "en": "a"}, {"ko": "\xeb')
    assert [document.text for document in documents(path, problems)] == ["가", "a"]
    assert problems.count == 1


# Kaggle, Python


def test_kaggle(write: Write) -> None:
    path = write("train.csv", b'id,keyword,location,text,target\n1,,,Our Deeds,1\n4,fire,"La Ronge, Sask.",Forest fire,1\n')
    assert format_of(Source(path=str(path)), str(path)) == "kaggle"
    document = documents(path)[1]
    assert document.fields == {"id": "4", "keyword": "fire", "location": "La Ronge, Sask.", "target": "1"}
    with pytest.raises(DataError, match="'keyword'"):
        texts(write("a.csv", b"id,text\n1,a\n"), format="kaggle")


def test_python_documentation_is_english_and_the_same_every_time() -> None:
    found = [(document.place, document.text, document.lang) for document in documents("python:stdlib", limit=1500)]
    assert found == [(document.place, document.text, document.lang) for document in documents("python:stdlib", limit=1500)]
    assert len(found) == 1500
    assert not any(">>>" in text or "\n" in text for _, text, _ in found)
    assert any("global statement" in text for _, text, _ in found)


# Bad input


def test_bad_lines_are_passed_over_with_their_place(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    problems = Problems(10)
    path = write(
        "a.jsonl", b'{"text":"a"}\nnot json\n{"text":"\\ud800"}\n[1]\n{"n":1}\n\n' + b"[" * 10**6 + b'\n{"text":"b"}\n'
    )
    assert [document.text for document in documents(path, problems)] == ["a", "b"]
    assert [example.split(": ")[0] for example in problems.examples] == [f"{path}:{n}" for n in (2, 3, 4, 5, 7)]
    assert "passed over" in capsys.readouterr().err


def test_too_many_bad_lines_are_an_error(write: Write) -> None:
    path = write("a.jsonl", b'{"text":"a"}\n' + b"bad\n" * 4)
    assert len(documents(path, Problems(4))) == 1
    with pytest.raises(DataError, match=r"a\.jsonl:5: .*bad place number 4, and max_bad = 3"):
        documents(path, Problems(3))


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
    problems = Problems(10)
    path = write("a.csv", b'text,n\na,1\n"broken,2\nb,3\n"c, with ""quotes""",4\n5" pipe,5\nlast,6\n')
    assert [document.text for document in documents(path, problems)] == ["a", "b", 'c, with "quotes"', '5" pipe', "last"]
    assert problems.examples[0].startswith(f"{path}:3: ")
    assert problems.count == 1
    big = write("b.csv", b'text,n\n"broken,0\n' + b"x,1\n" * 100_000)
    assert len(documents(big, problems)) == 100_000


def test_a_header_that_cannot_be_read_is_an_error(write: Write) -> None:
    with pytest.raises(DataError, match=r"header cannot be read.*cp949"):
        texts(write("a.csv", "본문,text\na,b\n".encode("cp949")))


def test_wrong_encodings_are_told(write: Write) -> None:
    path = write("a.txt", "불이 났다\n".encode("cp949"))
    with pytest.raises(DataError, match="encoding = 'cp949'"):
        texts(path)
    assert texts(path, encoding="cp949") == ["불이 났다"]
    path = write("b.csv", "text,n\n불,1\n".encode("utf-16"))
    with pytest.raises(DataError, match="encoding = 'utf-16'"):
        texts(path)
    assert texts(path, encoding="utf-16") == ["불"]
    with pytest.raises(DataError, match="Python knows no such encoding"):
        texts(path, encoding="utf-99")
    assert texts(write("c.csv", b"\xef\xbb\xbftext,n\na,1\n")) == ["a"]
    with pytest.raises(DataError, match="utf-16-le"):
        texts(write("d.txt", "abc\n".encode("utf-16-le")))


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_packed_file_cut_short_is_one_problem_and_the_next_file_is_read(tmp_path: Path, ending: str) -> None:
    data = b"".join(b"line %d of many %d\n" % (n, n * n) for n in range(50_000))
    packed = gzip.compress(data) if ending == ".gz" else zstandard.compress(data)
    (tmp_path / f"a.txt{ending}").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "b.txt").write_bytes(b"the next file\n")
    problems = Problems(1)
    found = [document.text for document in documents(tmp_path, problems)]
    assert found[:-1] == data.decode().split("\n")[: len(found) - 1]
    assert len(found) > 1000
    assert found[-1] == "the next file"
    assert problems.count == 1


def test_broken_utf8_in_parquet_spoils_one_row(write: Write) -> None:
    broken = pa.Array.from_buffers(
        pa.string(), 3, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0"), pa.py_buffer(b"a\xffc")]
    )
    problems = Problems(1)
    path = write("a.parquet", parquet_bytes({"text": broken}))
    assert [document.text for document in documents(path, problems)] == ["a", "c"]
    assert problems.examples[0].startswith(f"{path}:2: ")


def test_a_parquet_bomb_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bongsu.corpus.tables.BOMB_BYTES", 2**20)
    column = pa.array(["x" * 2**24])
    with pytest.raises(DataError, match="500 times its size"):
        texts(
            write(
                "a.parquet", parquet_bytes({"text": column}, compression="zstd", use_dictionary=False, write_statistics=False)
            )
        )


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for rows in (2_000, 200_000):
        path = tmp_path / f"{rows}.jsonl.zst"
        path.write_bytes(zstandard.compress(jsonl([{"text": f"message {n} of very many"} for n in range(rows)])))
        tracemalloc.start()
        assert sum(1 for _ in read(Source(path=str(path)), Problems(0))) == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2**20
    assert peaks[1] < streams.BOMB_BYTES // 16


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=12)


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=20), st.sampled_from([",", "\t"]))
@settings(max_examples=150, deadline=None)
def test_csv_gives_what_the_csv_module_wrote(tmp_path_factory: pytest.TempPathFactory, rows: list[Any], delimiter: str) -> None:
    path = tmp_path_factory.getbasetemp() / ("a.csv" if delimiter == "," else "a.tsv")
    path.write_bytes(csv_bytes([["text", "n"], *map(list, rows)], delimiter))
    found = [(row["text"], row["n"]) for _, row in read_rows(Source(path=str(path)), Problems(0), ["text"])]
    assert found == rows
