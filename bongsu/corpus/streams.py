"""Bytes from local files, patterns, folders, URLs and files of the package; plain, .gz or .zst.

Memory stays flat: nothing is read whole, and a file that unpacks beyond reason is refused.
"""

from __future__ import annotations

import fnmatch
import glob
import gzip
import io
import os
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import IO, cast

import fsspec
import zstandard

from bongsu.corpus.http import WebFile, is_web
from bongsu.errors import BongsuError, DataError
from bongsu.files import redacted, redacted_text

BOMB_BYTES = 256 * 2**20
BOMB_RATIO = 500
LARGEST_COPY = 8 * 2**30
"""Bytes of a temporary copy, for kinds of files that cannot be read from front to back."""
LARGEST_WINDOW = 256 * 2**20
"""Bytes that a Zstandard file may ask to be held in memory (`zstd --long=28`)."""
KNOWN = (".txt", ".csv", ".tsv", ".jsonl", ".json", ".ndjson", ".parquet", ".xlsx", ".zip")
PACKED = (".gz", ".zst")
PROTOCOLS = ("file", "http", "https", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "hf", "memory")
"""Others are refused: some of fsspec's run templates, start programs or read other files of this machine."""

DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError, UnicodeError)
"""What is raised in the middle of a file that is cut short or damaged (UnicodeError: by UTF-16 and similar encodings)."""

_BUFFER = 2**18
_ZSTD_FEED = 2**11  # a block of 4 bytes may stand for 128 KiB: 2 KiB at a time bound what comes out at once to 64 MiB


@dataclass
class FileList:
    """The files that a path stands for, sorted, and how many others were found there and not taken, by reason."""

    files: list[str]
    left_out: Counter[str] = field(default_factory=Counter)


def resolve(path: str) -> list[str]:
    """Return the files that a path, pattern, folder, URL, `bongsu:NAME` or `python:stdlib` stands for, sorted.

    Raises:
        DataError: when there is none, or the URL's protocol is not one of `PROTOCOLS`.
    """
    return list_files(path).files


def list_files(path: str) -> FileList:
    """Return what `resolve` does, and what was left out: hidden files and folders, kinds that are not known, and links.

    Links are followed only to places within the folder (for a pattern: within the folder it begins with).

    Raises:
        DataError: see `resolve`.
    """
    if path.startswith("bongsu:"):
        return FileList(_of_package(path))
    if path == "python:stdlib":
        return FileList([path])
    if "://" in path:
        return _remote(path)
    try:
        if Path(path).is_dir():
            return _checked(path, _of_folder(path))
        if glob.has_magic(path) and not Path(path).exists():
            return _checked(path, _of_pattern(path))
        found = FileList([path] if Path(path).is_file() else [])
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a path ({error}).") from None
    return _checked(path, found)


def inner_suffix(path: str) -> str:
    """Return the ending without .gz or .zst, in lower case: "a.jsonl.zst" -> ".jsonl"."""
    name = Path(_name(path))
    return Path(name.stem).suffix if name.suffix in PACKED else name.suffix


def is_packed(path: str) -> bool:
    """Return whether the name says that the content is compressed."""
    return _name(path).endswith(PACKED)


def open_bytes(path: str) -> IO[bytes]:
    """Open a stream of a file's content, unpacked when its name ends in .gz or .zst.

    Reading raises one of `DAMAGED` where a packed file is cut short, after everything that could be unpacked, and DataError
    for a decompression bomb or a Zstandard file that needs more memory than `LARGEST_WINDOW`.

    Raises:
        DataError: when the file cannot be opened.
    """
    try:
        raw, packed = _open(path)
    except BongsuError:
        raise
    except Exception as error:
        # fsspec's back ends raise errors of their own kinds
        if "://" not in path and not isinstance(error, OSError | ValueError):
            raise
        reason = redacted_text(str(error)) or type(error).__name__
        raise DataError(f"{redacted(path)}: cannot be opened ({reason}).") from None
    if not packed:
        return raw
    unpacker = _Gzip(raw) if _name(path).endswith(".gz") else _Zstd(raw, path)
    return io.BufferedReader(_Unpacked(unpacker, raw, path), _BUFFER)


def read_some(stream: IO[bytes], size: int) -> bytes:
    """Read at least one byte unless the file ends, losing nothing that comes before damage."""
    return cast(bytes, getattr(stream, "read1", stream.read)(size))


@contextmanager
def open_seekable(path: str) -> Iterator[IO[bytes]]:
    """Open like `open_bytes`, for formats that are read from the end: other streams go through a temporary file."""
    with open_bytes(path) as stream:
        if stream.seekable():
            yield stream
        else:
            with temporary_copy(stream, path) as copy:
                yield copy


@contextmanager
def temporary_copy(stream: IO[bytes], path: str) -> Iterator[IO[bytes]]:
    """Yield a stream's content in a temporary file of at most `LARGEST_COPY` bytes.

    Raises:
        DataError: when there is more, or no room for it.
    """
    shown = redacted(path)
    with tempfile.TemporaryFile() as copy:
        size = 0
        while chunk := stream.read(_BUFFER):
            size += len(chunk)
            if size > LARGEST_COPY:
                raise DataError(f"{shown}: unpacks to more than {LARGEST_COPY >> 30} GiB; unpack it first.")
            try:
                copy.write(chunk)
                copy.flush()
            except OSError as error:
                raise DataError(f"{shown}: no room for a copy in {tempfile.gettempdir()} ({error}); unpack it first.") from None
        copy.seek(0)
        yield copy


class _Prompt:
    """A stream whose `read` returns what there is: one that waits for more loses it where a connection breaks."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw

    def read(self, size: int) -> bytes:
        return read_some(self._raw, size)


class _Gzip:
    """Unpacks gzip, also several members one after the other."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._file = gzip.GzipFile(fileobj=cast(IO[bytes], _Prompt(raw)))

    def read(self, size: int) -> bytes:
        return self._file.read1(size)  # read() would throw away what came before the damage


class _Zstd:
    """Unpacks Zstandard, also several frames one after the other. (zstandard's own `stream_reader` takes the end of a file that
    is cut short for the end of the data.)"""

    def __init__(self, raw: IO[bytes], path: str) -> None:
        self._raw, self._path = raw, path
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW)
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._packed = b""
        self._ready = memoryview(b"")

    def read(self, size: int) -> bytes | memoryview:
        while not self._ready:
            self._packed = self._packed or read_some(self._raw, _ZSTD_FEED)
            if not self._packed:
                if self._frame is not None:
                    raise EOFError("the file ends in the middle of a Zstandard frame")
                return b""
            frame = self._frame or self._decompressor.decompressobj()
            try:
                self._ready = memoryview(frame.decompress(self._packed))
            except zstandard.ZstdError as error:
                if "too much memory" not in str(error):
                    raise
                raise DataError(
                    f"{redacted(self._path)}: needs more than {LARGEST_WINDOW >> 20} MiB of memory to unpack (it was made with "
                    "`zstd --long=29` or more, or `--ultra`); pack it anew: zstd -d --long=31 FILE, then zstd FILE."
                ) from None
            self._packed = frame.unused_data if frame.eof else b""
            self._frame = None if frame.eof else frame
        data, self._ready = self._ready[:size], self._ready[size:]
        return data


class _Unpacked(io.RawIOBase):
    """A stream that compares what comes out of a file with what went in, and refuses a bomb."""

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
                f"{redacted(self._path)}: unpacks to more than {BOMB_RATIO} times its size; it looks like a decompression bomb "
                "and is not read. If it is what you want, unpack it first."
            )
        return len(data)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _open(path: str) -> tuple[IO[bytes], bool]:
    """Open what is stored; and whether it is still to be unpacked."""
    if "://" not in path:
        return open(path, "rb"), is_packed(path)
    protocol = _protocol(path)
    if not is_web(protocol):
        raw = fsspec.open(path, "rb").open()
        # fsspec's own files have a `readline` that takes no size
        return cast(IO[bytes], raw if isinstance(raw, io.BufferedIOBase) else io.BufferedReader(raw, _BUFFER)), is_packed(path)
    web = WebFile(path)
    raw = io.BufferedReader(web, _BUFFER)
    if not web.encoded:
        return raw, is_packed(path)
    plain = io.BufferedReader(_Unpacked(_Gzip(raw), raw, path), _BUFFER)
    # Some servers call a .gz file a text that they compressed: then it is unpacked already.
    magic = plain.peek(4)[:4]
    return plain, is_packed(path) and magic.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd"))


def _protocol(path: str) -> str:
    """Return a URL's protocol.

    Raises:
        DataError: when it is not one of `PROTOCOLS`, or the URL is a chain of several.
    """
    protocol = path.partition("://")[0].lower()
    if protocol not in PROTOCOLS or ("::" in path and not is_web(protocol)):
        raise DataError(
            f"{redacted(path)}: URLs of this kind are not read; the protocols are {', '.join(PROTOCOLS)}, one at a time."
        )
    return protocol


def _name(path: str) -> str:
    """Return the path in lower case, without a URL's query."""
    return redacted(path).lower()


def _hidden(name: str) -> bool:
    """Return whether a file or folder is hidden, the lock file of an office program, or what macOS puts into archives."""
    return name.startswith((".", "~$")) or name == "__MACOSX"


def _of_package(path: str) -> list[str]:
    """Return the files of the package that `bongsu:NAME` stands for, or `bongsu:*.csv`."""
    folder = Path(str(resources.files("bongsu") / "data"))
    found = sorted(fnmatch.filter((file.name for file in folder.iterdir() if file.is_file()), path.removeprefix("bongsu:")))
    if not found:
        raise DataError(f"{path}: no such file in the package.")
    return [str(folder / name) for name in found]


def _of_folder(path: str) -> FileList:
    found = FileList([])
    root = os.path.realpath(path)
    for folder, subfolders, names in os.walk(path):
        for name in list(subfolders):
            why = "hidden folder" if _hidden(name) else "linked folder" if os.path.islink(os.path.join(folder, name)) else ""
            if why:
                subfolders.remove(name)
                found.left_out[why] += 1
        for name in names:
            file = os.path.join(folder, name)
            if _hidden(name):
                found.left_out["hidden file"] += 1
            elif inner_suffix(file) not in KNOWN:
                found.left_out["file of another kind"] += 1
            else:
                _take(found, root, file)
    found.files.sort()
    return found


def _of_pattern(path: str) -> FileList:
    found = FileList([])
    fixed = path[: next(place for place, character in enumerate(path) if character in "*?[")]
    root = os.path.realpath(os.path.dirname(fixed) or ".")
    for file in sorted(set(glob.glob(path, recursive=True))):
        if os.path.isdir(file):
            found.left_out["folder"] += not file.endswith(os.sep)
        else:
            _take(found, root, file)
    return found


def _take(found: FileList, root: str, file: str) -> None:
    """Add a file to those found, unless a link leads from it out of the root, or it is a device."""
    real = os.path.realpath(file)
    if os.path.commonpath([root, real]) != root:
        found.left_out["link out of the folder"] += 1
    elif not os.path.isfile(file):
        found.left_out["not a file"] += 1
    else:
        found.files.append(file)


def _checked(path: str, found: FileList) -> FileList:
    """Return what was found.

    Raises:
        DataError: when it is no file.
    """
    if found.files:
        return found
    shown = redacted(path)
    others = ", ".join(f"{count:,} x {why}" for why, count in found.left_out.items())
    if "://" not in path and not Path(path).is_dir():
        left_out = f" Not taken: {others}." if others else ""
        raise DataError(f"{shown}: no such file.{left_out} Paths are relative to the current folder, {Path.cwd()}.")
    left_out = f"; not taken: {others}" if others else ""
    raise DataError(f"{shown}: no file of a known kind ({', '.join(KNOWN)}, also with .gz or .zst){left_out}.")


def _remote(path: str) -> FileList:
    if is_web(_protocol(path)):
        open_bytes(path).close()
        return FileList([path])
    try:
        system, place = fsspec.core.url_to_fs(path)
        if glob.has_magic(place):
            return _checked(path, FileList([system.unstrip_protocol(file) for file in sorted(system.glob(place))]))
        if system.isdir(place) and not system.isfile(place):
            if path.lower().startswith("file://"):
                return _checked(path, _of_folder(place))
            return _checked(path, _of_remote_folder(place, [system.unstrip_protocol(file) for file in system.find(place)]))
        if system.exists(place):
            return FileList([system.unstrip_protocol(place)])
    except DataError:
        raise
    except Exception as error:  # fsspec's back ends raise errors of their own kinds
        reason = redacted_text(str(error)) or type(error).__name__
        raise DataError(f"{redacted(path)}: cannot be opened ({reason}).") from None
    raise DataError(f"{redacted(path)}: no such file.")


def _of_remote_folder(folder: str, files: list[str]) -> FileList:
    found = FileList([])
    for file in sorted(files):
        inside = file.rpartition(folder)[2]
        if any(_hidden(part) for part in inside.split("/")):
            found.left_out["hidden file"] += 1
        elif inner_suffix(file) not in KNOWN:
            found.left_out["file of another kind"] += 1
        else:
            found.files.append(file)
    return found
