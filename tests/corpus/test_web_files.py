"""Files of a real web server: plain and packed, with ranges and without, compressed on the way, cut off."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from corpus_samples import csv_bytes, jsonl, parquet_bytes, texts
from web_server import WebServer, serving

from bongsu.corpus.readers import ReadStats, read_rows
from bongsu.errors import DataError
from bongsu.recipe import Source

ROWS = [(f"text {number}, 줄 {number}", str(number % 2)) for number in range(5000)]
PLAIN = {
    "a.csv": csv_bytes([["text", "target"], *map(list, ROWS)]),
    "korean.csv": csv_bytes([["text", "target"], *map(list, ROWS)]).decode().encode("cp949"),
    "a.jsonl": jsonl([{"text": text, "target": label} for text, label in ROWS]),
    "a.json": b"[" + b",".join(jsonl([{"text": text, "target": label} for text, label in ROWS]).splitlines()) + b"]",
}
FILES = {
    **PLAIN,
    **{f"{name}.gz": gzip.compress(data) for name, data in PLAIN.items()},
    **{f"{name}.zst": zstandard.compress(data) for name, data in PLAIN.items()},
    "a.parquet": parquet_bytes({"text": [text for text, _ in ROWS], "target": [label for _, label in ROWS]}),
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WebServer]:
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    with serving(tmp_path) as found:
        yield found


def rows(url: str, stats: ReadStats | None = None) -> list[tuple[str, str]]:
    return [
        (row["text"], row["target"]) for _, row in read_rows(Source(path=url), stats or ReadStats(0), ["text", "target"], [])
    ]


@pytest.mark.parametrize("how", ["ranges", "no ranges", "compressed", "without a length"])
def test_every_kind_of_file_is_read_whole(server: WebServer, how: str) -> None:
    server.ranges, server.compressed, server.chunked = how == "ranges", how == "compressed", how == "without a length"
    for name in FILES:
        assert rows(f"{server.url}/{name}?key=secret") == ROWS, name
    assert len(texts(f"{server.url}/a.csv")) == len(ROWS)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl.gz", "a.parquet"])
def test_a_broken_connection_is_gone_on_with(server: WebServer, name: str) -> None:
    server.cut_after = 20_000
    assert rows(f"{server.url}/{name}") == ROWS
    assert any(server.requests)


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_what_a_server_cuts_off_is_said(server: WebServer, ending: str) -> None:
    server.cut_after, server.ranges = len(FILES[f"a.jsonl{ending}"]) * 9 // 10, False
    stats = ReadStats(10)
    found = rows(f"{server.url}/a.jsonl{ending}", stats)
    assert found == ROWS[: len(found)]
    assert len(found) > 100
    assert any("cut short or damaged (the connection broke after" in place for place in stats.examples)
    with pytest.raises(DataError, match="cut short"):
        rows(f"{server.url}/a.jsonl{ending}", ReadStats(0))


def test_what_is_not_there_is_said_without_the_key(server: WebServer) -> None:
    with pytest.raises(DataError, match=r"nothing\.csv: the server answers 404") as error:
        rows(f"{server.url}/nothing.csv?key=secret")
    assert "secret" not in str(error.value)
