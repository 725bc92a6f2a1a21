"""What the log tells of time: rate, length of a step, waiting, and the share of the device's rate that is used."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import toy

from bongsu.training.devices import peak_flops, published_flops
from bongsu.training.log import Outcome, Step, Window, read_log


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be set by hand."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_by_hand(clock: list[float]) -> None:
    window = Window(flops_per_token=2e9, peak_flops=4e12)
    for loss, tokens in ((2.0, 1000.0), (4.0, 3000.0)):
        clock[0] += 1.5
        window.wait(0.03)
        window.add(Step(loss, 30.0, 100.0, tokens, 1.0))
    with window.paused():
        clock[0] += 50.0
    clock[0] += 1.0
    assert window.close() == pytest.approx(
        {"loss": 3.0, "accuracy": 0.3, "tokens_per_second": 1000.0, "step_seconds": 2.0, "data_wait": 0.015, "mfu": 0.5}
    )
    clock[0] += 1.0
    assert window.close() == {"loss": 0.0, "accuracy": 0.0, "tokens_per_second": 0.0, "step_seconds": 1.0, "data_wait": 0.0,
                              "mfu": 0.0}  # fmt: skip


def test_no_share_of_an_unknown_rate(clock: list[float]) -> None:
    assert "mfu" not in Window(flops_per_token=1e9).close()
    assert "mfu" not in Window(peak_flops=1e12).close()


def test_a_part_of_a_batch() -> None:
    outcome = Outcome(torch.tensor(4.0), torch.tensor(3), torch.tensor(10), 200, share=0.25)
    assert outcome.totals() == [1.0, 3.0, 10.0, 200.0]


def test_a_run_tells_how_long_it_waited(clock: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each batch is waited for 3 s, each step takes 1 s more, and nothing else takes time."""

    def slow(source: toy.Toy, numbers: range) -> Iterator[Any]:
        for number in numbers:
            clock[0] += 3.0
            yield source.batch(number)

    def step(self: toy.Toy) -> None:
        clock[0] += 1.0

    monkeypatch.setattr("bongsu.training.prefetch._by_thread", slow)
    monkeypatch.setattr(toy.Toy, "after_step", step)
    toy.run(tmp_path, 10)
    assert [line["data_wait"] for line in read_log(tmp_path / "metrics.jsonl") if "loss" in line] == [0.75, 0.75]


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA A100-SXM4-40GB", 312e12),
        ("NVIDIA A10G", 70e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA GeForce RTX 4090", 165e12),
        ("NVIDIA RTX A4000", None),
        ("NVIDIA GeForce GTX 1080", None),
    ],
)
def test_published_rates(name: str, rate: float | None) -> None:
    assert published_flops(name) == rate


def test_no_rate_is_known_of_a_cpu() -> None:
    assert peak_flops(torch.device("cpu"), "bfloat16") is None
