"""AI Hub's Korean-English corpora: workbooks with the columns 원문 and 번역문, alone or in a zip, and the newer JSON."""

from __future__ import annotations

import codecs
import json
import re
import zipfile
from collections.abc import Iterator
from typing import IO, Any

from bongsu.corpus import workbooks
from bongsu.corpus.detection import HEAD, detect_encoding
from bongsu.corpus.lines import codec_of
from bongsu.corpus.stats import Place, ReadStats
from bongsu.corpus.streams import inner_suffix, open_bytes, open_seekable, read_some, temporary_copy
from bongsu.errors import DataError
from bongsu.files import redacted

KOREAN, ENGLISH = "원문", "번역문"
JSON_START = re.compile(r'\A\s*(?:\[|\{.*?"data"\s*:\s*\[)', re.DOTALL)

_HEAD = 2**16
_BETWEEN = " \t\r\n,"
_LONGEST_PAIR = 2**22
_CHUNK = 2**18

Sentences = Iterator[tuple[Place, str, str]]


def sentences(path: str, languages: str, encoding: str, stats: ReadStats) -> Sentences:
    """Read (place, text, "ko" or "en") of each side asked for; a side without text is counted.

    Args:
        encoding: of JSON; within a zip file "auto" finds it by looking.

    Raises:
        DataError: when the file is not a workbook, zip or JSON of AI Hub's kind.
    """
    suffix, shown = inner_suffix(path), redacted(path)
    if suffix == ".zip":
        with open_seekable(path) as stream:
            yield from _zip(shown, stream, languages, encoding, stats)
    elif suffix == ".xlsx":
        with open_seekable(path) as stream:
            yield from _workbook(shown, stream, languages, stats)
    else:
        with open_bytes(path) as stream:
            yield from _json(shown, stream, languages, encoding, stats)


def _zip(path: str, stream: IO[bytes], languages: str, encoding: str, stats: ReadStats) -> Sentences:
    with workbooks.zip_errors(path, "zip file"), workbooks.open_zip(path, stream) as archive:
        members = {_name(entry): entry for entry in archive.infolist() if not entry.is_dir()}
        wanted = [name for name in sorted(members) if name.lower().endswith((".xlsx", ".json")) and not _hidden(name)]
        stats.files_left_out["in a zip file, hidden or of another kind"] += len(members) - len(wanted)
        if not wanted:
            raise DataError(f"{path}: there is no .xlsx and no .json in this zip file.")
        for name in wanted:
            stats.files += 1
            with archive.open(members[name]) as member, temporary_copy(member, f"{path}/{name}") as content:
                if name.lower().endswith(".xlsx"):
                    yield from _workbook(f"{path}/{name}", content, languages, stats)
                else:
                    found = (detect_encoding(content.read(HEAD), False) or "utf-8") if encoding == "auto" else encoding
                    content.seek(0)
                    yield from _json(f"{path}/{name}", content, languages, found, stats)


def _name(entry: zipfile.ZipInfo) -> str:
    """Return a member's name: Korean zip programs write cp949 without saying so, which `zipfile` reads as code page 437."""
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
    return any(part.startswith((".", "~$")) or part == "__MACOSX" for part in name.split("/"))


def _workbook(path: str, stream: IO[bytes], languages: str, stats: ReadStats) -> Sentences:
    rows = workbooks.first_sheet(path, stream)
    first, header = next(rows, (0, {}))
    names = {column: name.strip() for column, name in header.items()}
    there = list(names.values())
    if KOREAN not in there or ENGLISH not in there:
        raise DataError(
            f"{path}: the columns {KOREAN} and {ENGLISH} are needed; the columns are {', '.join(there[:50]) or 'none'}."
        )
    if twice := [name for name in (KOREAN, ENGLISH) if there.count(name) > 1]:
        raise DataError(f"{path}: the column {twice[0]} occurs {there.count(twice[0])} times; rename all but one.")
    korean, english = (next(column for column, name in names.items() if name == wanted) for wanted in (KOREAN, ENGLISH))
    for number, row in rows:
        place = Place(path, number, number - first - 1)
        yield from _pair(place, row.get(korean), row.get(english), languages, stats)


def _json(path: str, stream: IO[bytes], languages: str, encoding: str, stats: ReadStats) -> Sentences:
    for row, pair in enumerate(_objects(path, stream, encoding, stats)):
        korean, english = (pair.get(key) if isinstance(pair, dict) else None for key in ("ko", "en"))
        yield from _pair(Place(path, row + 1, row), korean, english, languages, stats)


def _objects(path: str, stream: IO[bytes], encoding: str, stats: ReadStats) -> Iterator[Any]:
    """Read the values of the array under "data" (or of a bare array), one after the other, so that memory stays flat."""
    codec = codec_of(encoding)[0]
    decoder = codecs.getincrementaldecoder("utf-8-sig" if codec == "utf-8" else codec)()
    parse = json.JSONDecoder().raw_decode
    text, number, whole = "", 0, False
    while (start := JSON_START.match(text)) is None:
        chunk = read_some(stream, _HEAD)
        try:
            text += decoder.decode(chunk, not chunk)
        except UnicodeError:
            raise DataError(f"{path}: not {encoding}; set encoding for this source.") from None
        if not chunk or len(text) > 2 * _HEAD:
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
                stats.damage(f"{path}:{number + 1}", f"{why}; what came before it is kept")
                return
            chunk = read_some(stream, max(_CHUNK, len(text) - at))
            try:
                text, at, whole = text[at:] + decoder.decode(chunk, not chunk), 0, not chunk
            except UnicodeError:
                stats.damage(f"{path}:{number + 1}", f"not {encoding} from here on; what came before it is kept")
                return
            continue
        number, at = number + 1, end
        yield value


def _pair(place: Place, korean: Any, english: Any, languages: str, stats: ReadStats) -> Sentences:
    wanted = [("ko", korean)] * (languages != "en") + [("en", english)] * (languages != "ko")
    for lang, text in wanted:
        stats.rows += 1
        text = text.strip() if isinstance(text, str) else ""
        if not text:
            stats.skip(place, f"no text in {lang}")
        elif text != text.encode(errors="replace").decode():
            stats.skip(place, "half a character (a lone surrogate)")
        else:
            yield place, text, lang
