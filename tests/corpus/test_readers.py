"""Readers against what other programs wrote: csv, json, pyarrow, openpyxl, zipfile."""

from __future__ import annotations

import json
import tracemalloc
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest
import zstandard
from corpus_samples import (
    PAIRS,
    PILE,
    PLAIN,
    TEXTS,
    Write,
    csv_bytes,
    documents,
    jsonl,
    pairs_workbook,
    parquet_bytes,
    texts,
)
from hypothesis import given
from hypothesis import strategies as st

from bongsu.corpus import streams
from bongsu.corpus.detection import HEAD
from bongsu.corpus.readers import Place, ReadStats, format_of, read, read_rows
from bongsu.errors import DataError
from bongsu.recipe import Source


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
    assert all(str(document.place).startswith(str(path)) for document in documents(path))


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
    first, second = read_rows(Source(path=str(path)), ReadStats(0), ["body"], ["id", "other"])
    assert first == (Place(str(path), 2, 0), {"id": "1", "body": "one\nline"})
    assert second == (Place(str(path), 5, 2), {"id": "2", "body": "two"})
    assert [str(document.place) for document in documents(path, text="body")] == [f"{path}:2", f"{path}:5"]


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


def rows_of(path: Path) -> list[dict[str, str]]:
    return [row for _, row in read_rows(Source(path=str(path)), ReadStats(0), ["text"])]


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
    assert rows_of(write("a.jsonl", jsonl([values])))[0] | {"big": ""} == {
        "text": "x", "i": "7", "f": "0.5", "t": "true", "none": "", "list": '[1,"a"]', "big": ""
    }  # fmt: skip
    row = {"text": ["x"], "d": pa.array([Decimal("1.50")]), "b": pa.array([b"\xffz"]), "day": pa.array([1], pa.date32())}
    row |= {"t": [True], "n": pa.array([float("nan")]), "i": pa.array([-7]), "list": [[1, 2]]}
    assert rows_of(write("a.parquet", parquet_bytes(row))) == [
        {"text": "x", "d": "1.50", "b": "\ufffdz", "day": "1970-01-02", "t": "true", "n": "", "i": "-7"}
    ]


def test_read_rows(write: Write) -> None:
    path = write("a.csv", b"text,label\na,1\nb,\n")
    stats = ReadStats(0)
    rows = list(read_rows(Source(path=str(path)), stats, ["text", "label"]))
    assert rows == [
        (Place(str(path), 2, 0), {"text": "a", "label": "1"}),
        (Place(str(path), 3, 1), {"text": "b", "label": ""}),
    ]
    with pytest.raises(DataError, match="'target'"):
        list(read_rows(Source(path=str(path)), stats, ["target"]))
    with pytest.raises(DataError, match="not one text"):
        list(read_rows(Source(path=str(write("b.csv", b"text,label\n"))), stats, ["label"]))
    with pytest.raises(DataError, match="a table is needed"):
        list(read_rows(Source(path=str(write("c.xlsx", pairs_workbook()))), stats, ["text"]))


# The Pile


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
    assert (first.text, str(first.place)) == ("가.", f"{path}/{name}:2")


def test_json_of_ai_hub_is_streamed(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with open(path, "w") as file:
        file.write('{"data": [' + ",".join(json.dumps({"ko": f"가 {n}" * 120, "en": "x" * 1200}) for n in range(10_000)) + "]}")
    tracemalloc.start()
    count = sum(1 for _ in read(Source(path=str(path)), ReadStats(0)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 6 * HEAD


# Kaggle, Python


def test_kaggle(write: Write) -> None:
    path = write("train.csv", b'id,keyword,location,text,target\n1,,,Our Deeds,1\n4,fire,"La Ronge, Sask.",Forest fire,1\n')
    assert format_of(Source(path=str(path)), str(path)) == "kaggle"
    assert texts(path) == ["Our Deeds", "Forest fire"]
    with pytest.raises(DataError, match="'keyword'"):
        texts(write("a.csv", b"id,text\n1,a\n"), format="kaggle")


def test_python_documentation_is_english_and_the_same_every_time() -> None:
    found = [(document.place, document.text, document.lang) for document in documents("python:stdlib", limit=1500)]
    assert found == [(document.place, document.text, document.lang) for document in documents("python:stdlib", limit=1500)]
    assert len(found) == 1500
    assert not any(">>>" in text or "\n" in text for _, text, _ in found)
    assert any("global statement" in text for _, text, _ in found)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for rows in (20_000, 60_000):  # 6 and 19 MB: both more than is looked at
        path = tmp_path / f"{rows}.jsonl.zst"
        path.write_bytes(zstandard.compress(jsonl([{"text": f"message {n} of very many" * 12} for n in range(rows)])))
        tracemalloc.start()
        assert sum(1 for _ in read(Source(path=str(path)), ReadStats(0))) == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2**18  # 7 bytes a row more would be too many
    assert peaks[1] < streams.BOMB_BYTES // 8


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=12)


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=20), st.sampled_from([",", "\t"]))
def test_csv_gives_what_the_csv_module_wrote(tmp_path_factory: pytest.TempPathFactory, rows: list[Any], delimiter: str) -> None:
    path = tmp_path_factory.getbasetemp() / ("a.csv" if delimiter == "," else "a.tsv")
    path.write_bytes(csv_bytes([["text", "n"], *map(list, rows)], delimiter))
    found = [(row["text"], row["n"]) for _, row in read_rows(Source(path=str(path)), ReadStats(0), ["text"])]
    assert found == rows
