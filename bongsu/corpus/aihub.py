"""AI Hub's Korean-English corpora: workbooks with the columns 원문 and 번역문, alone or in a zip, and the newer JSON."""

from __future__ import annotations

import codecs
import json
import re
import zipfile
from collections.abc import Iterator
from typing import IO, Any

from bongsu.corpus import workbooks
from bongsu.corpus.lines import codec_of
from bongsu.corpus.problems import Problems
from bongsu.corpus.streams import inner_suffix, open_bytes, open_seekable, read_some, temporary_copy
from bongsu.errors import DataError

KOREAN, ENGLISH = "원문", "번역문"
HEAD = 2**16
JSON_START = re.compile(rb'\A\s*(?:\[|\{.*?"data"\s*:\s*\[)', re.DOTALL)

_START = re.compile(JSON_START.pattern.decode(), re.DOTALL)
_BETWEEN = " \t\r\n,"
_LONGEST_PAIR = 2**22
_CHUNK = 2**18

Sentences = Iterator[tuple[str, str, str]]


def sentences(path: str, languages: str, encoding: str, problems: Problems) -> Sentences:
    """(`file:row`, text, "ko" or "en") of each side asked for.

    Raises:
        DataError: when the file is not a workbook, zip or JSON of AI Hub's kind.
    """
    suffix = inner_suffix(path)
    if suffix == ".zip":
        with open_seekable(path) as stream:
            yield from _zip(path, stream, languages, encoding, problems)
    elif suffix == ".xlsx":
        with open_seekable(path) as stream:
            yield from _workbook(path, stream, languages, problems)
    else:
        with open_bytes(path) as stream:
            yield from _json(path, stream, languages, encoding, problems)


def _zip(path: str, stream: IO[bytes], languages: str, encoding: str, problems: Problems) -> Sentences:
    with workbooks.zip_errors(path, "zip file"), zipfile.ZipFile(stream) as archive:
        workbooks.refuse_bomb(path, archive)
        members = {_name(entry): entry for entry in archive.infolist() if not entry.is_dir()}
        wanted = [name for name in sorted(members) if name.lower().endswith((".xlsx", ".json")) and not _hidden(name)]
        if not wanted:
            raise DataError(f"{path}: there is no .xlsx and no .json in this zip file.")
        for name in wanted:
            with archive.open(members[name]) as member, temporary_copy(member, f"{path}/{name}") as content:
                if name.lower().endswith(".xlsx"):
                    yield from _workbook(f"{path}/{name}", content, languages, problems)
                else:
                    yield from _json(f"{path}/{name}", content, languages, encoding, problems)


def _name(entry: zipfile.ZipInfo) -> str:
    """Korean zip programs write names in code page 949 without saying so; `zipfile` reads those as code page 437."""
    if entry.flag_bits & 0x800:
        return entry.filename
    raw = entry.filename.encode("cp437", errors="replace")
    for encoding in ("utf-8", "cp949"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return entry.filename


def _hidden(name: str) -> bool:
    return name.rsplit("/", 1)[-1].startswith((".", "~$"))


def _workbook(path: str, stream: IO[bytes], languages: str, problems: Problems) -> Sentences:
    rows = workbooks.first_sheet(path, stream)
    header = [cell.strip() for cell in next(rows, [])]
    if KOREAN not in header or ENGLISH not in header:
        there = ", ".join(header) or "none"
        raise DataError(f"{path}: the columns {KOREAN} and {ENGLISH} are needed; the columns are {there}.")
    korean, english = (len(header) - 1 - header[::-1].index(name) for name in (KOREAN, ENGLISH))
    for number, row in enumerate(rows, start=2):
        if any(row):
            yield from _pair(f"{path}:{number}", row[korean], row[english], languages, problems)


def _json(path: str, stream: IO[bytes], languages: str, encoding: str, problems: Problems) -> Sentences:
    for number, pair in enumerate(_objects(path, stream, encoding, problems), start=1):
        korean, english = (pair.get(key) if isinstance(pair, dict) else None for key in ("ko", "en"))
        yield from _pair(f"{path}:{number}", korean, english, languages, problems)


def _objects(path: str, stream: IO[bytes], encoding: str, problems: Problems) -> Iterator[Any]:
    """The values of the array under "data" (or of a bare array), one after the other, so that memory stays flat."""
    codec = codec_of(encoding)[0]
    decoder = codecs.getincrementaldecoder("utf-8-sig" if codec == "utf-8" else codec)()
    parse = json.JSONDecoder().raw_decode
    text, number, whole = "", 0, False
    while (start := _START.match(text)) is None:
        chunk = read_some(stream, HEAD)
        try:
            text += decoder.decode(chunk, not chunk)
        except UnicodeError:
            raise DataError(f"{path}: not {encoding}; set encoding for this source.") from None
        if not chunk or len(text) > 2 * HEAD:
            raise DataError(f'{path}: not of AI Hub\'s form, {{"data": [{{"ko": ..., "en": ...}}]}}.')
    at = start.end()
    while True:
        while text[at : at + 1] in _BETWEEN and at < len(text):
            at += 1
        try:
            if text[at : at + 1] == "]":
                return
            value, end = parse(text, at)
            if end == len(text) and not whole:
                raise ValueError("more digits may follow")
        except (ValueError, RecursionError) as error:
            if whole or len(text) - at > _LONGEST_PAIR:
                why = "the file ends too early" if not text[at:] else f"not valid JSON ({str(error)[:100]})"
                problems.skip(f"{path}:{number + 1}", f"{why}; what came before it is kept")
                return
            chunk = read_some(stream, max(_CHUNK, len(text) - at))
            try:
                text, at, whole = text[at:] + decoder.decode(chunk, not chunk), 0, not chunk
            except UnicodeError:
                problems.skip(f"{path}:{number + 1}", f"not {encoding} from here on; what came before it is kept")
                return
            continue
        number, at = number + 1, end
        yield value


def _pair(place: str, korean: Any, english: Any, languages: str, problems: Problems) -> Sentences:
    wanted = [("ko", korean)] * (languages != "en") + [("en", english)] * (languages != "ko")
    for lang, text in wanted:
        text = text.strip() if isinstance(text, str) else ""
        if not text:
            problems.skip(place, f"no text in {lang}")
        elif text != text.encode(errors="replace").decode():
            problems.skip(place, "half a character (a lone surrogate)")
        else:
            yield place, text, lang
