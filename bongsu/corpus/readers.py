"""Readers: one stream of documents from every kind of file.

A bad line or row, or a file that is cut short, is counted, shown with its place and passed over, up to a limit; what cannot
be read at all is an error that says what is there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import orjson

from bongsu.corpus import aihub, python_docs
from bongsu.corpus.lines import Part, codec_of, json_lines, numbered_lines, text_lines
from bongsu.corpus.problems import Problems
from bongsu.corpus.streams import DAMAGED, inner_suffix, open_bytes, read_some, resolve
from bongsu.corpus.tables import Rows, csv_rows, jsonl_rows
from bongsu.errors import BongsuError, DataError, need
from bongsu.progress import escape, warn
from bongsu.recipe import Source

__all__ = ["Document", "Problems", "Reading", "all_files", "documents", "format_of", "read", "read_rows", "resolve"]

_BY_SUFFIX = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".xlsx": "aihub",
    ".zip": "aihub",
}
_KAGGLE = ["id", "keyword", "location", "text"]
T = TypeVar("T")
_SUBSETS = 1000  # names remembered for the message; The Pile has 22


@dataclass(slots=True)
class Document:
    """A text and where it came from."""

    text: str
    place: str
    """`file:line` or `file:row`."""
    source: str
    lang: str | None = None
    fields: dict[str, str] = field(default_factory=dict)
    """What else the row holds."""


@dataclass
class Reading:
    """A source being read, and what was seen of it so far."""

    source: Source
    problems: Problems
    rows: int = 0
    """Rows of tables, whether wanted or not."""
    subsets: set[str] = field(default_factory=set)
    """The Pile's."""

    def nothing(self) -> DataError:
        """Why nothing was read."""
        source = self.source
        if self.rows and source.where:
            wanted = " and ".join(f"{name} = {value!r}" for name, value in source.where.items())
            return DataError(f"{source.path}: none of {self.rows:,} rows has {wanted}.")
        if self.subsets and source.subsets:
            names = ", ".join(sorted(self.subsets)[:50]) if self.subsets != {""} else "without names"
            return DataError(f"{source.path}: no document of {', '.join(source.subsets)}; the subsets here are {names}.")
        return DataError(f"{source.path}: not one text could be read from it{self.problems.summary()}.")

    def warn_of_missing(self) -> None:
        """Warns of subsets that were asked for and not found, when all of the source was read."""
        source = self.source
        if source.limit is None and (unseen := sorted(set(source.subsets) - self.subsets)):
            warn(f"{escape(source.path)}: no document of {escape(', '.join(unseen))}")


def read(source: Source, problems: Problems) -> Iterator[Document]:
    """All documents of a source, at most `source.limit`, streamed.

    Raises:
        DataError: when nothing can be read, a column is missing, or more than `problems.limit` places are bad.
    """
    reading = Reading(source, problems)
    codec_of(source.encoding)
    count = 0
    for document in islice(all_files(reading, resolve(source.path), _documents), source.limit):
        count += 1
        yield document
    if count == 0:
        raise reading.nothing()
    reading.warn_of_missing()


def read_rows(source: Source, problems: Problems, columns: list[str]) -> Rows:
    """Rows of a table (CSV, TSV, JSON Lines, Parquet; a text file has one column) as (place, values); `columns` must be there.

    Raises:
        DataError: naming the columns there are, when one is missing; when there is no row; when too many are bad.
    """
    reading = Reading(source, problems)
    codec_of(source.encoding)
    count = 0
    rows = all_files(reading, resolve(source.path), lambda reading, path, form: _rows(reading, Part(path), form, columns))
    for row in islice(rows, source.limit):
        count += 1
        yield row
    if count == 0:
        raise reading.nothing()


def format_of(source: Source, path: str) -> str:
    """The format of one file: as the recipe says, or by its name and how it begins.

    Raises:
        DataError: when the file cannot be opened.
    """
    if source.format != "auto":
        return source.format
    if path.startswith("python:"):
        return "python"
    suffix = inner_suffix(path)
    if suffix == ".json":
        return "aihub" if aihub.JSON_START.search(_head(path)) else "jsonl"
    form = _BY_SUFFIX.get(suffix, "text")
    if form == "jsonl" and _is_pile(_first_line(path, source.encoding)):
        return "pile"
    if form == "csv" and source.text == "text" and re.match(rb'"?id"?,"?keyword"?,"?location"?,"?text\b', _head(path)):
        return "kaggle"
    return form


def all_files(reading: Reading, paths: list[str], read_file: Callable[[Reading, str, str], Iterator[T]]) -> Iterator[T]:
    """What `read_file` finds in each file; a file that is cut short is a problem."""
    for path in paths:
        try:
            yield from read_file(reading, path, format_of(reading.source, path))
        except BongsuError:
            raise
        except DAMAGED as error:
            reading.problems.skip(path, f"cut short or damaged ({error or type(error).__name__}); what came before it is kept")
        except Exception as error:
            # fsspec's back ends raise errors of their own kinds
            if "://" not in path and not isinstance(error, OSError):
                raise
            raise DataError(f"{path}: cannot be read ({error or type(error).__name__}).") from None


def documents(reading: Reading, part: Part, form: str) -> Iterator[Document]:
    """The documents of a file of the format `form`, or of some of its lines."""
    source, path = reading.source, part.path
    if form == "pile":
        yield from _pile(reading, part)
    elif form == "aihub":
        for place, text, lang in aihub.sentences(path, source.languages, source.encoding, reading.problems):
            yield Document(text, place, source.path, lang)
    elif form == "python":
        for place, text in python_docs.paragraphs():
            yield Document(text, place, source.path, "en")
    else:
        column = "text" if form == "kaggle" else source.text
        for place, row in _rows(reading, part, form, _KAGGLE if form == "kaggle" else [column]):
            text = row.pop(column)
            if text.strip():
                yield Document(text, place, source.path, fields=row)


def _documents(reading: Reading, path: str, form: str) -> Iterator[Document]:
    return documents(reading, Part(path), form)


def _rows(reading: Reading, part: Part, form: str, columns: list[str]) -> Rows:
    """The wanted rows of one file."""
    source, problems, path = reading.source, reading.problems, part.path
    needed = [*columns, *source.where]
    if form in ("csv", "tsv", "kaggle"):
        rows = csv_rows(path, "\t" if form == "tsv" else ",", source.encoding, needed, problems)
    elif form in ("jsonl", "pile"):
        rows = jsonl_rows(part, source.encoding, needed, problems)
    elif form == "parquet":
        need("pyarrow", "train")
        from bongsu.corpus.parquet import parquet_rows

        rows = parquet_rows(path, needed, problems)
    elif form == "text":
        rows = ((place, {source.text: text}) for place, text in text_lines(part, source.encoding, problems) if text.strip())
    else:
        raise DataError(f"{path}: a table is needed (CSV, TSV, JSON Lines or Parquet), this is {form}.")
    for place, row in rows:
        reading.rows += 1
        if all(row.get(name) == value for name, value in source.where.items()):
            yield place, row


def _pile(reading: Reading, part: Part) -> Iterator[Document]:
    """The Pile (Gao et al. 2020): one {"text": ..., "meta": {"pile_set_name": ...}} a line."""
    source = reading.source
    wanted = set(source.subsets)
    for place, value in json_lines(part, source.encoding, reading.problems):
        text, subset = _pile_document(value)
        if text is None:
            reading.problems.skip(place, "no text in this line")
            continue
        if len(reading.subsets) < _SUBSETS:
            reading.subsets.add(subset)
        if (not wanted or subset in wanted) and text.strip():
            yield Document(text, place, source.path, fields={"subset": subset})


def _pile_document(value: Any) -> tuple[str | None, str]:
    """Text and subset of a line; re-packed copies have `meta` as a string, `text` as a list, or are bare strings."""
    if isinstance(value, str):
        return value, ""
    if not isinstance(value, dict):
        return None, ""
    text, meta = value.get("text"), value.get("meta")
    if isinstance(text, list) and all(isinstance(part, str) for part in text):
        text = "\n".join(text)
    if isinstance(meta, str):
        try:
            meta = orjson.loads(meta)
        except orjson.JSONDecodeError:
            meta = None
    subset = meta.get("pile_set_name") if isinstance(meta, dict) else None
    return (text if isinstance(text, str) else None), (subset if isinstance(subset, str) else "")


def _is_pile(line: bytes) -> bool:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(value, str) or bool(_pile_document(value)[1])


def _first_line(path: str, encoding: str) -> bytes:
    """The first line that is not blank, or nothing when it is too long or the file is damaged."""
    try:
        with open_bytes(path) as stream:
            return next((line for _, line in numbered_lines(stream, encoding) if line is None or line.strip()), None) or b""
    except DAMAGED:
        return b""


def _head(path: str) -> bytes:
    """The first bytes, without the mark of UTF-8; fewer when the file is damaged."""
    data = b""
    with suppress(*DAMAGED), open_bytes(path) as stream:
        while len(data) < aihub.HEAD and (chunk := read_some(stream, aihub.HEAD)):
            data += chunk
    return data.removeprefix(b"\xef\xbb\xbf")
