"""Processes killed with SIGKILL, at random moments and in the middle of a save."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import toy

from bongsu.training.checkpoints import checkpoints
from bongsu.training.log import read_log


def names(folder: Path) -> list[int]:
    """The steps of the checkpoints, in order."""
    return [int(path.name[5:]) for path in reversed(checkpoints(folder))]


@pytest.fixture(scope="module")
def processes() -> Any:
    """Fresh processes of their own that have imported torch already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bongsu.training.loop"])
    return context


def test_a_killed_process_goes_on_to_the_same_weights(tmp_path: Path, processes: Any) -> None:
    folder, steps = tmp_path / "killed", 120
    draw = random.Random(0)
    for attempt in range(6):
        in_a_save = attempt % 2 == 1
        before = names(folder)
        child = processes.Process(target=toy.child, args=(folder, steps, 0.3 if in_a_save else 0.0))
        child.start()
        deadline = time.monotonic() + 30
        while child.is_alive() and time.monotonic() < deadline:
            if in_a_save and list(folder.glob(".step-*.tmp/optimizer.safetensors")):
                break
            if not in_a_save and names(folder) != before:
                time.sleep(0.05 * draw.random())
                break
            time.sleep(0.001)
        child.kill()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        assert bool(list(folder.glob(".step-*.tmp"))) or not in_a_save
    assert 0 < names(folder)[-1] < steps

    for last in (folder, tmp_path / "straight"):
        child = processes.Process(target=toy.child, args=(last, steps, 0.0))
        child.start()
        child.join(60)
        assert child.exitcode == 0
    assert (folder / "weights").read_text() == (tmp_path / "straight" / "weights").read_text()
    assert not list(folder.glob(".step-*"))
    told = [[record["step"] for record in read_log(path / "metrics.jsonl")] for path in (folder, tmp_path / "straight")]
    assert told[0] == told[1]
