"""Files and folders written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bongsu.errors import WorkspaceError
from bongsu.files import atomic_file, atomic_folder, disk_errors, file_hash, read_json, replace_folder, write_bytes, write_json


def content(folder: Path) -> dict[str, str]:
    """Every file below a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with atomic_file(path) as file:
        file.write(b"first")
        assert not path.exists()
    with atomic_file(path) as file:
        file.write(b"second")
        assert path.read_text() == "first"
    assert content(tmp_path) == {"new/a.txt": "second"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def interrupted() -> None:
        with atomic_file(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert content(tmp_path) == {"a.txt": "old"}


def test_a_file_never_takes_the_place_of_a_folder_or_a_device(tmp_path: Path) -> None:
    """As root, a rename over /dev/null or /dev/stdout would succeed."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(WorkspaceError, match=f"{name}: .*; name a file to write"):
            write_bytes(tmp_path / name, b"x")
    assert (tmp_path / "pipe").is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_the_old_folder(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "model"

    def write(text: str, fail: bool) -> None:
        with atomic_folder(target) as folder:
            (folder / "a").write_text(text)
            (folder / "deep").mkdir()
            (folder / "deep" / "b").write_text(text)
            if fail:
                raise error

    with pytest.raises(error):
        write("never", fail=True)
    assert content(tmp_path) == {}
    write("old", fail=False)
    with pytest.raises(error):
        write("half", fail=True)
    assert content(tmp_path) == {"model/a": "old", "model/deep/b": "old"}
    write("new", fail=False)
    assert content(tmp_path) == {"model/a": "new", "model/deep/b": "new"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_a_killed_process_left_does_not_get_in(tmp_path: Path) -> None:
    (tmp_path / ".model.tmp").mkdir()
    (tmp_path / ".model.tmp" / "stale").write_text("stale")
    (tmp_path / ".model.old").mkdir()
    with atomic_folder(tmp_path / "model") as folder:
        (folder / "a").write_text("new")
    assert content(tmp_path) == {"model/a": "new"}


def test_content_is_on_the_disk_before_the_name_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a power cut could leave an empty file under the new name."""
    done: list[str] = []
    replace = os.replace

    def fsync(descriptor: int) -> None:
        done.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))

    def rename(source: Any, target: Any) -> None:
        done.append(f"-> {os.path.basename(target)}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", rename)
    write_bytes(tmp_path / "a", b"x")
    assert done == [f".a.{os.getpid()}.tmp", "-> a", tmp_path.name]
    done.clear()
    with atomic_folder(tmp_path / "m") as folder:
        (folder / "a").write_bytes(b"x")
    assert done == ["a", ".m.tmp", "-> m", tmp_path.name]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "disk is full"),
        (errno.EACCES, "no permission"),
        (errno.EROFS, "no permission"),
    ],
)
def test_what_goes_wrong_with_a_disk_is_said_plainly(tmp_path: Path, number: int, words: str) -> None:
    path = tmp_path / "a"
    with pytest.raises(WorkspaceError, match=words) as caught, disk_errors(path):
        raise OSError(number, os.strerror(number))
    assert str(caught.value).startswith(str(path))
    with pytest.raises(WorkspaceError, match=words), disk_errors(path):
        raise ValueError(f"a library in Rust: {os.strerror(number)} (os error {number})")


def test_other_errors_pass_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), disk_errors(tmp_path):
        raise IsADirectoryError(errno.EISDIR, "directory")
    with pytest.raises(ValueError, match="seven"), disk_errors(tmp_path):
        raise ValueError("seven")
    told = WorkspaceError("x: not a tokenizer (os error 13)")
    with pytest.raises(WorkspaceError) as caught, disk_errors(tmp_path):
        raise told
    assert caught.value is told


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    def write() -> None:
        with disk_errors(tmp_path), open("/dev/full", "wb") as file:
            file.write(b"x")

    with pytest.raises(WorkspaceError, match="disk is full"):
        write()


def test_replace_folder_takes_the_old_one_away(tmp_path: Path) -> None:
    for name in ("source", "target"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text(name)
    replace_folder(tmp_path / "source", tmp_path / "target")
    assert content(tmp_path) == {"target/source": "source"}


def test_json_goes_out_and_comes_back(tmp_path: Path) -> None:
    value = {"text": "불이 났어요 🔥", "number": np.float64(0.1), "array": np.arange(3), "none": None}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == {"text": "불이 났어요 🔥", "number": 0.1, "array": [0, 1, 2], "none": None}
    with pytest.raises(WorkspaceError, match=r"b\.json: no such file"):
        read_json(tmp_path / "b.json")
    for damage in (b"", b"{", b'{"a": "\xff"}'):
        (tmp_path / "a.json").write_bytes(damage)
        with pytest.raises(WorkspaceError, match=r"a\.json: not valid JSON"):
            read_json(tmp_path / "a.json")


def test_file_hash_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert file_hash(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2
    (tmp_path / "a").write_bytes(b"\x07" * 300_000)
    assert file_hash(tmp_path / "a") == hashlib.sha256(b"\x07" * 300_000).hexdigest()
