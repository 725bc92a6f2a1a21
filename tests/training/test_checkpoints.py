"""Checkpoints: whole or not at all, and never believed when damaged."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from bongsu.errors import WorkspaceError
from bongsu.training import checkpoints as module
from bongsu.training.checkpoints import Snapshot, State, checkpoints, load_checkpoint, prune, resume_latest, save_checkpoint

FILES = ("model.safetensors", "optimizer.safetensors", "state.json")


class Tied(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, width)
        self.output = nn.Linear(width, 7)
        self.output.weight = self.embedding.weight
        self.frozen = nn.Linear(width, 2).requires_grad_(False)
        self.register_buffer("count", torch.tensor(3))
        self.register_buffer("table", torch.ones(3), persistent=False)

    def forward(self, ids: torch.Tensor) -> Any:
        return self.output(self.embedding(ids))


def make(width: int = 4, steps: int = 0) -> tuple[Tied, torch.optim.Optimizer]:
    model = Tied(width)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1, fused=True)
    for _ in range(steps):
        model(torch.arange(7)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A folder with checkpoints of steps 1 and 2."""
    for step in (1, 2):
        save_checkpoint(tmp_path, Snapshot.of(*make(steps=step), State(step=step, best=0.25)))
    return tmp_path


def test_weights_moments_and_state_come_back(tmp_path: Path) -> None:
    model, optimizer = make(steps=3)
    saved = save_checkpoint(tmp_path, Snapshot.of(model, optimizer, State(step=3, best=0.1)))
    assert sorted(path.name for path in saved.iterdir()) == sorted(FILES)
    again, fresh = make()
    assert load_checkpoint(saved, again, fresh) == State(step=3, best=0.1)
    assert same_weights(model, again)
    assert again.output.weight is again.embedding.weight
    # What follows is the same too, so the moments and their count came back.
    for net, steps in ((model, optimizer), (again, fresh)):
        net(torch.arange(7)).square().mean().backward()
        steps.step()
    assert same_weights(model, again)


@pytest.mark.parametrize("name", FILES)
def test_any_flipped_bit_or_cut_is_noticed(two: Path, name: str) -> None:
    path = two / "step-00000002" / name
    good = path.read_bytes()
    draw = random.Random(0)
    harms: list[bytes] = [b"", good[:-2], good[: len(good) // 2]]
    for place in draw.sample(range(len(good)), min(len(good), 80)):
        harms.append(good[:place] + bytes([good[place] ^ 1 << draw.randrange(8)]) + good[place + 1 :])
    for harm in harms:
        path.write_bytes(harm)
        with pytest.raises(WorkspaceError, match="step-00000002"):
            load_checkpoint(path.parent, *make())


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_the_checkpoint_before_a_damaged_one_is_taken(
    two: Path, name: str, harm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = two / "step-00000002" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data if harm == "flip" else data[:-7])
    if harm == "remove":
        path.unlink()
    model, optimizer = make()
    state = resume_latest(two, model, optimizer)
    assert state is not None
    assert state.step == 1
    fresh, fresh_optimizer = make()
    load_checkpoint(two / "step-00000001", fresh, fresh_optimizer)
    assert same_weights(model, fresh)
    assert "step-00000002" in capsys.readouterr().err
    assert [path.name for path in checkpoints(two)] == ["step-00000001"]
    assert (two / "damaged-step-00000002").is_dir()


def test_no_checkpoint_left_means_the_beginning(two: Path) -> None:
    for step in (1, 2):
        (two / f"step-{step:08d}" / "state.json").write_text("[]")
    model, optimizer = make()
    before = [value.clone() for value in model.state_dict().values()]
    assert resume_latest(two, model, optimizer) is None
    assert all(torch.equal(a, b) for a, b in zip(before, model.state_dict().values(), strict=True))
    assert not optimizer.state


def test_another_model_is_an_error_and_nothing_is_lost(two: Path) -> None:
    with pytest.raises(WorkspaceError, match="step-00000002: holds another model"):
        resume_latest(two, *make(width=6))
    assert [path.name for path in checkpoints(two)] == ["step-00000002", "step-00000001"]


def full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_in_rust(*_: Any) -> None:
    """What safetensors says on a full disk."""
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def half_written(tensors: Any, path: Path) -> None:
    path.write_bytes(b"half of it")
    full_in_rust()


@pytest.mark.parametrize(
    ("owner", "name", "failure"),
    [(os, "fsync", full), (os, "replace", full), (module, "save_file", full_in_rust), (module, "save_file", half_written)],
)
def test_a_full_disk_leaves_the_checkpoints_there_are(
    two: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, failure: Callable[..., None]
) -> None:
    before = {path: path.read_bytes() for path in two.rglob("*") if path.is_file()}
    for step in (2, 3):  # over an old one, and beside it
        model, optimizer = make()
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, failure)
            with pytest.raises(WorkspaceError, match="disk is full"):
                save_checkpoint(two, Snapshot.of(model, optimizer, State(step)))
    assert {path: path.read_bytes() for path in two.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in two.iterdir()) == ["step-00000001", "step-00000002"]


def test_a_save_cut_off_by_a_kill_is_not_taken_and_is_cleared_away(two: Path) -> None:
    shutil.copytree(two / "step-00000002", two / ".step-00000003.tmp")
    assert len(checkpoints(two)) == 2
    state = resume_latest(two, *make())
    assert state is not None
    assert state.step == 2
    assert not (two / ".step-00000003.tmp").exists()


def test_prune_keeps_the_latest_and_the_best(tmp_path: Path) -> None:
    for step in range(1, 6):
        (tmp_path / f"step-{step:08d}").mkdir()
    (tmp_path / "step-notes").mkdir()
    prune(tmp_path, keep=2, best=1)
    assert [path.name[-1] for path in checkpoints(tmp_path)] == ["5", "4", "1"]
    prune(tmp_path, keep=1, best=None)
    assert [path.name[-1] for path in checkpoints(tmp_path)] == ["5"]
    assert (tmp_path / "step-notes").is_dir()


def test_the_state_is_plain_json(two: Path) -> None:
    state = json.loads((two / "step-00000001" / "state.json").read_text())
    assert state["step"] == 1
    assert set(state["sha256"]) == {"model.safetensors", "optimizer.safetensors", "state"}
