"""Lines of a file as bytes, as text, and as JSON: numbered, of bounded length, in any encoding."""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import IO, Any, NamedTuple

import orjson

from bongsu.corpus.detection import AROUND_JSON
from bongsu.corpus.stats import Place, ReadStats
from bongsu.corpus.streams import DAMAGED, open_bytes, read_some
from bongsu.errors import DataError
from bongsu.files import redacted

LONGEST_LINE = 16 * 2**20
"""Bytes; the longest document of The Pile is shorter."""
_CHUNK = 2**18
_MUCH_JSON = 4 * 2**20  # bytes of a line that may hold so many values that they take 25 times the memory
_MOST_LISTS, _MOST_VALUES = 1_000_000, 3_000_000


class Part(NamedTuple):
    """A file of text, or some of its lines."""

    path: str
    encoding: str = "utf-8"
    line_end: str = "\n"
    """A carriage return in files of old Macs."""
    lines: bytes | None = None
    """Whole lines that have been read already; None stands for the whole file."""
    first: int = 1
    """The number of the first of them."""

    @property
    def wide(self) -> bool:
        """Whether the byte 0A does not mark line ends."""
        return codec_of(self.encoding)[1] or self.line_end != "\n"


class Line(NamedTuple):
    """A line of a file."""

    number: int
    text: str
    """Without its end. Of a faulty line it is what could be decoded."""
    fault: tuple[str, str] | None
    """Why it cannot be used: the reason, and more of it."""


def decoded_lines(part: Part) -> Iterator[Line]:
    """Read the lines of a file, faulty ones included.

    Raises:
        DataError: when the encoding is unknown.
    """
    codec = "utf-8" if part.wide else codec_of(part.encoding)[0]
    for number, line in _byte_lines(part):
        if line is None:
            yield Line(number, "", (f"a line of more than {LONGEST_LINE >> 20} MiB", ""))
            continue
        try:
            text = line.decode(codec)
            if codec != "utf-8":
                text.encode()  # some codecs make lone surrogates, which are no text
        except UnicodeError:
            yield Line(number, line.decode(codec, "replace"), (f"not {part.encoding}", _hint(line, codec)))
            continue
        fault = None if "\x00" not in text else ("holds NUL characters", "")
        yield Line(number, text, fault)


def text_lines(part: Part, stats: ReadStats) -> Iterator[tuple[Place, str]]:
    """Read the lines of a file as (place, text), without their ends; blank and bad ones are counted.

    Raises:
        DataError: when the encoding is unknown, or too many lines are bad.
    """
    shown = redacted(part.path)
    for number, text, fault in decoded_lines(part):
        stats.rows += 1
        if fault is not None:
            stats.skip(Place(shown, number, number - 1), *fault)
        elif not text.strip():
            stats.drop("blank line")
        else:
            yield Place(shown, number, number - 1), text


def json_lines(part: Part, stats: ReadStats) -> Iterator[tuple[Place, Any]]:
    """Read the lines of JSON as (place, value), also with commas around them; blank and bad ones are counted.

    Raises:
        DataError: as `text_lines`.
    """
    codec, shown, wide = codec_of(part.encoding)[0], redacted(part.path), part.wide
    for number, line in _byte_lines(part):
        stats.rows += 1
        place = Place(shown, number, number - 1)
        if line is None:
            stats.skip(place, f"a line of more than {LONGEST_LINE >> 20} MiB")
            continue
        if not line.strip():
            stats.drop("blank line")
            continue
        if len(line) > _MUCH_JSON and (line.count(b"[") + line.count(b"{") > _MOST_LISTS or line.count(b",") > _MOST_VALUES):
            stats.skip(place, "too many values in one line of JSON")
            continue
        try:
            bare = line.strip(AROUND_JSON)
            value = orjson.loads(bare if wide or codec == "utf-8" else bare.decode(codec))
        except UnicodeDecodeError:
            stats.skip(place, f"not {part.encoding}", _hint(line, codec))
        except (ValueError, TypeError) as error:  # TypeError: a codec made lone surrogates
            if (value := _with_nan(line, "utf-8" if wide else codec)) is not None:
                yield place, value
                continue
            stats.skip(place, "not valid JSON", f" ({error}){_hint(line, codec)}")
        else:
            yield place, value


def line_parts(part: Part, size: int) -> Iterator[Part]:
    """Cut a file into parts of about `size` bytes of whole lines; it must not be `wide`.

    Of a line of more than `LONGEST_LINE` bytes the part holds enough to recognize it. Where a packed file is cut short, one of
    `DAMAGED` is raised after all the lines that are whole.
    """
    first, damage = 1, None
    with open_bytes(part.path) as stream:
        while damage is None:
            held: list[bytes] = []
            missing = size
            try:
                while missing > 0 and (chunk := read_some(stream, missing)):
                    held.append(chunk)
                    missing -= len(chunk)
                if held and not held[-1].endswith(b"\n"):
                    held.append(_to_line_end(stream))
            except DAMAGED as error:
                damage = error
            lines = b"".join(held)
            if damage is not None:
                lines = lines[: lines.rfind(b"\n") + 1]
            elif not lines:
                return
            if lines:
                yield part._replace(lines=lines, first=first)
            first += lines.count(b"\n")
    raise damage


def numbered_lines(
    stream: IO[bytes], encoding: str = "utf-8", first: int = 1, line_end: str = "\n"
) -> Iterator[tuple[int, bytes | None]]:
    """Read lines from `first` on, without their ends; None stands for a line of more than `LONGEST_LINE` bytes.

    Lines of an encoding in which a line feed is not the byte 0A (UTF-16, UTF-32, EBCDIC), and those that end in a carriage
    return, come as UTF-8.
    """
    codec, wide = codec_of(encoding)
    readline: Callable[[int], bytes] = stream.readline
    end = b"\n"
    if wide or line_end != "\n":
        text, end = io.TextIOWrapper(stream, codec, errors="surrogatepass", newline=line_end), line_end.encode()

        def readline(size: int) -> bytes:
            return text.readline(size // 4).encode(errors="surrogatepass")

    number = first - 1
    while line := readline(LONGEST_LINE):
        number += 1
        if not line.endswith(end) and (rest := readline(_CHUNK)):
            while rest and not rest.endswith(end):
                rest = readline(_CHUNK)
            yield number, None
            continue
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        yield number, line.rstrip(b"\r\n")


def _to_line_end(stream: IO[bytes]) -> bytes:
    """Read the rest of a line; of a very long one the beginning."""
    line = rest = stream.readline(LONGEST_LINE)
    while rest and not rest.endswith(b"\n"):
        rest = stream.readline(_CHUNK)
    return line if line.endswith(b"\n") or len(line) < LONGEST_LINE else line + b"\n"


@lru_cache
def codec_of(encoding: str) -> tuple[str, bool]:
    """Return Python's name of an encoding, and whether its line feed is not the byte 0A.

    Raises:
        DataError: when Python knows no such encoding of text.
    """
    try:
        codec = codecs.lookup(encoding).name.removesuffix("-sig")
        return codec, "\n".encode(codec) != b"\n"
    except (LookupError, ValueError):
        raise DataError(f"encoding = {encoding!r}: Python knows no such encoding; try 'utf-8', 'cp949' or 'utf-16'.") from None


def _byte_lines(part: Part) -> Iterator[tuple[int, bytes | None]]:
    with open_bytes(part.path) if part.lines is None else io.BytesIO(part.lines) as stream:
        yield from numbered_lines(stream, part.encoding, part.first, part.line_end)


def _with_nan(line: bytes, codec: str) -> Any:
    """Parse a line of JSON with NaN or Infinity, which Python writes although JSON does not allow them."""
    if b"NaN" not in line and b"Infinity" not in line:
        return None
    try:
        value = json.loads(line.decode(codec))
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return value


def _hint(line: bytes, codec: str) -> str:
    """Say that a line reads as Korean in Windows' code page 949."""
    try:
        line.decode("utf-8")
        return ""  # it is not the encoding
    except UnicodeDecodeError:
        pass
    try:
        korean = codec != "cp949" and any("가" <= character <= "힣" for character in line.decode("cp949"))
    except UnicodeDecodeError:
        korean = False
    return "; it reads as Korean with encoding = 'cp949'" if korean else ""
