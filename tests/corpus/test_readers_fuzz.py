"""Whatever the bytes are, a reader gives documents of valid Unicode or raises a BongsuError.

`BONGSU_FUZZ=10000` sets the number of examples for each reader.
"""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import zstandard
from corpus_samples import PAIRS, PILE, csv_bytes, jsonl, pairs_workbook, parquet_bytes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bongsu.corpus.readers import ReadStats, read
from bongsu.errors import BongsuError
from bongsu.recipe import Source

EXAMPLES = int(os.environ.get("BONGSU_FUZZ", "60"))

_ROWS = [["id", "keyword", "location", "text"], *([str(n), "", 'a "b"', f"tweet {n}, 불\nline"] for n in range(5))]
_DATA = jsonl([{"data": [{"ko": ko, "en": en} for ko, en in PAIRS]}])
_PARQUET = parquet_bytes({"text": ["a", None, "c" * 50], "n": [1, 2, 3]})

# Pieces that have broken readers before, put in by the mutations.
_NASTY = [
    *(b"\0", b'"', b"\n", b"\r", b",", b"\xff\xfe", b"\xef\xbb\xbf", b"\xbf", b"\xff\xff\xff\x7f"),
    *(b"\\ud800", b"[" * 2000, b"9" * 5000, b"1e999", b"null", b'"data":[', b"-1"),
    *(b'r="XFD1048576"', b"<c>", b"<row>", b't="s"', b"&#0;"),
]


@st.composite
def mutated(draw: st.DrawFn, valid: bytes) -> bytes:
    """A valid file with a few bytes changed, put in, taken out or cut off; or any bytes."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=300))
    data = bytearray(valid)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        piece = draw(st.one_of(st.sampled_from(_NASTY), st.binary(min_size=1, max_size=4)))
        match draw(st.integers(0, 4)):
            case 0:
                data[at : at + len(piece)] = piece
            case 1:
                data[at:at] = piece
            case 2:
                del data[at : at + draw(st.integers(1, 40))]
            case 3:
                data[at:at] = data[at : at + draw(st.integers(1, 200))]
            case _:
                del data[at:]
    return bytes(data)


@st.composite
def mutated_zip(draw: st.DrawFn, valid: bytes) -> bytes:
    """A zip file one member of which is mutated, so that the damage is not merely a wrong checksum."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(valid)) as source, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        victim = draw(st.sampled_from([name for name in source.namelist() if "theme" not in name]))
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, draw(mutated(content)) if name == victim else content)
    return draw(mutated(buffer.getvalue())) if draw(st.integers(0, 4)) == 0 else buffer.getvalue()


def zip_bytes(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


_ZIP = zip_bytes({"1_구어체.xlsx": pairs_workbook(), "b.json": _DATA})
_CSV, _JSONL, _PILE = csv_bytes(_ROWS), jsonl([{"text": "a", "n": 1}, {"text": "불", "n": [{}]}]), jsonl(PILE)

READERS: dict[str, tuple[str, dict[str, Any], st.SearchStrategy[bytes]]] = {
    "text": ("a.txt", {}, mutated("one\n둘\r\nthree".encode())),
    "text utf-16": ("a.txt", {"encoding": "utf-16"}, mutated("one\n둘\nthree".encode("utf-16"))),
    "text cp949": ("a.txt", {"encoding": "cp949"}, mutated("one\n둘\nthree".encode("cp949"))),
    "text utf-7": ("a.txt", {"encoding": "utf-7"}, mutated(b"one\n+2AA-\nthree")),
    "csv": ("a.csv", {}, mutated(_CSV)),
    "csv where": ("a.csv", {"where": {"id": "1"}}, mutated(_CSV)),
    "tsv": ("a.tsv", {}, mutated(csv_bytes(_ROWS, "\t"))),
    "kaggle": ("a.csv", {"format": "kaggle"}, mutated(_CSV)),
    "jsonl": ("a.jsonl", {}, mutated(_JSONL)),
    "jsonl cp949": ("a.jsonl", {"encoding": "cp949"}, mutated(_JSONL.decode().encode("cp949"))),
    "pile": ("a.jsonl", {"subsets": ["Wikipedia (en)"]}, mutated(_PILE)),
    "pile gz": ("a.jsonl.gz", {"format": "pile"}, st.one_of(mutated(gzip.compress(_PILE)), mutated(_PILE).map(gzip.compress))),
    "pile zst": ("a.jsonl.zst", {}, st.one_of(mutated(zstandard.compress(_PILE)), mutated(_PILE).map(zstandard.compress))),
    "parquet": ("a.parquet", {}, mutated(_PARQUET)),
    "parquet gz": ("a.parquet.gz", {}, mutated(_PARQUET).map(gzip.compress)),
    "json": ("a.json", {}, mutated(_DATA)),
    "json utf-16": ("a.json", {"format": "aihub", "encoding": "utf-16"}, mutated(_DATA.decode().encode("utf-16"))),
    "xlsx": ("a.xlsx", {}, mutated_zip(pairs_workbook())),
    "zip": ("a.zip", {"languages": "ko"}, mutated_zip(_ZIP)),
}


@pytest.mark.parametrize("reader", READERS)
def test_nothing_but_a_bongsu_error(reader: str, tmp_path: Path) -> None:
    name, options, files = READERS[reader]
    path = tmp_path / name

    @settings(max_examples=EXAMPLES, database=None, suppress_health_check=list(HealthCheck))
    @given(files)
    def check(data: bytes) -> None:
        path.write_bytes(data)
        with suppress(BongsuError):
            for document in read(Source(path=str(path), **options), ReadStats(5)):
                assert document.text.strip()
                f"{document.text}{document.place}".encode()

    check()


@pytest.mark.parametrize("encoding", ["rot13", "hex", "undefined", "punycode", "", "a\0b", "utf-32", "x" * 999])
@pytest.mark.parametrize(
    ("name", "data"),
    [("a.txt", b"x\\ud800\n\xff\n"), ("a.jsonl", b'{"text":"\\ud800"}\n"\xff\n'), ("a.json", b'{"data":[1]}')],
)
def test_any_word_for_an_encoding(encoding: str, name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BongsuError):
        list(read(Source(path=str(tmp_path / name), encoding=encoding), ReadStats(0)))
