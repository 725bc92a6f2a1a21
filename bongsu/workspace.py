"""A run's folder: one folder a stage, each with the fingerprint of what it was made from.

A stage whose inputs and settings have not changed is not run again. A stage that was stopped keeps what it has, and goes on
from it as long as its inputs and settings are the same; otherwise what it has makes way.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

import orjson

from bongsu.errors import WorkspaceError
from bongsu.files import disk_errors, read_json, redacted_tree, replace_folder, write_json

DONE = "stage.json"
STARTED = "started.json"
WAIT_SECONDS = 0.2
_WHOLE = 64 * 2**20  # files up to this size are hashed whole


@dataclass(frozen=True)
class Stage:
    """A stage of a run."""

    name: str
    settings: Mapping[str, object]
    """Everything that decides the outcome apart from the inputs."""
    inputs: Sequence[str]
    """Fingerprints of the stages and files it reads."""
    work: Callable[[Path], None]
    """Does the work inside the folder it is given."""
    resumable: bool = False
    """Whether it can resume from a half-finished folder; others begin anew."""
    collective: bool = False
    """Whether all processes of a run that has several work on it; other stages are the main process's."""

    @property
    def fingerprint(self) -> str:
        """A hash of settings and inputs."""
        content = {"name": self.name, "settings": self.settings, "inputs": list(self.inputs)}
        return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


class Workspace:
    """The folder of a run, held by one process at a time."""

    def __init__(self, path: Path, store: Path | None = None) -> None:
        """With a `store`, which runs share, a stage is done once for all of them: its folder lies there under its fingerprint,
        and the run has a link to it."""
        self.path = path
        self.store = store

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the run against other processes.

        Raises:
            WorkspaceError: when another process is at work in this folder.
        """
        with _held(self.path / ".lock", wait=False):
            yield

    def folder(self, stage: str) -> Path:
        """Return the folder of a stage's output."""
        return self.path / stage

    def is_done(self, stage: Stage) -> bool:
        """Return whether the stage's output exists and was made from these inputs and settings."""
        done = self.folder(stage.name) / DONE
        return done.is_file() and _read(done)["fingerprint"] == stage.fingerprint

    def run(self, stage: Stage) -> bool:
        """Run a stage unless it is done; return whether it was run."""
        if self.is_done(stage):
            return False
        folder = self.folder(stage.name)
        if self.store is None:
            _carry_out(stage, folder)
            return True
        kept = self.store / f"{stage.name.replace('/', '-')}-{stage.fingerprint[:16]}"
        with _held(self.store / f".{kept.name}.lock", wait=True):
            _link(folder, kept)
            if self.is_done(stage):  # by another run, while this one waited
                return False
            _carry_out(stage, kept)
            return True

    def follow(self, stage: Stage) -> None:
        """Take part in a stage that the main process runs, or wait until it is done."""
        while not self.is_done(stage):
            if stage.collective:
                stage.work(self.folder(stage.name))
                return
            time.sleep(WAIT_SECONDS)

    def seconds(self, stage: str) -> float | None:
        """Return how long a finished stage took."""
        done = self.folder(stage) / DONE
        return float(_read(done).get("seconds", 0.0)) if done.is_file() else None


def _carry_out(stage: Stage, target: Path) -> None:
    """Do the work of a stage; its folder is renamed to `target` when complete."""
    work = target if stage.resumable else target.with_name(f".{target.name}.tmp")
    begun = work / STARTED
    if not (stage.resumable and begun.is_file() and _read(begun)["fingerprint"] == stage.fingerprint):
        archive(work, keep=stage.resumable)
        with disk_errors(work):
            work.mkdir(parents=True)
        write_json(begun, {"fingerprint": stage.fingerprint})
    (work / DONE).unlink(missing_ok=True)
    start = time.perf_counter()
    try:
        with disk_errors(work):
            stage.work(work)
    except BaseException:
        with suppress(WorkspaceError):
            write_json(begun, {"fingerprint": stage.fingerprint, "seconds": _seconds_since(start, begun)})
        raise
    seconds = _seconds_since(start, begun)
    write_json(work / DONE, {"fingerprint": stage.fingerprint, "seconds": seconds, "settings": redacted_tree(stage.settings)})
    if work != target:
        replace_folder(work, target)


@contextmanager
def _held(lock: Path, wait: bool) -> Iterator[None]:
    """Hold a lock file, which the system releases when the process ends."""
    with disk_errors(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        raise WorkspaceError(f"{lock.parent}: another process is at work in this folder; wait for it or use --out.") from None
    else:
        yield
    finally:
        os.close(descriptor)


def _link(folder: Path, kept: Path) -> None:
    """Replace `folder` by a relative link to `kept`."""
    if folder.is_symlink():
        folder.unlink()
    else:
        archive(folder, keep=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.symlink_to(os.path.relpath(kept, folder.parent), target_is_directory=True)


class _Record(TypedDict):
    """One of the two files about a stage."""

    fingerprint: str
    seconds: NotRequired[float]


def _read(path: Path) -> _Record:
    try:
        content = read_json(path)
    except WorkspaceError:
        content = None
    if not isinstance(content, dict) or "fingerprint" not in content:
        raise WorkspaceError(f"{path}: the file is damaged. Delete it and run the same command again.")
    return cast(_Record, content)


def _seconds_since(start: float, begun: Path) -> float:
    """Return the time since `start` and that of earlier, interrupted attempts."""
    return float(_read(begun).get("seconds", 0.0)) + time.perf_counter() - start


_RECENT = 2.0  # seconds in which a file may change without another date
_remembered: ContextVar[dict[str, list[Any]] | None] = ContextVar("_remembered", default=None)


@contextmanager
def remembered_fingerprints(path: Path) -> Iterator[None]:
    """Keep the fingerprints of files in a file of the run's folder, so that one of the same size and date is not read again."""
    try:
        known = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        known = {}
    found = dict(known) if isinstance(known, dict) else {}
    before = _remembered.set(found)
    try:
        yield
    finally:
        _remembered.reset(before)
        if found != known and path.parent.is_dir():
            with suppress(WorkspaceError):  # it saves time and nothing else
                write_json(path, found)


def file_fingerprint(path: str) -> str:
    """Return a fingerprint of a file's content: its hash, or for large files its size, its date and the hash of both ends."""
    file = Path(path)
    if not file.is_file():
        return path  # a URL: its name has to do
    known, status, name = _remembered.get(), file.stat(), str(file.resolve())
    stamp = [status.st_size, status.st_mtime_ns]
    entry = known.get(name) if known is not None else None
    if isinstance(entry, list) and entry[:2] == stamp and len(entry) == 3:
        return str(entry[2])
    found = _content_fingerprint(file)
    if known is not None and time.time() - status.st_mtime > _RECENT:
        known[name] = [*stamp, found]
    return found


def _content_fingerprint(file: Path) -> str:
    size = file.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(file, "rb") as stream:
        if size <= _WHOLE:
            digest.update(stream.read())
        else:
            digest.update(stream.read(2**20))
            stream.seek(-(2**20), os.SEEK_END)
            digest.update(stream.read())
            digest.update(str(file.stat().st_mtime_ns).encode())
    return digest.hexdigest()


def archive(folder: Path, keep: bool) -> None:
    """Remove a folder; one that took long to make is renamed with its date instead."""
    if not folder.exists():
        return
    if keep and any(folder.rglob("step-*")):
        date = time.strftime("%Y%m%d-%H%M%S")
        names = (f"{folder.name}.{date}{f'-{number}' if number else ''}" for number in itertools.count())
        os.replace(folder, next(path for name in names if not (path := folder.with_name(name)).exists()))
    else:
        shutil.rmtree(folder)
