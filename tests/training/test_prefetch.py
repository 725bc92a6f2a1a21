"""Batches made ahead come in order, whoever makes them, and those who make them leave nothing behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import tiny_pretraining as tiny
import torch

from bongsu.errors import DataError, TrainingError
from bongsu.training.prefetch import AHEAD, Prefetch, resolve_workers


class Slow:
    """Some batches take longer than others."""

    def __init__(self, fail_at: int = -1, die_at: int = -1) -> None:
        self.fail_at, self.die_at = fail_at, die_at
        self.made: list[int] = []

    def batch(self, n: int) -> tuple[int, int]:
        if n == self.fail_at:
            raise DataError(f"shards:{n}: damaged")
        if n == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.002 * (n % 3))
        self.made.append(n)
        return n, os.getpid()


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_in_order(workers: int) -> None:
    with Prefetch(Slow(), 5, 25, workers) as batches:
        taken = [batches.next() for _ in range(12)]
        batches.restart(8)
        taken += [batches.next() for _ in range(17)]
        with pytest.raises(IndexError):
            batches.next()
    assert [n for n, _ in taken] == [*range(5, 17), *range(8, 25)]
    makers = {maker for _, maker in taken}
    assert (makers == {os.getpid()}) == (workers == 0)
    assert len(makers) == (2 * workers or 1)  # new ones after the restart
    assert not multiprocessing.active_children()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_a_few_ahead_and_no_more() -> None:
    source = Slow()
    with Prefetch(source, 0, 100) as batches:
        batches.next()
        time.sleep(0.1)
        assert source.made == list(range(AHEAD + 1))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_comes_in_its_turn_and_as_it_is(workers: int) -> None:
    with Prefetch(Slow(fail_at=3), 0, 9, workers) as batches:
        assert [batches.next()[0] for _ in range(3)] == [0, 1, 2]
        with pytest.raises(DataError, match=r"^shards:3: damaged$"):
            batches.next()


def test_a_killed_worker_is_told_of() -> None:
    with Prefetch(Slow(die_at=0), 0, 9, 1) as batches, pytest.raises(TrainingError, match="was killed"):
        batches.next()


def test_waiting_is_measured() -> None:
    with Prefetch(Slow(), 0, 10) as batches:
        batches.take_waited()
        batches.next()
        time.sleep(0.1)
        first = batches.take_waited()
        batches.next()
        assert batches.take_waited() < 0.05
        assert first > 0


def test_the_same_weights_with_any_number_of_workers(data: Path, tmp_path: Path) -> None:
    for workers in (0, 2):
        tiny.run(data, tmp_path / str(workers), tiny.recipe(loader_workers=workers, steps=6, keep=1))
    for a, b in zip(tiny.weights(tmp_path / "0"), tiny.weights(tmp_path / "2"), strict=True):
        assert torch.equal(a, b)


def test_processes_only_for_a_gpu_unless_asked() -> None:
    assert resolve_workers(None, torch.device("cpu")) == 0
    assert resolve_workers(3, torch.device("cpu")) == 3
    assert 1 <= resolve_workers(None, torch.device("cuda")) <= 4
