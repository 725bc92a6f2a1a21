"""Files at their most awkward: rows in are rows used and rows counted, plain, packed and over the web."""

from __future__ import annotations

import gzip
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import zstandard
from corpus_samples import documents, parquet_bytes
from web_server import serving

from bongsu.corpus.readers import ReadStats, read_rows
from bongsu.corpus.streams import list_files
from bongsu.errors import DataError
from bongsu.recipe import Source


@dataclass(frozen=True)
class Awkward:
    name: str
    content: bytes
    texts: list[str]
    """Of the rows that are used."""
    dropped: dict[str, int] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)


LONG = "\n".join(f"line {number} of a very long cell" for number in range(3000))
BIG = "wort " * 300_000  # more than 1 MiB
FILES = [
    Awkward("long_cell.csv", f'text,target\n"{LONG}",1\nb,0\n'.encode(), [LONG, "b"]),
    Awkward("big_cell.csv", f'text,target\n"{BIG}",1\nb,0\n'.encode(), [BIG, "b"]),
    Awkward("quotes.tsv", b'text\ttarget\n"fire\t1\nsaid "so"\t0\n"a" b\t1\n', ['"fire', 'said "so"', '"a" b']),
    Awkward("quoted.tsv", b'"text"\t"target"\n"a\tb"\t"1"\n"say ""x"""\t"0"\n', ["a\tb", 'say "x"']),
    Awkward("blank.csv", b"text,target\n\n\na,1\n\n", ["a"], {"blank line": 3}),
    Awkward("ragged.csv", b"text,target\na,1\nb\nc,1,2\nd,0\n", ["a", "d"], {"wrong number of cells": 2}),
    Awkward("stray.csv", b'text,target\n"a" x,1\nb,0\n', ["b"], {"a stray quote": 1}),
    Awkward("excel.csv", "sep=;\r\ntext;target\r\n불;1\r\n".encode("utf-8-sig"), ["불"]),
    Awkward("mac.csv", b"text,target\ra,1\rb,0\r", ["a", "b"]),
    Awkward("wide.csv", "text,target\n불이야,1\n\n".encode("utf-16"), ["불이야"], {"blank line": 1}),
    Awkward("korean.csv", "text;target\n산불이 났다;1\n".encode("cp949"), ["산불이 났다"]),
    Awkward("western.csv", "text;target\nSchöne Grüße;1\n".encode("cp1252"), ["Schöne Grüße"]),
    Awkward("nul.csv", b"text,target\na\0b,1\nc,0\n", ["c"], {"holds NUL characters": 1}),
    Awkward("broken.csv", "text,target\n가나다라마바사,1\n".encode() + b"\xff\xfe,1\nb,0\n",
            ["가나다라마바사", "b"], {"not utf-8": 1}),
    Awkward("no_text.csv", b"text,target\n ,1\nb,0\n", ["b"], {"no text": 1}),
    Awkward("bad.jsonl", b'{"text":"a"}\n{"text":\n[1]\n{"no":1}\n\n{"text":null}\n', ["a"],
            {"not valid JSON": 1, "not a JSON object": 1, "no key 'text'": 1, "blank line": 1, "no text": 1}),
    Awkward("commas.jsonl", b'{"text":"a"},\n{"text":"b"},\n', ["a", "b"]),
    Awkward("commas.json", b'{"text":"a"},\n,{"text":"b"}\n', ["a", "b"]),
    Awkward("sequence.jsonl", b'\x1e{"text":"a"}\n\x1e{"text":"b"}\n', ["a", "b"]),
    Awkward("array.jsonl", b'[\n{"text":"a"},\n{"text":"b"}\n]\n', ["a", "b"]),
    Awkward("nan.jsonl", b'{"text":"a","n":NaN}\n{"text":NaN}\n', ["a"], {"no text": 1}),
    Awkward("array.json", b'[{"text":"a"},\n 7, {"text":""}]', ["a"], {"not a JSON object": 1, "no text": 1}),
    Awkward("some.csv", b"text,target\na,1\nb,0\nc,1\n", ["a", "c"], {"other rows than wanted": 1}, {"target": "1"}),
    Awkward("odd.parquet", parquet_bytes({"text": ["a", None, "", "b"], "list": [[1], [2], [], None]}),
            ["a", "b"], {"no text": 2}),
    Awkward("plain.txt", b"a\r\n\r\n\xef\xbb\xbf b\n", ["a", "\ufeff b"], {"blank line": 1}),
]  # fmt: skip


def check(path: str, awkward: Awkward) -> None:
    stats = ReadStats(10)
    found = [document.text for document in documents(path, stats, where=awkward.where)]
    assert found == awkward.texts, path
    assert dict(stats.dropped) == awkward.dropped, path
    assert stats.rows == len(found) + stats.dropped.total(), path


@pytest.mark.parametrize("awkward", FILES, ids=lambda awkward: awkward.name)
def test_rows_in_are_rows_used_and_rows_counted(awkward: Awkward, tmp_path: Path) -> None:
    packed = {"": awkward.content, ".gz": gzip.compress(awkward.content), ".zst": zstandard.compress(awkward.content)}
    for ending, content in packed.items():
        (tmp_path / f"{awkward.name}{ending}").write_bytes(content)
    with serving(tmp_path) as server:
        for place in (str(tmp_path), server.url):
            for ending in packed:
                check(f"{place}/{awkward.name}{ending}", awkward)


def test_a_quote_that_is_never_closed_is_told_with_its_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,target\na,1\n" + '"b,1\n' + "c,0\n" * 5000)
    with pytest.raises(DataError, match=r"a\.csv:3: a quote is opened in the row that begins here and never closed"):
        documents(path)
    assert len(documents(path, quoting="none")) == 5002


@pytest.mark.parametrize("log", [27, 28, 29, 31])
def test_zstandard_with_a_long_window_is_read_or_refused(tmp_path: Path, log: int) -> None:
    path = tmp_path / "a.jsonl.zst"
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=log)
    packer = zstandard.ZstdCompressor(
        compression_params=parameters
    ).compressobj()  # the size is not known: a window is asked for
    path.write_bytes(packer.compress(b'{"text":"a"}\n' * 1000) + packer.flush())
    if log <= 28:
        assert len(documents(path)) == 1000
        return
    with pytest.raises(DataError, match="needs more than 256 MiB of memory to unpack"):
        documents(path)
    code = "import sys; from bongsu.corpus.readers import *; from bongsu.recipe import Source\n"
    command = code + "from bongsu.cli import main; sys.argv = ['bongsu', 'audit', sys.argv[1]]; main()"
    ended = subprocess.run([sys.executable, "-c", command, str(path)], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "needs more than 256 MiB" in " ".join(ended.stderr.split())


def test_hidden_and_linked_folders_are_left_out_and_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    for name in ("a.csv", ".git/b.csv", ".ipynb_checkpoints/a.csv", "sub/c.csv", "__MACOSX/a.csv", ".d.csv", "notes.md"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text("text,target\na,1\n")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "e.csv").write_text("text,target\nsecret,1\n")
    (data / "linked").symlink_to(outside)
    (data / "link.csv").symlink_to(outside / "e.csv")
    (data / "inner.csv").symlink_to(data / "a.csv")
    found = list_files(str(data))
    assert [str(Path(file).relative_to(data)) for file in found.files] == ["a.csv", "inner.csv", "sub/c.csv"]
    left_out = {
        "hidden folder": 3,
        "linked folder": 1,
        "hidden file": 1,
        "file of another kind": 1,
        "link out of the folder": 1,
    }
    assert dict(found.left_out) == left_out
    assert len(list(read_rows(Source(path=str(data)), ReadStats(0), ["text"]))) == 3
    said = " ".join(capfd.readouterr().err.split())
    assert "3 files read; not read: hidden folder 3" in said
