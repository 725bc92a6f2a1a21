"""A pre-training that is killed, stopped, damaged or left without disk ends with the weights of one that never was.

`BONGSU_KILLS=50 pytest tests/training/test_endurance.py` kills more often.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_pretraining as tiny
import torch
import toy

from bongsu.errors import WorkspaceError
from bongsu.pretraining.masked_lm import MaskedLanguageModelling
from bongsu.training.checkpoints import checkpoints
from bongsu.training.log import read_log

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("BONGSU_KILLS", "16"))
EPOCH = 540 / 24
"""Steps an epoch of `data` takes."""


def same(folder: Path, other: Path) -> None:
    """Bit for bit the same weights, and a log that tells the same of each step once."""
    for a, b in zip(tiny.weights(folder), tiny.weights(other), strict=True):
        assert torch.equal(a, b)
    clocks = {"tokens_per_second", "step_seconds", "data_wait"}
    logs = [read_log(path / "checkpoints" / "metrics.jsonl") for path in (folder, other)]
    told = [[{key: value for key, value in line.items() if key not in clocks} for line in log] for log in logs]
    assert told[0] == told[1]


def steps(folder: Path) -> list[int]:
    """The steps of the checkpoints, the latest first."""
    return [int(path.name[5:]) for path in checkpoints(folder / "checkpoints")]


def test_killed_at_random_moments(data: Path, processes: Any, tmp_path: Path) -> None:
    """Over several epochs; many of the moments are inside a save."""
    folder, settings = tmp_path / "killed", tiny.recipe(steps=4 * KILLS, keep=2)
    folder.mkdir()
    draw, in_a_save = random.Random(0), 0
    for _ in range(KILLS):
        child = processes.Process(target=tiny.killed, args=(data, folder, settings, draw.randint(1, 60)))
        child.start()
        child.join(600)
        assert child.exitcode == -signal.SIGKILL
        in_a_save += bool(list((folder / "checkpoints").glob(".step-*.tmp")))
    assert in_a_save >= KILLS // 4
    assert EPOCH < steps(folder)[0] < 4 * KILLS

    tiny.run(data, folder, settings)
    tiny.run(data, tmp_path / "straight", settings)
    same(folder, tmp_path / "straight")
    assert not list((folder / "checkpoints").glob(".step-*"))


@pytest.fixture(scope="module")
def straight(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """26 steps, more than an epoch, without a stop, every checkpoint kept."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    tiny.run(data, folder, tiny.recipe(steps=26))
    return folder


class Stop(Exception):
    pass


@pytest.mark.parametrize("stops", [(5, 11, 17), (21, 22, 23)])
def test_resumed_three_times_within_an_epoch_and_across_its_end(
    stops: tuple[int, ...], data: Path, straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stops[-1] < EPOCH or stops[0] < EPOCH < stops[-1]
    settings = tiny.recipe(steps=26)
    for stop in stops:
        with monkeypatch.context() as patch:
            taken = iter(range(1 + (steps(tmp_path / "run") or [0])[0], 100))

            def stopping(task: Any, stop: int = stop, taken: Iterator[int] = taken) -> None:
                if next(taken) == stop:
                    raise Stop

            patch.setattr(MaskedLanguageModelling, "after_step", stopping)
            with pytest.raises(Stop):
                tiny.run(data, tmp_path / "run", settings)
        assert steps(tmp_path / "run")[0] == stop - 1
    tiny.run(data, tmp_path / "run", settings)
    same(tmp_path / "run", straight)


def flip(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def cut(path: Path, draw: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: draw.randrange(path.stat().st_size)])


@pytest.mark.parametrize("harm", [flip, cut])
def test_of_damaged_checkpoints_the_newest_that_is_whole_is_taken(
    harm: Any, data: Path, straight: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One file of each of the last four checkpoints is damaged."""
    draw, folder = random.Random(1), tmp_path / "run"
    shutil.copytree(straight, folder)
    shutil.rmtree(folder / "model")
    newest = checkpoints(folder / "checkpoints")[:4]
    for checkpoint in newest:
        harm(draw.choice(sorted(checkpoint.iterdir())), draw)
    tiny.run(data, folder, tiny.recipe(steps=26))
    said = capsys.readouterr().err
    assert all(f"damaged-{checkpoint.name}" in said for checkpoint in newest)
    same(folder, straight)


@pytest.mark.parametrize("harm", [flip, cut])
def test_damaged_shards_are_named(harm: Any, data: Path, tmp_path: Path) -> None:
    draw = random.Random(2)
    for path in sorted((data / "tokens").glob("*.npy")):
        shutil.copytree(data, tmp_path / path.stem)
        harm(tmp_path / path.stem / "tokens" / path.name, draw)
        with pytest.raises(WorkspaceError, match=rf"{path.name}: its content has changed"):
            tiny.run(tmp_path / path.stem, tmp_path / "run", tiny.recipe())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB, where one may be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("only root may mount a disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_fills_during_a_save(tmp_path: Path, small_disk: Path) -> None:
    with pytest.raises(WorkspaceError, match="the disk is full"):
        toy.run(small_disk / "run", 40, keep=100, checkpoint_minutes=1e-9)
    kept = [int(path.name[5:]) for path in checkpoints(small_disk / "run")]
    assert kept == list(range(kept[0], 0, -1))
    assert not list((small_disk / "run").glob(".step-*"))
    shutil.copytree(small_disk / "run", tmp_path / "larger")
    task, _ = toy.run(tmp_path / "larger", 40)
    straight, _ = toy.run(tmp_path / "straight", 40)
    for a, b in zip(task.model.parameters(), straight.model.parameters(), strict=True):
        assert torch.equal(a, b)
