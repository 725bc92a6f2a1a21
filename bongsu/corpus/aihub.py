"""AI Hub's Korean-English corpora: workbooks with the columns 원문 and 번역문, alone or in a zip, and the newer JSON."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from typing import IO, Any

from bongsu.corpus import workbooks
from bongsu.corpus.detection import HEAD, detect_encoding
from bongsu.corpus.json_arrays import ARRAY_START, array_values
from bongsu.corpus.stats import Place, ReadStats
from bongsu.corpus.streams import inner_suffix, open_bytes, open_seekable, temporary_copy
from bongsu.errors import DataError
from bongsu.files import redacted

KOREAN, ENGLISH = "원문", "번역문"
_KEYS = re.compile(r'"(?:ko|en)"\s*:')

Sentences = Iterator[tuple[Place, str, str]]


def is_pairs(head: str) -> bool:
    """Return whether JSON that begins so is an array of pairs."""
    return bool(ARRAY_START.search(head) and _KEYS.search(head))


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
    for row, pair in enumerate(array_values(path, stream, encoding, stats)):
        korean, english = (pair.get(key) if isinstance(pair, dict) else None for key in ("ko", "en"))
        yield from _pair(Place(path, row + 1, row), korean, english, languages, stats)


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
