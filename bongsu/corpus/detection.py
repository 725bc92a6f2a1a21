"""Detection of how a text file is written, from its beginning: encoding, line ends, delimiter, quoting.

The encodings looked for are UTF-8, UTF-16 and UTF-32 with or without a byte order mark, cp949 (Korean Windows and Excel) and
cp1252 (Western European Windows). A few strict decodings distinguish these more reliably than letter statistics, which take a
line or two of cp1252 for Big5 or cp1250. What is none of them is refused and not guessed at.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

HEAD = 4 * 2**20
"""Bytes of a file that are looked at."""
DELIMITERS = ",;\t|"

_BOMS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_LETTER = re.compile(r"[^\W\d_\x00-\x7f]")
_JAMO = re.compile("[ㄱ-ㅎㅏ-ㅣ]")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_MAGIC = {
    b"PAR1": "Parquet", b"PK\x03\x04": "zip or .xlsx", b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "Zstandard",
    b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF", b"%PDF": "PDF", b"SQLite format 3\0": "SQLite",
    b"\xd0\xcf\x11\xe0": "old Word or Excel (.doc, .xls)", b"\x7fELF": "program", b"7z\xbc\xaf": "7z",
    b"BZh": "bzip2", b"\xfd7zXZ": "xz",
}  # fmt: skip
AROUND_JSON = b", \t\r\n\x1e"
"""What may stand around a value: the commas of an array, the mark of a sequence (RFC 7464)."""
READABLE = ("Parquet", "zip or .xlsx", "gzip", "Zstandard")
"""Kinds of binary files that are read when their name says what they are."""


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written."""

    delimiter: str
    quoted: bool
    """Whether cells may be quoted as RFC 4180 says; otherwise a quote is a character as any other."""


def detect_encoding(head: bytes, whole: bool) -> str | None:
    """Return the encoding of the first bytes of a file, or None when it is unknown.

    Args:
        whole: whether the bytes are the whole file; otherwise they may end within a character.
    """
    for mark, name in _BOMS.items():
        if head.startswith(mark):
            return name
    if head.count(b"\0") > (len(head) / 4 if _is_utf8(head) else 0) and (wide := _wide(head)):
        return wide
    if not whole:
        head = head[: head.rfind(b"\n") + 1] or head[: head.rfind(b"\r") + 1] or head[:-3]
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(head)  # a file may be cut within its last character
    wrong = text.count("\ufffd") - head.count(b"\xef\xbf\xbd")
    # Of a few broken characters among good ones it is the lines that are bad, not the encoding.
    if not wrong or len(text) - len(text.encode("ascii", "ignore")) - wrong > 3 * wrong:
        return "utf-8"
    if _is_korean(head):
        return "cp949"
    if _is_western(head):
        return "cp1252"
    return "utf-8" if wrong < len(head) / 100 else None


def _is_utf8(head: bytes) -> bool:
    """Return whether bytes, which may end within a character, are UTF-8; so are those of UTF-16 whose characters are ASCII."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def kind_of(head: bytes) -> str | None:
    """Return the kind of a binary file by its first bytes, or None for text."""
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


def line_end(text: str) -> str:
    """Return the line end: a line feed, or a carriage return alone, as on old Macs."""
    return "\r" if "\r" in text and "\n" not in text else "\n"


def detect_delimiter(header: str, preferred: str, columns: Sequence[str]) -> str:
    """Return the delimiter: the one that finds all the columns in the header, or without columns the most cells."""
    found: dict[str, list[str]] = {
        delimiter: header_names(header, delimiter) for delimiter in dict.fromkeys([preferred, *DELIMITERS])
    }
    for delimiter, names in found.items():
        if columns and all(name in names for name in columns):
            return delimiter
    return max(found, key=lambda each: len(found[each]))


def header_names(header: str, delimiter: str, quoted: bool = True) -> list[str]:
    """Return the names of columns in a line."""
    try:
        cells = next(csv.reader([header], delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE), [])
    except csv.Error:
        cells = header.split(delimiter)
    return [name.strip() for name in cells]


def detect_quoting(lines: Sequence[str], delimiter: str) -> bool:
    """Return whether cells are quoted.

    In a file with tabs a quote is a character, unless lines only make rows of one width when it is not, or all cells that
    begin with a quote are well quoted, and there is one with doubled quotes within or a column of quoted cells alone.

    Args:
        lines: header first, blank lines left out, none of them cut off.
    """
    if delimiter != "\t":
        return True
    rows = [line.split(delimiter) for line in lines]
    width = len(rows[0]) if rows else 0
    if any(len(row) != width for row in rows):
        return _fits(lines, delimiter)
    cells = [cell for row in rows for cell in row if cell.startswith('"')]
    inner = [cell[1:-1] for cell in cells if len(cell) > 1 and cell.endswith('"')]
    well = [text for text in inner if '"' not in text.replace('""', "")]
    if len(well) < len(cells):  # a cell continues in the next line, or its quote is a character
        return any('""' in text for text in well) and _fits(lines, delimiter)
    return any('""' in text for text in well) or any(
        all(row[column].startswith('"') for row in rows) for column in range(width)
    )


def _fits(lines: Sequence[str], delimiter: str) -> bool:
    """Return whether quoting makes rows of one width of the lines; the last one may be cut off."""
    widths = set()
    try:
        for row in csv.reader((line + "\n" for line in lines), delimiter=delimiter, strict=True):
            widths.add(len(row))
    except csv.Error as error:
        if not str(error).startswith("unexpected end of data"):
            return False
    return len(widths) == 1


def _wide(head: bytes) -> str | None:
    """Return the UTF-16 or UTF-32 without a mark that makes text without NUL of the bytes, and most of it ASCII."""
    head = head[: len(head) // 4 * 4] or head
    best, score = None, 0
    for encoding in _WIDE:
        try:
            text = head.decode(encoding)
        except UnicodeError:
            continue
        plain = len(text.encode("ascii", "ignore"))
        if "\0" not in text and plain > score and plain * 50 >= len(text):
            best, score = encoding, plain
    return best


@cache
def _common_syllables() -> re.Pattern[str]:
    """Match the 2,350 syllables of KS X 1001; the other 8,822 of cp949 are rare in Korean, and frequent in what is not."""
    pairs = bytes(byte for first in range(0xB0, 0xC9) for second in range(0xA1, 0xFF) for byte in (first, second))
    return re.compile(f"[{pairs.decode('cp949')}]")


def _is_korean(head: bytes) -> bool:
    text = head.decode("cp949", "replace")
    wrong, letters = text.count("\ufffd"), len(_LETTER.findall(text))
    common, jamo = len(_common_syllables().findall(text)), len(_JAMO.findall(text))
    return common > 10 * wrong and common * 2 >= jamo and common + jamo >= 0.9 * letters


def _is_western(head: bytes) -> bool:
    try:
        text = head.decode("cp1252")
    except UnicodeDecodeError:
        return False
    plain = text.encode("ascii", "ignore")
    return not _CONTROL.search(head) and len(text) - len(plain) <= sum(map(str.isalpha, plain.decode())) / 3 + 3
