"""Readers: one stream of documents or rows from every kind of file.

Every row is used or counted under a reason. A bad line or row, or a truncated file, is counted, reported with its place and
skipped, up to a limit; a file that cannot be read at all is an error that says what it contains.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import orjson

from bongsu.corpus import aihub, python_docs
from bongsu.corpus.detection import (
    HEAD,
    READABLE,
    Dialect,
    detect_delimiter,
    detect_encoding,
    detect_quoting,
    kind_of,
    line_end,
)
from bongsu.corpus.json_arrays import ARRAY_START
from bongsu.corpus.lines import Line, Part, codec_of, decoded_lines, json_lines, text_lines
from bongsu.corpus.stats import Place, ReadStats
from bongsu.corpus.streams import DAMAGED, FileList, inner_suffix, list_files, open_bytes, read_some, resolve
from bongsu.corpus.tables import Rows, array_rows, csv_rows, jsonl_rows
from bongsu.errors import BongsuError, DataError, MissingColumnError, need
from bongsu.files import redacted, redacted_text
from bongsu.progress import escape, warn
from bongsu.recipe import Source

__all__ = [
    "Document",
    "Place",
    "ReadStats",
    "documents",
    "each_file",
    "format_of",
    "lines_of",
    "read",
    "read_rows",
    "resolve",
    "whole_texts",
]

_BY_SUFFIX = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".xlsx": "aihub",
    ".zip": "aihub",
}
_BINARY = (".parquet", ".xlsx", ".zip")
_TABLES = ("csv", "tsv", "kaggle")
_KAGGLE = ["id", "keyword", "location", "text"]
_ARRAY_OF_OBJECTS = re.compile(r"\s*\[\s*\{")
_KAGGLE_HEADER = re.compile(r'"?id"?,"?keyword"?,"?location"?,"?text\b')
_LOOKED_AT = 2**16  # characters that show the format
_SEPARATOR = re.compile("sep=(.)")  # Excel's own first line
T = TypeVar("T")


@dataclass(slots=True)
class Document:
    """A text and where it came from."""

    text: str
    place: Place
    source: str
    """The path of the source, without the secrets of a URL."""
    lang: str | None = None


@dataclass(frozen=True)
class File:
    """A file whose format was detected."""

    part: Part
    """All of it."""
    form: str
    """A format of `recipe.Source`, but not "auto"."""
    head: str = ""
    """How a text begins."""
    whole: bool = False
    """Whether `head` is all of it."""


def read(source: Source, stats: ReadStats) -> Iterator[Document]:
    """Stream all documents of a source, at most `source.limit`; what was not used is printed at the end.

    Raises:
        DataError: when nothing can be read, a column is missing, or more than `stats.limit` places are bad.
    """
    yield from _checked(source, stats, each_file(source, stats, list_files(source.path), documents))
    warn_of_missing_subsets(source, stats)


def read_rows(source: Source, stats: ReadStats, columns: Sequence[str], also: Sequence[str] | None = None) -> Rows:
    """Stream the rows of a table as (place, values): CSV, TSV, JSON Lines, JSON, Parquet; a text file has one column.

    In JSON a name with dots reaches into objects: "labels.score" is the key "score" of the object "labels". What was not used
    is printed at the end. A caller that cannot use a row says so by `stats.skip` or `stats.drop`.

    Args:
        columns: must be there.
        also: columns whose values are wanted if they are there; None for all that hold text, numbers or dates.

    Raises:
        DataError: naming the columns there are, when one is missing; when there is no row; when too many are bad.
    """

    def rows(source: Source, stats: ReadStats, file: File) -> Rows:
        return _rows(source, stats, file, columns, also)

    return _checked(source, stats, each_file(source, stats, list_files(source.path), rows))


def lines_of(source: Source, stats: ReadStats) -> Iterator[tuple[str, Line]]:
    """Stream the lines of text files, blank and faulty ones included, as (path to show, line); rows are not counted.

    Raises:
        DataError: when a file cannot be read.
    """

    def lines(source: Source, stats: ReadStats, file: File) -> Iterator[tuple[str, Line]]:
        return ((redacted(file.part.path), line) for line in decoded_lines(file.part))

    return each_file(source.model_copy(update={"format": "text"}), stats, list_files(source.path), lines)


def whole_texts(source: Source, stats: ReadStats) -> Iterator[tuple[str, str]]:
    """Read text files whole, as (path to show, text); rows are not counted.

    Raises:
        DataError: when a file cannot be read, or is not of its encoding.
    """

    def whole(source: Source, stats: ReadStats, file: File) -> Iterator[tuple[str, str]]:
        shown = redacted(file.part.path)
        with open_bytes(file.part.path) as stream:
            data = stream.read()
        try:
            yield shown, data.decode(codec_of(file.part.encoding)[0]).removeprefix("\ufeff")
        except UnicodeError as error:
            raise DataError(f"{shown}: not {file.part.encoding} ({error}); set encoding (or --encoding).") from None

    return each_file(source.model_copy(update={"format": "text"}), stats, list_files(source.path), whole)


def format_of(source: Source, path: str) -> str:
    """Return the format of one file: as the recipe says, or by its name and how it begins.

    Raises:
        DataError: when the file cannot be opened.
    """
    return _look(source, path).form


def each_file(
    source: Source, stats: ReadStats, files: FileList, read_file: Callable[[Source, ReadStats, File], Iterator[T]]
) -> Iterator[T]:
    """Stream what `read_file` finds in each file; a file that is cut short is counted as a bad place.

    Raises:
        DataError: when a file cannot be read at all.
    """
    codec_of("utf-8" if source.encoding == "auto" else source.encoding)
    stats.files_left_out += files.left_out
    for path in files.files:
        stats.files += 1
        shown = redacted(path)
        try:
            file = _look(source, path)
            if source.encoding == "auto" and (file.part.encoding, file.part.line_end) != ("utf-8", "\n"):
                ends = "" if file.part.line_end == "\n" else ", lines end in a carriage return"
                stats.assume(f"{shown}", f"read as {file.part.encoding}{ends}")
            yield from read_file(source, stats, file)
        except BongsuError:
            raise
        except DAMAGED as error:
            reason = redacted_text(str(error)) or type(error).__name__
            stats.damage(shown, f"cut short or damaged ({reason}); what came before it is kept")
        except Exception as error:
            # fsspec's back ends raise errors of their own kinds
            if "://" not in path and not isinstance(error, OSError):
                raise
            raise DataError(f"{shown}: cannot be read ({redacted_text(str(error)) or type(error).__name__}).") from None


def documents(source: Source, stats: ReadStats, file: File) -> Iterator[Document]:
    """Stream the documents of a file, or of some of its lines."""
    name, path = redacted(source.path), file.part.path
    if file.form == "pile":
        yield from _pile(source, stats, file.part)
    elif file.form == "aihub":
        encoding = source.encoding if inner_suffix(path) in _BINARY else file.part.encoding
        for place, text, lang in aihub.sentences(path, source.languages, encoding, stats):
            yield Document(text, place, name, lang)
    elif file.form == "python":
        for row, (topic, text) in enumerate(python_docs.paragraphs()):
            stats.rows += 1
            yield Document(text, Place(topic, row + 1, row), name, "en")
    else:
        column = "text" if file.form == "kaggle" else source.text
        rows = _rows(source, stats, file, _KAGGLE if file.form == "kaggle" else [column], [])
        for place, values in _advised(rows, f"Name the text column with the key `text` of the source {name!r}."):
            text = values[column]
            if text.strip():
                yield Document(text, place, name)
            else:
                stats.drop("no text")


def _advised(rows: Rows, advice: str) -> Rows:
    """Yield the rows; add advice to the error of a missing column."""
    try:
        yield from rows
    except MissingColumnError as error:
        raise error.advise(advice) from None


def nothing_read(source: Source, stats: ReadStats) -> DataError:
    """Return the error that says why nothing was read."""
    name = redacted(source.path)
    if stats.dropped["other rows than wanted"] and source.where:
        wanted = " and ".join(f"{column} = {value!r}" for column, value in source.where.items())
        return DataError(f"{name}: none of {stats.rows:,} rows has {wanted}.")
    if stats.subsets and source.subsets:
        names = ", ".join(sorted(stats.subsets)[:50]) if stats.subsets != {""} else "without names"
        return DataError(f"{name}: no document of {', '.join(source.subsets)}; the subsets here are {names}.")
    if not stats.rows and not stats.summary():
        return DataError(f"{name}: nothing to read; it is empty, or has a header alone.")
    return DataError(f"{name}: not one text could be read from it{stats.summary()}.")


def warn_of_missing_subsets(source: Source, stats: ReadStats) -> None:
    """Warn of subsets that were asked for and not found, when all of the source was read."""
    if source.limit is None and (unseen := sorted(set(source.subsets) - stats.subsets)):
        warn(f"{escape(redacted(source.path))}: no document of {escape(', '.join(unseen))}")


def _checked(source: Source, stats: ReadStats, found: Iterator[T]) -> Iterator[T]:
    """Stream items up to the source's limit, and print how many rows were not used.

    Raises:
        DataError: when nothing was found.
    """
    count = 0
    for item in islice(found, source.limit):
        count += 1
        yield item
    if count == 0:
        raise nothing_read(source, stats)
    stats.report(redacted(source.path))


def _look(source: Source, path: str) -> File:
    """Detect the format of a file by its beginning.

    Raises:
        DataError: when its encoding cannot be determined, or it is of another kind than its name says.
    """
    if path.startswith("python:"):
        return File(Part(path), "python")
    suffix = inner_suffix(path)
    form = source.format if source.format != "auto" else _BY_SUFFIX.get(suffix, "text")
    if form == "parquet" or (suffix in _BINARY and form == "aihub"):
        return File(Part(path), form)
    data, whole = _head(path)
    shown = redacted(path)
    encoding = source.encoding
    if encoding == "auto":
        found = detect_encoding(data, whole)
        if kind := kind_of(data):
            advice = "give it the name of one, or set format" if kind in READABLE else "save what is to be read as text or CSV"
            raise DataError(f"{shown}: by its first bytes this is a {kind} file; {advice}.")
        if found is None:
            raise DataError(
                f"{shown}: not text in UTF-8, UTF-16, cp949 or cp1252. If it is text in another encoding, set encoding "
                "(or --encoding)."
            )
        encoding = found
    head = data.decode(codec_of(encoding)[0], "replace").removeprefix("\ufeff")
    end = line_end(head)
    if source.format == "auto":
        form = _form(source, form, head, end)
    return File(Part(path, encoding, end), form, head, whole)


def _form(source: Source, form: str, head: str, end: str) -> str:
    """Return the format of a text by how it begins."""
    if form == "json":
        start = head[:_LOOKED_AT]
        form = "aihub" if aihub.is_pairs(start) else "json" if ARRAY_START.search(start) else "jsonl"
    elif form == "jsonl" and _ARRAY_OF_OBJECTS.match(head):
        form = "json"
    if form == "jsonl" and _is_pile(next((line for line in _lines(head, end) if line.strip()), "")):
        return "pile"
    if form == "csv" and source.text == "text" and _KAGGLE_HEADER.match(head):
        return "kaggle"
    return form


def _lines(head: str, end: str) -> Iterator[str]:
    """Cut a text at its line ends, one after the other."""
    start = 0
    while start < len(head):
        stop = head.find(end, start)
        stop = len(head) if stop < 0 else stop
        yield head[start:stop].rstrip("\r")
        start = stop + 1


def _dialect(source: Source, stats: ReadStats, file: File, columns: Sequence[str]) -> Dialect:
    """Return the dialect of a table, from the recipe or detected."""
    usual = "\t" if file.form == "tsv" else ","
    complete = file.head if file.whole else file.head[: file.head.rfind(file.part.line_end) + 1]
    lines = [line for line in _lines(complete, file.part.line_end) if line.strip(" \r")]
    excel = _SEPARATOR.fullmatch(lines[0]) if lines else None
    header = lines[bool(excel)] if len(lines) > bool(excel) else file.head[:_LOOKED_AT]
    if source.delimiter != "auto":
        delimiter = source.delimiter
    else:
        delimiter = excel[1] if excel else detect_delimiter(header, usual, columns)
    quoted = detect_quoting(lines, delimiter) if source.quoting == "auto" else source.quoting == "rfc4180"
    names = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
    what = []
    if source.delimiter == "auto" and delimiter != usual:
        what.append(f"cells are separated by {names.get(delimiter, repr(delimiter))}")
    if source.quoting == "auto" and delimiter == "\t" and '"' in complete:
        what.append("cells are quoted" if quoted else "a quote is a character as any other")
    if what:
        stats.assume(redacted(file.part.path), ", ".join(what))
    return Dialect(delimiter, quoted)


def _rows(source: Source, stats: ReadStats, file: File, columns: Sequence[str], also: Sequence[str] | None) -> Rows:
    """Stream the wanted rows of one file."""
    needed = list(dict.fromkeys([*columns, *source.where]))
    part = file.part
    if file.form in _TABLES:
        rows = csv_rows(part, _dialect(source, stats, file, needed), needed, also, stats)
    elif file.form in ("jsonl", "pile"):
        rows = jsonl_rows(part, needed, also, stats)
    elif file.form == "json" or (file.form == "aihub" and inner_suffix(part.path) == ".json"):
        rows = array_rows(part, needed, also, stats)
    elif file.form == "parquet":
        need("pyarrow", "train")
        from bongsu.corpus.parquet import parquet_rows

        rows = parquet_rows(part.path, needed, also, stats)
    elif file.form == "text":
        if missing := [name for name in needed if name != source.text]:
            raise DataError(f"{redacted(part.path)}: a file of text has no columns, and so none that is called {missing[0]!r}.")
        rows = ((place, {source.text: text}) for place, text in text_lines(part, stats))
    else:
        raise DataError(
            f"{redacted(part.path)}: a table is needed (CSV, TSV, JSON Lines, JSON or Parquet), this is {file.form}."
        )
    for place, values in rows:
        if all(values.get(name) == value for name, value in source.where.items()):
            yield place, values
        else:
            stats.drop("other rows than wanted")


def _pile(source: Source, stats: ReadStats, part: Part) -> Iterator[Document]:
    """Read The Pile (Gao et al. 2020): one {"text": ..., "meta": {"pile_set_name": ...}} a line."""
    wanted, name = set(source.subsets), redacted(source.path)
    for place, value in json_lines(part, stats):
        text, subset = _pile_document(value)
        if text is None:
            stats.skip(place, "no text in this line")
            continue
        stats.see_subset(subset)
        if wanted and subset not in wanted:
            stats.drop("other subsets than wanted")
        elif text.strip():
            yield Document(text, place, name)
        else:
            stats.drop("no text")


def _pile_document(value: Any) -> tuple[str | None, str]:
    """Return text and subset of a line; re-packed copies have `meta` as a string, `text` as a list, or are bare strings."""
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


def _is_pile(line: str) -> bool:
    try:
        value = orjson.loads(line)
    except (orjson.JSONDecodeError, UnicodeError):
        return False
    return isinstance(value, str) or bool(_pile_document(value)[1])


def _head(path: str) -> tuple[bytes, bool]:
    """Read the first bytes, and whether they are all; fewer when the file is damaged."""
    chunks: list[bytes] = []
    missing = HEAD
    with suppress(*DAMAGED), open_bytes(path) as stream:
        while missing > 0:
            chunk = read_some(stream, missing)
            if not chunk:
                return b"".join(chunks), True
            chunks.append(chunk)
            missing -= len(chunk)
    return b"".join(chunks), False
