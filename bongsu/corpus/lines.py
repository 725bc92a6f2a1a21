"""Lines of a file as bytes, as text, and as JSON: numbered, of bounded length, in any encoding."""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import IO, Any, NamedTuple

import orjson

from bongsu.corpus.problems import Problems
from bongsu.corpus.streams import DAMAGED, open_bytes, read_some
from bongsu.errors import DataError

LONGEST_LINE = 64 * 2**20
_CHUNK = 2**18
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


class Part(NamedTuple):
    """A file, or some of its lines."""

    path: str
    lines: bytes | None = None
    """Whole lines that have been read already; None stands for the whole file."""
    first: int = 1
    """The number of the first of them."""


def text_lines(part: Part, encoding: str, problems: Problems) -> Iterator[tuple[str, str]]:
    """(`file:line`, text) of each line, without its end; a line that cannot be decoded or holds NUL is a problem.

    Raises:
        DataError: when the encoding is unknown, or the file is UTF-16 and the recipe does not say so.
    """
    codec, wide = codec_of(encoding)
    codec = "utf-8" if wide else codec
    for place, line in _byte_lines(part, encoding, problems):
        try:
            text = line.decode(codec)
            if codec != "utf-8":
                text.encode()  # some codecs make lone surrogates, which are no text
        except UnicodeError:
            problems.skip(place, f"not {encoding}{_hint(line, codec)}")
            continue
        if "\x00" in text:
            problems.skip(place, "holds NUL characters; if this is a text file, it may need encoding = 'utf-16-le'")
        else:
            yield place, text


def json_lines(part: Part, encoding: str, problems: Problems) -> Iterator[tuple[str, Any]]:
    """(`file:line`, value) of each line of JSON that is not blank; a line that is not valid JSON is a problem.

    Raises:
        DataError: as `text_lines`.
    """
    codec, wide = codec_of(encoding)
    for place, line in _byte_lines(part, encoding, problems):
        if not line.strip():
            continue
        try:
            value = orjson.loads(line if wide or codec == "utf-8" else line.decode(codec))
        except UnicodeDecodeError:
            problems.skip(place, f"not {encoding}{_hint(line, codec)}")
        except (ValueError, TypeError) as error:  # TypeError: a codec made lone surrogates
            problems.skip(place, f"not valid JSON ({error}){_hint(line, codec)}")
        else:
            yield place, value


def line_parts(path: str, size: int) -> Iterator[Part]:
    """A file's lines in parts of about `size` bytes, for an encoding in which a line feed is the byte 0A.

    Of a line of more than `LONGEST_LINE` bytes the part holds enough to tell. Where a packed file is cut short, one of
    `DAMAGED` is raised after all the lines that are whole.
    """
    first, damage = 1, None
    with open_bytes(path) as stream:
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
                yield Part(path, lines, first)
            first += lines.count(b"\n")
    raise damage


def numbered_lines(stream: IO[bytes], encoding: str = "utf-8", first: int = 1) -> Iterator[tuple[int, bytes | None]]:
    """Lines from `first` on, without their ends; None stands for a line of more than `LONGEST_LINE` bytes.

    Lines of an encoding in which a line feed is not the byte 0A (UTF-16, UTF-32, EBCDIC) come as UTF-8.
    """
    codec, wide = codec_of(encoding)
    readline: Callable[[int], bytes] = stream.readline
    if wide:
        text = io.TextIOWrapper(stream, codec, errors="surrogatepass", newline="\n")

        def readline(size: int) -> bytes:
            return text.readline(size // 4).encode(errors="surrogatepass")

    number = first - 1
    while line := readline(LONGEST_LINE):
        number += 1
        if not line.endswith(b"\n") and (rest := readline(_CHUNK)):
            while rest and not rest.endswith(b"\n"):
                rest = readline(_CHUNK)
            yield number, None
            continue
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        yield number, line.rstrip(b"\r\n")


def _to_line_end(stream: IO[bytes]) -> bytes:
    """What is left of a line; of a very long one the beginning."""
    line = rest = stream.readline(LONGEST_LINE)
    while rest and not rest.endswith(b"\n"):
        rest = stream.readline(_CHUNK)
    return line if line.endswith(b"\n") or len(line) < LONGEST_LINE else line + b"\n"


@lru_cache
def codec_of(encoding: str) -> tuple[str, bool]:
    """Python's name of an encoding, and whether its line feed is something else than the byte 0A.

    Raises:
        DataError: when Python knows no such encoding of text.
    """
    try:
        codec = codecs.lookup(encoding).name.removesuffix("-sig")
        return codec, "\n".encode(codec) != b"\n"
    except (LookupError, ValueError):
        raise DataError(f"encoding = {encoding!r}: Python knows no such encoding; try 'utf-8', 'cp949' or 'utf-16'.") from None


def _byte_lines(part: Part, encoding: str, problems: Problems) -> Iterator[tuple[str, bytes]]:
    """(`file:line`, bytes) of each line that is not too long."""
    path, lines, first = part
    wide = codec_of(encoding)[1]
    with open_bytes(path) if lines is None else io.BytesIO(lines) as stream:
        for number, line in numbered_lines(stream, encoding, first):
            place = f"{path}:{number}"
            if line is None:
                problems.skip(place, f"a line of more than {LONGEST_LINE >> 20} MiB")
                continue
            if number == 1 and not wide and line[:2] in _UTF16:
                raise DataError(f"{path}: the file is UTF-16; set encoding = 'utf-16' for this source.")
            yield place, line


def _hint(line: bytes, codec: str) -> str:
    """Many Korean files are still written in Windows' code page 949."""
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
