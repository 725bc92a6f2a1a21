"""Stages: run once, run again when something changed, gone on with when they can be."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bongsu.errors import WorkspaceError
from bongsu.files import read_json
from bongsu.workspace import Stage, Workspace, file_fingerprint, remembered_fingerprints


class Work:
    """Counts its runs and leaves a file."""

    def __init__(self, fail: bool = False) -> None:
        self.runs = 0
        self.fail = fail
        self.found: list[str] = []

    def __call__(self, folder: Path) -> None:
        self.runs += 1
        self.found = sorted(path.name for path in folder.iterdir() if path.name != "started.json")
        (folder / "step-1").mkdir(exist_ok=True)
        (folder / f"run{self.runs}").write_text("x")
        if self.fail:
            raise RuntimeError("stopped")


def stage(work: Callable[[Path], None], settings: dict[str, Any] | None = None, **changes: Any) -> Stage:
    return Stage(**{"name": "corpus", "settings": settings or {"a": 1}, "inputs": ["x"], "work": work, **changes})


@pytest.mark.parametrize("resumable", [False, True])
def test_a_stage_runs_once_until_something_changes(tmp_path: Path, resumable: bool) -> None:
    work, workspace = Work(), Workspace(tmp_path)
    assert workspace.run(stage(work, resumable=resumable))
    assert not workspace.run(stage(work, resumable=resumable))
    assert not Workspace(tmp_path).run(stage(work, resumable=resumable))
    assert work.runs == 1
    for changed in ({"settings": {"a": 2}}, {"inputs": ["y"]}, {"inputs": ["x", "y"]}):
        assert workspace.run(stage(work, resumable=resumable, **changed))
        assert workspace.is_done(stage(work, **changed))
        assert work.found == []  # nothing of the old is left in the way
    assert work.runs == 4
    assert workspace.seconds("corpus") is not None
    assert workspace.seconds("tokens") is None


def test_a_fingerprint_tells_settings_and_inputs_apart() -> None:
    one = stage(Work(), {"a": 1, "b": {"c": 2}})
    assert one.fingerprint == stage(Work(), {"b": {"c": 2}, "a": 1}).fingerprint
    others = [
        stage(Work(), {"a": 1, "b": {"c": 3}}),
        stage(Work(), {"a": 1, "b": {"c": 2}}, inputs=["xy"]),
        stage(Work(), {"a": 1, "b": {"c": 2}}, inputs=[]),
        stage(Work(), {"a": 1, "b": {"c": 2}}, name="tokens"),
    ]
    assert len({one.fingerprint, *(other.fingerprint for other in others)}) == 5


def test_a_stage_that_failed_leaves_the_old_output_and_begins_anew(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.run(stage(Work()))
    failing = Work(fail=True)
    with pytest.raises(RuntimeError):
        workspace.run(stage(failing, {"a": 2}))
    assert workspace.is_done(stage(failing))
    assert (tmp_path / "corpus" / "run1").is_file()
    failing.fail = False
    assert workspace.run(stage(failing, {"a": 2}))
    assert failing.found == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus"]


def test_a_stage_that_goes_on_finds_what_it_had(tmp_path: Path) -> None:
    workspace, work = Workspace(tmp_path), Work(fail=True)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            workspace.run(stage(work, resumable=True))
    assert not workspace.is_done(stage(work, resumable=True))
    work.fail = False
    assert workspace.run(stage(work, resumable=True))
    assert work.found == ["run1", "run2", "step-1"]
    # With other settings it must not go on; what took long to make is kept beside.
    other = Work()
    assert workspace.run(stage(other, {"a": 2}, resumable=True))
    assert other.found == []
    kept = [path for path in tmp_path.iterdir() if path.name.startswith("corpus.")]
    assert len(kept) == 1
    assert (kept[0] / "run3").is_file()


def test_old_outputs_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    """Three changes within a second."""
    for a in range(4):
        Workspace(tmp_path).run(stage(Work(), {"a": a}, resumable=True))
    assert len([path for path in tmp_path.iterdir() if path.name.startswith("corpus.")]) == 3


def test_an_output_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    workspace, work = Workspace(tmp_path), Work()
    workspace.run(stage(work))
    shutil.rmtree(tmp_path / "corpus")
    assert workspace.run(stage(work))


@pytest.mark.parametrize("content", ["", "{", "[]", "7"])
def test_a_damaged_stage_file_is_a_clear_error(tmp_path: Path, content: str) -> None:
    workspace = Workspace(tmp_path)
    workspace.run(stage(Work()))
    (tmp_path / "corpus" / "stage.json").write_text(content)
    with pytest.raises(WorkspaceError, match=r"stage\.json: .*damaged"):
        workspace.run(stage(Work()))


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_damaged_start_file_is_a_clear_error(tmp_path: Path, content: str) -> None:
    workspace = Workspace(tmp_path)
    with pytest.raises(RuntimeError):
        workspace.run(stage(Work(fail=True), resumable=True))
    (tmp_path / "corpus" / "started.json").write_text(content)
    with pytest.raises(WorkspaceError, match=r"started\.json: .*damaged"):
        workspace.run(stage(Work(), resumable=True))


def test_time_is_counted_over_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 10.0, 100.0, 105.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    with pytest.raises(RuntimeError):
        Workspace(tmp_path).run(stage(Work(fail=True), resumable=True))
    Workspace(tmp_path).run(stage(Work(), resumable=True))
    assert Workspace(tmp_path).seconds("corpus") == 15.0
    assert read_json(tmp_path / "corpus" / "stage.json")["settings"] == {"a": 1}


def hold(path: Path, held: Any, release: Any) -> None:
    with Workspace(path).locked():
        held.set()
        release.wait(600)


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    other = context.Process(target=hold, args=(tmp_path / "run", held, release))
    other.start()
    assert held.wait(600)
    with pytest.raises(WorkspaceError, match="another process is at work"), Workspace(tmp_path / "run").locked():
        raise AssertionError("went in")
    # A process that is killed does not leave the folder locked.
    other.kill()
    other.join()
    with Workspace(tmp_path / "run").locked():
        pass
    with Workspace(tmp_path / "run").locked():
        pass


def test_the_fingerprint_of_a_file_is_its_content(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("one")
    first = file_fingerprint(str(path))
    os.utime(path, (1, 1))
    copy = tmp_path / "b.csv"
    copy.write_text("one")
    assert file_fingerprint(str(path)) == file_fingerprint(str(copy)) == first
    path.write_text("two")
    assert file_fingerprint(str(path)) != first
    assert file_fingerprint("s3://bucket/key") == "s3://bucket/key"


def test_the_fingerprint_of_a_large_file_reads_its_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bongsu.workspace._WHOLE", 2**20)
    path = tmp_path / "large"
    path.write_bytes(bytes(3 * 2**20))
    os.utime(path, (1, 1))
    first = file_fingerprint(str(path))
    for place in (0, 3 * 2**20 - 1):
        data = bytearray(3 * 2**20)
        data[place] = 1
        path.write_bytes(data)
        os.utime(path, (1, 1))
        assert file_fingerprint(str(path)) != first
    path.write_bytes(bytes(3 * 2**20))
    os.utime(path, (2, 2))
    assert file_fingerprint(str(path)) != first


def test_runs_that_share_a_store_do_a_common_stage_once(tmp_path: Path) -> None:
    work, place = Work(), tmp_path / "place"
    one, two = (Workspace(place / name, place / "store") for name in ("one", "two"))
    assert one.run(stage(work))
    assert not two.run(stage(work))
    assert two.run(stage(work, {"a": 2}))
    assert not two.run(stage(work))
    assert work.runs == 2
    place.rename(tmp_path / "moved")
    assert (tmp_path / "moved" / "one" / "corpus" / "run1").samefile(tmp_path / "moved" / "two" / "corpus" / "run1")


def test_what_one_run_began_another_goes_on_from(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        Workspace(tmp_path / "one", tmp_path / "store").run(stage(Work(fail=True), resumable=True))
    work = Work()
    assert Workspace(tmp_path / "two", tmp_path / "store").run(stage(work, resumable=True))
    assert work.found == ["run1", "step-1"]
    assert Workspace(tmp_path / "one").is_done(stage(work))


def test_a_file_of_the_same_size_and_date_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, memory = tmp_path / "rows.csv", tmp_path / ".fingerprints.json"
    path.write_text("one")
    with remembered_fingerprints(memory):
        first = file_fingerprint(str(path))
    assert not memory.exists()  # it has only just been written, and may be again within the same tick of the clock
    os.utime(path, (1_700_000_000, 1_700_000_000))
    with remembered_fingerprints(memory):
        assert file_fingerprint(str(path)) == first
    monkeypatch.setattr("bongsu.workspace._content_fingerprint", lambda file: "read again")
    with remembered_fingerprints(memory):
        assert file_fingerprint(str(path)) == first
    path.write_text("two")
    with remembered_fingerprints(memory):
        assert file_fingerprint(str(path)) == "read again"
    assert file_fingerprint(str(path)) == "read again"
    memory.write_text("{")  # damaged: it is made anew
    os.utime(path, (1_700_000_000, 1_700_000_000))
    with remembered_fingerprints(memory):
        assert file_fingerprint(str(path)) == "read again"
    assert list(read_json(memory)) == [str(path)]
