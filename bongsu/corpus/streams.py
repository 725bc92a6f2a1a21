"""Bytes from anywhere: local files, globs, folders, fsspec URLs, files of the package; plain, .gz or .zst.

Memory stays flat: nothing is read whole, and a file that unpacks beyond reason is refused.
"""

from __future__ import annotations

import glob
import gzip
import io
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import IO, cast

import fsspec
import zstandard

from bongsu.errors import DataError

BOMB_BYTES = 256 * 2**20
BOMB_RATIO = 500
LARGEST_COPY = 8 * 2**30
"""Bytes of a temporary copy, for kinds of files that cannot be read from front to back."""
KNOWN = (".txt", ".csv", ".tsv", ".jsonl", ".json", ".ndjson", ".parquet", ".xlsx", ".zip")
PACKED = (".gz", ".zst")

DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError, UnicodeError)
"""What is raised in the middle of a file that is cut short or damaged (UnicodeError: by UTF-16 and its like)."""

_BUFFER = 2**18
_ZSTD_FEED = 2**11  # a block of 4 bytes may stand for 128 KiB: 2 KiB at a time bound what comes out at once to 64 MiB


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
    if path == "python:stdlib":
        return [path]
    if "://" in path:
        return _remote(path)
    try:
        if Path(path).is_dir():
            return _known(path, [str(file) for file in Path(path).rglob("*") if file.is_file()])
        found = glob.glob(path, recursive=True) if glob.has_magic(path) and not Path(path).exists() else [path]
        found = sorted(file for file in found if Path(file).is_file())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a path ({error}).") from None
    if not found:
        raise DataError(f"{path}: no such file. Paths are relative to the current folder, {Path.cwd()}.")
    return found


def inner_suffix(path: str) -> str:
    """The ending without .gz or .zst, in lower case: "a.jsonl.zst" -> ".jsonl"."""
    name = Path(_name(path))
    return Path(name.stem).suffix if name.suffix in PACKED else name.suffix


def is_packed(path: str) -> bool:
    """Whether the name says that the content is compressed."""
    return _name(path).endswith(PACKED)


def open_bytes(path: str) -> IO[bytes]:
    """A stream of a file's content, unpacked when its name ends in .gz or .zst. It raises one of `DAMAGED` where a packed file
    is cut short, after everything that could be unpacked.

    Raises:
        DataError: when the file cannot be opened.
    """
    try:
        raw = cast(IO[bytes], fsspec.open(path, "rb").open() if "://" in path else open(path, "rb"))  # noqa: SIM115
    except Exception as error:
        # fsspec's back ends raise errors of their own kinds
        if "://" not in path and not isinstance(error, OSError | ValueError):
            raise
        raise DataError(f"{path}: cannot be opened ({error or type(error).__name__}).") from None
    if not is_packed(path):
        return raw
    unpacker = _Gzip(raw) if _name(path).endswith(".gz") else _Zstd(raw)
    return io.BufferedReader(_Unpacked(unpacker, raw, path), _BUFFER)


def read_some(stream: IO[bytes], size: int) -> bytes:
    """At least one byte unless the file ends, and nothing lost that comes before damage."""
    return cast(bytes, getattr(stream, "read1", stream.read)(size))


@contextmanager
def open_seekable(path: str) -> Iterator[IO[bytes]]:
    """Like `open_bytes`, for formats that are read from the end: packed files go through a temporary file."""
    with open_bytes(path) as stream:
        if not is_packed(path) and stream.seekable():
            yield stream
        else:
            with temporary_copy(stream, path) as copy:
                yield copy


@contextmanager
def temporary_copy(stream: IO[bytes], path: str) -> Iterator[IO[bytes]]:
    """A stream's content in a temporary file of at most `LARGEST_COPY` bytes.

    Raises:
        DataError: when there is more, or no room for it.
    """
    with tempfile.TemporaryFile() as copy:
        size = 0
        while chunk := stream.read(_BUFFER):
            size += len(chunk)
            if size > LARGEST_COPY:
                raise DataError(f"{path}: unpacks to more than {LARGEST_COPY >> 30} GiB; unpack it first.")
            try:
                copy.write(chunk)
                copy.flush()
            except OSError as error:
                raise DataError(f"{path}: no room for a copy in {tempfile.gettempdir()} ({error}); unpack it first.") from None
        copy.seek(0)
        yield copy


class _Gzip:
    """Unpacks gzip, also several members one after the other."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._file = gzip.GzipFile(fileobj=raw)

    def read(self, size: int) -> bytes:
        return self._file.read1(size)  # read() would throw away what came before the damage


class _Zstd:
    """Unpacks Zstandard, also several frames one after the other. (zstandard's own `stream_reader` takes the end of a file that
    is cut short for the end of the data.)"""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._decompressor = zstandard.ZstdDecompressor()
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._packed = b""
        self._ready = memoryview(b"")

    def read(self, size: int) -> bytes | memoryview:
        while not self._ready:
            self._packed = self._packed or self._raw.read(_ZSTD_FEED)
            if not self._packed:
                if self._frame is not None:
                    raise EOFError("the file ends in the middle of a Zstandard frame")
                return b""
            frame = self._frame or self._decompressor.decompressobj()
            self._ready = memoryview(frame.decompress(self._packed))
            self._packed = frame.unused_data if frame.eof else b""
            self._frame = None if frame.eof else frame
        data, self._ready = self._ready[:size], self._ready[size:]
        return data


class _Unpacked(io.RawIOBase):
    """A stream that weighs what comes out of a file against what went in, and refuses a bomb."""

    def __init__(self, unpacker: _Gzip | _Zstd, raw: IO[bytes], path: str) -> None:
        self._unpacker, self._raw, self._path, self._size = unpacker, raw, path, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._unpacker.read(len(buffer))
        buffer[: len(data)] = data
        self._size += len(data)
        if self._size > BOMB_BYTES and self._size > BOMB_RATIO * self._raw.tell():
            raise DataError(
                f"{self._path}: unpacks to more than {BOMB_RATIO} times its size; it looks like a decompression bomb and is "
                "not read. If it is what you want, unpack it first."
            )
        return len(data)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _name(path: str) -> str:
    """The path in lower case, without a URL's query."""
    return (path.split("?")[0] if "://" in path else path).lower()


def _known(folder: str, files: list[str]) -> list[str]:
    """Files of kinds that can be read; hidden files and the lock files of office programs are not."""
    found = sorted(f for f in files if inner_suffix(f) in KNOWN and not f.rsplit("/", 1)[-1].startswith((".", "~$")))
    if not found:
        raise DataError(f"{folder}: a folder without any file of a known kind ({', '.join(KNOWN)}, also with .gz or .zst).")
    return found


def _remote(path: str) -> list[str]:
    if "::" in path:  # a chain, such as zip://a.csv::https://...; it names one file
        return [path]
    try:
        system, place = fsspec.core.url_to_fs(path)
        if glob.has_magic(place) and not path.startswith("http"):
            files = sorted(system.glob(place))
        elif system.isdir(place) and not system.isfile(place):
            return _known(path, [system.unstrip_protocol(file) for file in system.find(place)])
        else:
            files = [place] if system.exists(place) else []
    except DataError:
        raise
    except Exception as error:  # fsspec's back ends raise errors of their own kinds
        raise DataError(f"{path}: cannot be opened ({error or type(error).__name__}).") from None
    if not files:
        raise DataError(f"{path}: no such file.")
    return [system.unstrip_protocol(file) for file in files]
