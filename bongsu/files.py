"""Files written whole or not at all.

Everything is written under a temporary name in the same folder, flushed to the disk, and renamed. A killed process or a
full disk leaves either the old file or the new one, never half of one.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import orjson

from bongsu.errors import BongsuError, WorkspaceError


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn "disk full" and "no permission" while writing `path` into a message that says what to do."""
    try:
        yield
    except Exception as error:
        number = _error_number(error)
        if number in (errno.ENOSPC, errno.EDQUOT):
            raise WorkspaceError(
                f"{path}: the disk is full. Nothing was left half-written; free some space and run the same command again."
            ) from error
        if number in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise WorkspaceError(f"{path}: no permission to write here. Choose another place.") from error
        if number in (errno.ENOTDIR, errno.EEXIST):
            raise WorkspaceError(f"{path}: what should be a folder here is a file. Choose another place.") from error
        raise


def _error_number(error: Exception) -> int | None:
    """Return the `errno` of an error. Libraries written in Rust (safetensors, tokenizers) have it in their message only."""
    if isinstance(error, OSError):
        return error.errno
    match = None if isinstance(error, BongsuError) else re.search(r"\(os error (\d+)\)", str(error))
    return int(match[1]) if match else None


def fsync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refuse_folder(path: Path) -> None:
    """Check that a file may be written here; before long work, so that it is not lost.

    Raises:
        WorkspaceError: when `path` is a folder or a device, which a file must not take the place of.
    """
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "something that is not a file"
        raise WorkspaceError(f"{path}: is {what}; name a file to write.")


@contextmanager
def atomic_file(path: Path, lasting: bool = True, private: bool = False) -> Iterator[IO[bytes]]:
    """Open a binary file that appears under `path`, whole, when the block ends without an error.

    Args:
        lasting: whether to wait for the disk; a file that is needed only for a while does not.
        private: whether nobody but its owner may read it (mode 0600).

    Raises:
        WorkspaceError: when `path` is a folder or a device, which a file must not take the place of.
    """
    refuse_folder(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.unlink(missing_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666)
            with open(descriptor, "wb") as file:
                yield file
                file.flush()
                if lasting:
                    os.fsync(file.fileno())
            os.replace(temporary, path)
            if lasting:
                fsync_folder(path.parent)
        except BaseException:
            with suppress(FileNotFoundError):
                temporary.unlink()
            raise


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder that takes the place of `path`, whole, when the block ends without an error."""
    temporary = path.with_name(f".{path.name}.tmp")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            yield temporary
            for folder, _, names in os.walk(temporary):
                for name in names:
                    with open(os.path.join(folder, name), "rb") as file:
                        os.fsync(file.fileno())
                fsync_folder(Path(folder))
            replace_folder(temporary, path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def replace_folder(source: Path, target: Path) -> None:
    """Rename `source` to `target`, taking away what was there. (Folders cannot be exchanged in one step everywhere.)"""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.replace(target, old)
    os.replace(source, target)
    fsync_folder(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def write_bytes(path: Path, data: bytes, private: bool = False) -> None:
    """Write `data` to `path`, whole or not at all; see `atomic_file`."""
    with atomic_file(path, private=private) as file:
        file.write(data)


def write_text(path: Path, text: str, private: bool = False) -> None:
    """Write `text` as UTF-8 to `path`, whole or not at all; see `atomic_file`."""
    write_bytes(path, text.encode(), private)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON (numpy numbers allowed) to `path`, whole or not at all."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS
    write_bytes(path, orjson.dumps(value, option=options))


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        WorkspaceError: when the file is missing or is not JSON.
    """
    try:
        return orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise WorkspaceError(f"{path}: no such file.") from None
    except orjson.JSONDecodeError as error:
        raise WorkspaceError(f"{path}: not valid JSON ({error}). The file is damaged; run the stage again.") from None


_URL = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")


def redacted(path: str) -> str:
    """Return a path or URL as it may be shown: without a URL's user name, password, query and fragment.

    A query that is no secret, such as the question mark of a pattern (`s3://bucket/part-?.csv`), stays.
    """
    scheme, separator, rest = path.partition("://")
    if not separator:
        return path
    web = scheme.lower() in ("http", "https")
    for mark in "?#":
        before, found, after = rest.partition(mark)
        if found and (web or "=" in after):
            rest = before
    authority, slash, place = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{place}"


def redacted_text(text: str) -> str:
    """Return a message with every URL in it redacted."""
    return _URL.sub(lambda found: redacted(found[0]), text)


def redacted_tree(value: Any) -> Any:
    """Return plain values (dictionaries, lists, strings …) with every string that is a URL redacted."""
    if isinstance(value, dict):
        return {key: redacted_tree(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted_tree(item) for item in value]
    return redacted(value) if isinstance(value, str) else value


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


HASHES = "sha256.json"
"""Where a folder keeps the hashes of its files."""


def record_hashes(folder: Path, *names: str) -> None:
    """Note the SHA-256 of files of a folder in its `sha256.json`, for `check_hashes`."""
    path = folder / HASHES
    known = _hashes(path) if path.exists() else {}
    write_json(path, {**known, **{name: file_hash(folder / name) for name in names}})


def check_hashes(folder: Path, *names: str) -> None:
    """Check that files of a folder are as they were when their hashes were noted; one without a hash passes.

    Raises:
        WorkspaceError: when a file was changed.
    """
    path = folder / HASHES
    known = _hashes(path) if path.exists() else {}
    for name in names:
        if name in known and file_hash(folder / name) != known[name]:
            raise WorkspaceError(
                f"{folder / name}: its content has changed since it was written (SHA-256 differs from {HASHES}). "
                "Copy the folder again from where it was made, or run the stage again."
            )


def _hashes(path: Path) -> dict[str, str]:
    found = read_json(path)
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise WorkspaceError(f"{path}: damaged; it should list the SHA-256 of files. Run the stage again.")
    return found
