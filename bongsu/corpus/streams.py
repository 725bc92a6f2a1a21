"""Bytes from anywhere: local files, globs, folders, fsspec URLs, files of the package; plain, .gz or .zst; line by line.

Memory stays flat: nothing is read whole, a line has a largest length, and a file that unpacks beyond reason is refused.
"""

from __future__ import annotations

import glob
import gzip
import io
import zlib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import IO, cast

import fsspec
import zstandard

from bongsu.errors import DataError

LONGEST_LINE = 64 * 2**20
BOMB_BYTES = 256 * 2**20
BOMB_RATIO = 500
_CHUNK = 2**20
_KNOWN = (".txt", ".csv", ".tsv", ".jsonl", ".json", ".ndjson", ".parquet", ".xlsx", ".zip")

TRUNCATED = (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError)


def resolve(path: str) -> list[str]:
    """The files that a path, glob, folder, URL, `bongsu:NAME` or `python:stdlib` stands for, sorted.

    Raises:
        DataError: when there is none.
    """
    if path.startswith("bongsu:"):
        file = resources.files("bongsu") / "data" / path.removeprefix("bongsu:")
        if not file.is_file():
            raise DataError(f"{path}: no such file in the package.")
        return [str(file)]
    if path.startswith("python:"):
        return [path]
    if "://" in path:
        return _remote(path)
    if Path(path).is_dir():
        found = sorted(str(file) for file in Path(path).rglob("*") if file.is_file() and inner_suffix(str(file)) in _KNOWN)
        if not found:
            raise DataError(f"{path}: a folder without any file of a known kind ({', '.join(_KNOWN)}, also .gz and .zst).")
        return found
    found = sorted(glob.glob(path, recursive=True)) if glob.has_magic(path) and not Path(path).exists() else [path]
    if not found or not all(Path(file).is_file() for file in found):
        raise DataError(f"{path}: no such file. Paths are relative to the current folder, {Path.cwd()}.")
    return found


def inner_suffix(path: str) -> str:
    """The ending without .gz or .zst: "a.jsonl.zst" -> ".jsonl"."""
    name = Path(path.rsplit("?", 1)[0])
    return Path(name.stem).suffix.lower() if name.suffix.lower() in (".gz", ".zst") else name.suffix.lower()


class Unpacked(io.RawIOBase):
    """A stream that counts what comes out of `inner` against what went in, and refuses a bomb."""

    def __init__(self, inner: IO[bytes], packed: IO[bytes], path: str) -> None:
        self._inner, self._packed, self._path, self._out = inner, packed, path, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self._inner.read(len(view))
        view[: len(data)] = data
        self._out += len(data)
        if self._out > BOMB_BYTES and self._out > BOMB_RATIO * max(1, self._packed.tell()):
            raise DataError(
                f"{self._path}: unpacks to more than {BOMB_RATIO} times its size; it looks like a decompression bomb and is "
                "not read. If it is what you want, unpack it first."
            )
        return len(data)

    def close(self) -> None:
        self._inner.close()
        self._packed.close()
        super().close()


def open_bytes(path: str) -> IO[bytes]:
    """A stream of a file's content, unpacked when its name ends in .gz or .zst.

    Raises:
        DataError: when the file cannot be opened.
    """
    try:
        raw = cast(IO[bytes], fsspec.open(path if "://" in path else f"file://{Path(path).resolve()}", "rb").open())
    except (OSError, ValueError, ImportError) as error:
        raise DataError(f"{path}: cannot be opened ({error}).") from None
    if path.endswith(".gz"):
        inner = cast(IO[bytes], gzip.GzipFile(fileobj=raw))
    elif path.endswith(".zst"):
        inner = cast(IO[bytes], zstandard.ZstdDecompressor(max_window_size=2**31).stream_reader(raw, read_across_frames=True))
    else:
        return raw
    return io.BufferedReader(Unpacked(inner, raw, path), _CHUNK)


def lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """Numbered lines without their ends; None stands for a line longer than `LONGEST_LINE`, which is passed over."""
    number = 0
    while True:
        number += 1
        line = stream.readline(LONGEST_LINE)
        if not line:
            return
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            while (more := stream.readline(_CHUNK)) and not more.endswith(b"\n"):
                pass
            yield number, None
        else:
            yield number, line.rstrip(b"\r\n")


def _remote(path: str) -> list[str]:
    try:
        files = fsspec.open_files(path, "rb")
        found = sorted(file.full_name if "://" in file.full_name else f"{path.split('://')[0]}://{file.path}" for file in files)
    except (OSError, ValueError, ImportError) as error:
        raise DataError(f"{path}: cannot be opened ({error}).") from None
    if not found:
        raise DataError(f"{path}: no such file.")
    return found
