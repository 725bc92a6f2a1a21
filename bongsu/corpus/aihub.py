"""AI Hub's Korean-English corpora: workbooks whose last columns are 원문 and 번역문, alone or in a zip, and JSON."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import IO

import orjson
from python_calamine import CalamineError, CalamineWorkbook

from bongsu.corpus.problems import Problems
from bongsu.corpus.streams import BOMB_BYTES, BOMB_RATIO, inner_suffix, open_bytes
from bongsu.errors import DataError

KOREAN, ENGLISH = "원문", "번역문"
LARGEST = 2**30  # bytes of one workbook or JSON file, unpacked; the real ones have less than 100 MB

Sentences = Iterator[tuple[str, str, str]]


def sentences(path: str, languages: str, problems: Problems) -> Sentences:
    """(place, text, "ko" or "en") of each side asked for.

    Raises:
        DataError: when the file is not a workbook, zip or JSON of AI Hub's kind.
    """
    suffix = inner_suffix(path)
    with open_bytes(path) as stream:
        if suffix == ".zip":
            yield from _zip(path, stream, languages, problems)
        elif suffix == ".xlsx":
            yield from _workbook(path, _whole(path, stream), languages, problems)
        else:
            yield from _json(path, _whole(path, stream), languages, problems)


def _zip(path: str, stream: IO[bytes], languages: str, problems: Problems) -> Sentences:
    try:
        with zipfile.ZipFile(io.BytesIO(_whole(path, stream)), metadata_encoding="cp949") as archive:
            _refuse_bomb(path, archive)
            for name in archive.namelist():
                content = archive.read(name) if name.endswith((".xlsx", ".json")) else b""
                if name.endswith(".xlsx"):
                    yield from _workbook(f"{path}/{name}", content, languages, problems)
                elif name.endswith(".json"):
                    yield from _json(f"{path}/{name}", content, languages, problems)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, UnicodeError, ValueError, OSError) as error:
        raise DataError(f"{path}: not a readable zip file ({error}).") from None


def _workbook(path: str, content: bytes, languages: str, problems: Problems) -> Sentences:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _refuse_bomb(path, archive)
        workbook = CalamineWorkbook.from_filelike(io.BytesIO(content))
        rows = workbook.get_sheet_by_index(0).to_python()
    except (zipfile.BadZipFile, CalamineError, NotImplementedError, OSError, ValueError, IndexError, RuntimeError) as error:
        raise DataError(f"{path}: not a readable workbook ({error}).") from None
    header = [str(cell).strip() for cell in rows[0]] if rows else []
    if header[-2:] != [KOREAN, ENGLISH]:
        raise DataError(
            f"{path}: the last two columns must be {KOREAN} and {ENGLISH}; the columns are {', '.join(header) or 'none'}."
        )
    for number, row in enumerate(rows[1:], start=2):
        korean, english = (cell.strip() if isinstance(cell, str) else "" for cell in row[-2:])
        yield from _pair(f"{path}:{number}", korean, english, languages, problems)


def _json(path: str, content: bytes, languages: str, problems: Problems) -> Sentences:
    try:
        tree = orjson.loads(content.removeprefix(b"\xef\xbb\xbf"))
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({error}).") from None
    pairs = tree.get("data") if isinstance(tree, dict) else None
    if not isinstance(pairs, list):
        raise DataError(f'{path}: not of AI Hub\'s form, {{"data": [{{"ko": ..., "en": ...}}]}}.')
    for number, pair in enumerate(pairs, start=1):
        korean, english = (pair.get(key) if isinstance(pair, dict) else None for key in ("ko", "en"))
        korean, english = (text.strip() if isinstance(text, str) else "" for text in (korean, english))
        yield from _pair(f"{path}:{number}", korean, english, languages, problems)


def _pair(place: str, korean: str, english: str, languages: str, problems: Problems) -> Sentences:
    wanted = [("ko", korean)] * (languages != "en") + [("en", english)] * (languages != "ko")
    for lang, text in wanted:
        if text:
            yield place, text, lang
        else:
            problems.skip(place, f"no text in {lang}")


def _whole(path: str, stream: IO[bytes]) -> bytes:
    content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise DataError(f"{path}: larger than {LARGEST >> 20} MiB; split it, since it has to be held in memory.")
    return content


def _refuse_bomb(path: str, archive: zipfile.ZipFile) -> None:
    for entry in archive.infolist():
        if entry.file_size > BOMB_BYTES and entry.file_size > BOMB_RATIO * max(1, entry.compress_size):
            raise DataError(
                f"{path}: {entry.filename} unpacks to {entry.file_size:,} bytes; it looks like a bomb, not a corpus."
            )
