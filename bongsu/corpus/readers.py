"""Readers: one stream of documents from every kind of file.

A bad line, row or file is counted, shown with its place and passed over, up to a limit; what cannot be read at all is an error
that says what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bongsu.corpus import aihub, python_docs
from bongsu.corpus.problems import Problems
from bongsu.corpus.streams import TRUNCATED, inner_suffix, lines, open_bytes, resolve
from bongsu.corpus.tables import csv_rows, jsonl_rows, parquet_rows, parse_json
from bongsu.errors import DataError
from bongsu.recipe import Source

__all__ = ["Document", "Problems", "format_of", "read", "read_rows", "resolve"]

Rows = Iterator[tuple[str, dict[str, str]]]
_BY_SUFFIX = {
    ".txt": "text",
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".json": "aihub",
    ".xlsx": "aihub",
    ".zip": "aihub",
}


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


def read(source: Source, problems: Problems) -> Iterator[Document]:
    """All documents of a source, streamed.

    Raises:
        DataError: when nothing can be read, a column is missing, or more than `source.max_bad` places are bad.
    """
    count = 0
    for path in resolve(source.path):
        try:
            for document in _READERS[format_of(source, path)](source, path, problems):
                yield document
                count += 1
                if source.limit is not None and count >= source.limit:
                    return
        except TRUNCATED as error:
            problems.skip(path, f"cut short or damaged ({error or type(error).__name__}); what came before is kept")
    if count == 0:
        raise DataError(f"{source.path}: not one text could be read from it{problems.summary()}.")


def read_rows(source: Source, problems: Problems, columns: list[str]) -> Rows:
    """Rows of a table as (place, values); `columns` must be there.

    Raises:
        DataError: naming the columns there are, when one is missing.
    """
    for path in resolve(source.path):
        form = format_of(source, path)
        try:
            if form in ("csv", "tsv", "kaggle"):
                rows = csv_rows(path, "\t" if form == "tsv" else ",", source.encoding, columns, problems)
            elif form == "jsonl":
                rows = jsonl_rows(path, source.encoding, columns, problems)
            elif form == "parquet":
                rows = parquet_rows(path, columns)
            elif form == "text":
                rows = _text_rows(source, path, problems)
            else:
                raise DataError(f"{path}: a table is needed (CSV, TSV, JSON Lines or Parquet), this is {form}.")
            for place, row in rows:
                if missing := [key for key in source.where if key not in row]:
                    raise DataError(f"{place}: there is no column {missing[0]!r}; the columns are {', '.join(row)}.")
                if all(row[key] == value for key, value in source.where.items()):
                    yield place, row
        except TRUNCATED as error:
            problems.skip(path, f"cut short or damaged ({error or type(error).__name__}); what came before is kept")


def format_of(source: Source, path: str) -> str:
    """The format of one file: as the recipe says, or by its name and its first line."""
    if source.format != "auto":
        return source.format
    if path.startswith("python:"):
        return "python"
    form = _BY_SUFFIX.get(inner_suffix(path), "text")
    if form == "jsonl":
        with open_bytes(path) as stream:
            try:
                first = next(lines(stream), (0, b""))[1] or b""
            except TRUNCATED:
                return form
        if b'"pile_set_name"' in first or b"pile_set_name" in first or first.lstrip()[:1] == b'"':
            return "pile"
    return form


def _text(source: Source, path: str, problems: Problems) -> Iterator[Document]:
    for place, row in _text_rows(source, path, problems):
        yield Document(row[source.text], place, source.path)


def _text_rows(source: Source, path: str, problems: Problems) -> Rows:
    with open_bytes(path) as stream:
        for number, line in lines(stream):
            text = problems.decode(line, f"{path}:{number}", source.encoding)
            if text and text.strip():
                yield f"{path}:{number}", {source.text: text}


def _table(source: Source, path: str, problems: Problems) -> Iterator[Document]:
    one = source.model_copy(update={"path": path, "format": format_of(source, path)})
    for place, row in read_rows(one, problems, [source.text]):
        text = row.pop(source.text)
        if text.strip():
            yield Document(text, place, source.path, fields=row)


def _pile(source: Source, path: str, problems: Problems) -> Iterator[Document]:
    seen: set[str] = set()
    found = False
    with open_bytes(path) as stream:
        for number, line in lines(stream):
            place = f"{path}:{number}"
            if line is not None and not line.strip():
                continue
            value = parse_json(line, place, source.encoding, problems)
            if value is None:
                continue
            text, subset = _pile_document(value)
            if text is None:
                problems.skip(place, "no text in this line")
                continue
            seen.add(subset)
            if not source.subsets or subset in source.subsets:
                found = True
                yield Document(text, place, source.path, fields={"subset": subset})
    if source.subsets and seen and not found:
        raise DataError(f"{path}: no document of {', '.join(source.subsets)}; the subsets here are {', '.join(sorted(seen))}.")


def _pile_document(value: object) -> tuple[str | None, str]:
    """Text and subset of a line; re-packed copies have `meta` as a string, `text` as a list, or bare strings."""
    if isinstance(value, str):
        return value, ""
    if not isinstance(value, dict):
        return None, ""
    text, meta = value.get("text"), value.get("meta")
    if isinstance(text, list) and all(isinstance(part, str) for part in text):
        text = "\n".join(text)
    if isinstance(meta, str):
        meta = parse_json(meta.encode(errors="replace"), "", "utf-8", None)
    subset = meta.get("pile_set_name", "") if isinstance(meta, dict) else ""
    return (text if isinstance(text, str) else None), str(subset)


def _aihub(source: Source, path: str, problems: Problems) -> Iterator[Document]:
    for place, text, lang in aihub.sentences(path, source.languages, problems):
        yield Document(text, place, source.path, lang)


def _python(source: Source, path: str, problems: Problems) -> Iterator[Document]:
    for place, text in python_docs.paragraphs():
        yield Document(text, place, source.path, "en")


_READERS: dict[str, Callable[[Source, str, Problems], Iterator[Document]]] = {
    "text": _text,
    "csv": _table,
    "tsv": _table,
    "jsonl": _table,
    "parquet": _table,
    "kaggle": _table,
    "pile": _pile,
    "aihub": _aihub,
    "python": _python,
}
