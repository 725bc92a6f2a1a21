"""Small files of every format, made by other programs, and short ways to read them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq

from bongsu.corpus.readers import Document, ReadStats, read
from bongsu.recipe import Source

TEXTS = ["Forest fire near La Ronge", '그는 "불이야" 하고, 외쳤다', "two\nlines; a tab\there", "😀 the end"]
PLAIN = [text.replace("\n", " ") for text in TEXTS]
PAIRS = [("가.", "Go."), ("비가 온다", 'It rains, "hard"'), ("산불", "forest fire")]
HEADER = ["SID", "원문", "번역문"]

Write = Callable[[str, bytes], Path]


def documents(path: Path | str, stats: ReadStats | None = None, **settings: Any) -> list[Document]:
    return list(read(Source(path=str(path), **settings), ReadStats(1000) if stats is None else stats))


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
        book.active.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def pairs_workbook() -> bytes:
    return workbook_bytes([HEADER, *([number, *pair] for number, pair in enumerate(PAIRS))])


def jsonl(values: list[Any]) -> bytes:
    return b"".join(json.dumps(value, ensure_ascii=False).encode() + b"\n" for value in values)


def pile(text: Any, subset: str) -> dict[str, Any]:
    return {"text": text, "meta": {"pile_set_name": subset}}


PILE = [pile("a web page", "Pile-CC"), pile("an article", "Wikipedia (en)"), pile("another", "Wikipedia (en)")]
