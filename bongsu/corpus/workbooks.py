"""The first sheet of an .xlsx workbook, looked over before it is opened: a workbook is a zip file of XML."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from bongsu.corpus.streams import BOMB_BYTES, BOMB_RATIO
from bongsu.errors import BongsuError, DataError, need

LARGEST = 4 * 2**30  # bytes of XML; a real workbook of 200,000 pairs has about 0.2 GB
MOST_CELLS = 20_000_000  # 32 bytes each; calamine sets aside room for the whole rectangle of the sheet

_CELL = re.compile(rb"""\br\s*=\s*["']([A-Za-z]{0,4})(\d{1,10})["']|<(?:\w+:)?c[\s/>]""")
_CHUNK = 2**20
_OVERLAP = 64


def first_sheet(path: str, stream: IO[bytes]) -> Iterator[list[str]]:
    """Rows of the first sheet as text, all of the same length.

    Raises:
        DataError: when the file is not a workbook, is a bomb, or its sheet is out of all proportion.
    """
    need("python_calamine", "train")
    from python_calamine import CalamineWorkbook

    with zip_errors(path, "workbook"):
        with zipfile.ZipFile(stream) as archive:
            refuse_bomb(path, archive)
            _check_size(path, archive)
        stream.seek(0)
        rows = iter(CalamineWorkbook.from_filelike(stream).get_sheet_by_index(0).iter_rows())
    while True:
        with zip_errors(path, "workbook"):
            row = next(rows, None)
        if row is None:
            return
        yield [cell if isinstance(cell, str) else str(cell) for cell in row]


def refuse_bomb(path: str, archive: zipfile.ZipFile) -> None:
    """Refuses a zip file that unpacks beyond reason.

    Raises:
        DataError: when it does.
    """
    packed = sum(entry.compress_size for entry in archive.infolist())
    unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > BOMB_BYTES and unpacked > BOMB_RATIO * packed:
        raise DataError(f"{path}: unpacks to {unpacked:,} bytes, {BOMB_RATIO} times its size; a bomb? It is not read.")


@contextmanager
def zip_errors(path: str, kind: str) -> Iterator[None]:
    """Turns whatever a damaged zip file or workbook raises into a message. It is all sorts of things."""
    try:
        yield
    except (BongsuError, GeneratorExit, KeyboardInterrupt):
        raise
    except Exception as error:
        raise DataError(f"{path}: not a readable {kind} ({str(error)[:200] or type(error).__name__}).") from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # a bug in a library written in Rust
            raise
        raise DataError(f"{path}: not a readable {kind} ({str(error)[:200]}).") from None


def _check_size(path: str, archive: zipfile.ZipFile) -> None:
    """Refuses a workbook with a sheet of too many cells: one stray cell in the last row and column is 17 billion, for which
    calamine asks so much memory that the process is ended. Reading all parts also proves their sizes and checksums."""
    names = archive.namelist()
    if "xl/workbook.xml" not in names or "content.xml" in names or "xl/workbook.bin" in names:
        raise DataError(f"{path}: not an .xlsx workbook.")
    if sum(entry.file_size for entry in archive.infolist()) > LARGEST:
        raise DataError(f"{path}: holds more than {LARGEST >> 30} GiB; save it as several workbooks.")
    for name in names:
        rows, columns, unnamed = 1, 1, 0
        tail = b""
        with archive.open(name) as part:
            while chunk := part.read(_CHUNK):
                text = tail + chunk
                done = 0
                for cell in _CELL.finditer(text):
                    if cell.end() == len(text):
                        break
                    done = cell.end()
                    if cell[2] is None:
                        unnamed += 1
                    else:
                        rows = max(rows, int(cell[2]))
                        columns = max(columns, _column(cell[1]))
                        unnamed -= bool(cell[1])
                tail = text[max(done, len(text) - _OVERLAP) :]
        columns += max(0, unnamed)
        if rows * columns > MOST_CELLS:
            raise DataError(
                f"{path}: the sheet reaches to row {rows:,} and column {columns:,}; delete stray cells far from the table, or "
                "save it as several workbooks."
            )


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters.upper():
        number = 26 * number + letter - 64
    return number
