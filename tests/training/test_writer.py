"""Checkpoints written in the background: training goes on meanwhile, and what is written is the moment they were asked for."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import toy

from bongsu.errors import WorkspaceError
from bongsu.training import checkpoints as module
from bongsu.training.checkpoints import State, Writer, checkpoints, load_checkpoint


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Saves go no further than this before it is set."""
    opened = threading.Event()
    save_file = module.save_file  # type: ignore[attr-defined]

    def waiting(tensors: Any, path: Path) -> None:
        assert opened.wait(600)
        save_file(tensors, path)

    monkeypatch.setattr(module, "save_file", waiting)
    return opened


def made() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return model, optimizer


def test_training_goes_on_and_the_moment_is_kept(tmp_path: Path, gate: threading.Event) -> None:
    model, optimizer = made()
    before = [value.clone() for value in model.state_dict().values()]
    moments = [value["exp_avg"].clone() for value in optimizer.state.values()]
    with Writer(tmp_path, keep=2) as writer:
        writer.save(State(step=1, best=0.5), model, optimizer)
        optimizer.step()
        writer.check()
        assert checkpoints(tmp_path) == []
        gate.set()
        writer.wait()
        assert len(checkpoints(tmp_path)) == 1
    again, fresh = made()
    state = load_checkpoint(tmp_path / "step-00000001", again, fresh)
    assert state == State(step=1, best=0.5)
    assert all(torch.equal(a, b) for a, b in zip(before, again.state_dict().values(), strict=True))
    restored = [value["exp_avg"] for value in fresh.state.values()]
    assert all(torch.equal(a, b) for a, b in zip(moments, restored, strict=True))


def test_one_at_a_time_in_order(tmp_path: Path) -> None:
    model, optimizer = made()
    with Writer(tmp_path, keep=2) as writer:
        for step in range(1, 6):
            writer.save(State(step=step, best_step=2), model, optimizer)
    assert [path.name[-1] for path in checkpoints(tmp_path)] == ["5", "4", "2"]


def test_leaving_waits_for_the_last(tmp_path: Path, gate: threading.Event) -> None:
    threading.Timer(0.05, gate.set).start()
    with suppress(KeyError), Writer(tmp_path, keep=2) as writer:
        writer.save(State(step=1), *made())
        raise KeyError
    assert len(checkpoints(tmp_path)) == 1


def keep_checking(writer: Writer) -> None:
    while True:
        writer.check()


CALLS: dict[str, Callable[[Writer], None]] = {
    "check": keep_checking,
    "wait": lambda writer: writer.wait(),
    "save": lambda writer: writer.save(State(step=3), *made()),
    "leave": lambda writer: writer.__exit__(None),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_full_disk_is_told_by_whatever_comes_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    model, optimizer = made()
    with Writer(tmp_path, keep=2) as writer:
        writer.save(State(step=1), model, optimizer)
    monkeypatch.setattr(module, "save_file", full)
    writer = Writer(tmp_path, keep=2)
    writer.save(State(step=2), model, optimizer)
    with pytest.raises(WorkspaceError, match="the disk is full"):
        CALLS[call](writer)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_a_full_disk_ends_training_with_the_last_checkpoint_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And once there is room, the same command goes on to the same weights."""
    straight, _ = toy.run(tmp_path / "straight", 20)
    save_file, saves = safetensors.torch.save_file, iter(range(100))

    def full(tensors: Any, path: Path) -> None:
        if next(saves) == 13:  # in the middle of the seventh checkpoint
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save_file(tensors, path)

    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(WorkspaceError, match=r"step-00000007.*the disk is full"):
        toy.run(tmp_path / "full", 20, checkpoint_minutes=1e-9)
    assert checkpoints(tmp_path / "full")[0].name == "step-00000006"
    task, _ = toy.run(tmp_path / "full", 20, checkpoint_minutes=1e-9)
    for a, b in zip(task.model.parameters(), straight.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_others_than_the_leader_write_nothing(tmp_path: Path) -> None:
    with Writer(tmp_path, keep=2, active=False) as writer:
        writer.save(State(step=1), *made())
    assert list(tmp_path.iterdir()) == []
