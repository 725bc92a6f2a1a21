"""Arrays of JSON, value by value, so that memory stays flat: a bare array, or the one under "data"."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import IO, Any

from bongsu.corpus.lines import codec_of
from bongsu.corpus.stats import ReadStats
from bongsu.corpus.streams import read_some
from bongsu.errors import DataError

ARRAY_START = re.compile(r'\A\s*(?:\[|\{.*?"data"\s*:\s*\[)', re.DOTALL)

_HEAD = 2**16
_BETWEEN = " \t\r\n,"
_LONGEST_VALUE = 2**22  # characters
_CHUNK = 2**18


def array_values(path: str, stream: IO[bytes], encoding: str, stats: ReadStats) -> Iterator[Any]:
    """Read the values of an array, one after the other; a file that is damaged is counted, and ends there.

    Raises:
        DataError: when there is no array, or the file is not of the encoding.
    """
    codec = codec_of(encoding)[0]
    decoder = codecs.getincrementaldecoder("utf-8-sig" if codec == "utf-8" else codec)()
    parse = json.JSONDecoder().raw_decode
    text, number, whole = "", 0, False
    while (start := ARRAY_START.match(text)) is None:
        chunk = read_some(stream, _HEAD)
        try:
            text += decoder.decode(chunk, not chunk)
        except UnicodeError:
            raise DataError(f"{path}: not {encoding}; set encoding (or --encoding).") from None
        if not chunk or len(text) > 2 * _HEAD:
            raise DataError(
                f'{path}: not an array of JSON objects, such as [{{"text": ...}}] or {{"data": [{{"ko": ..., "en": ...}}]}}.'
            )
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
            if whole or len(text) - at > _LONGEST_VALUE:
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
