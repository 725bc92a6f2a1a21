"""Too little memory is said to be that, with the batch that would fit."""

from __future__ import annotations

import re
import resource
from pathlib import Path
from typing import Any

import pytest
import torch

from bongsu.errors import OutOfMemoryError
from bongsu.model.encoder import EncoderConfig
from bongsu.pretraining import memory
from bongsu.pretraining.memory import pretraining_bytes, suggest_batch_size
from bongsu.recipe import Pretrain, parse_recipe
from bongsu.tokens.packing import BatchShape
from bongsu.training.devices import memory_bytes, memory_errors

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
SHAPE = BatchShape(sentences=512, rows=96, row_length=128, masked=2000)
CONFIG = EncoderConfig.from_recipe(parse_recipe({"corpus": {"sources": [{"path": "x"}]}}).model, 8000)


def numbers(message: str) -> tuple[int, int]:
    batch, accumulate = re.findall(r"(?:batch_sentences|batch_tokens|accumulate)=(\d+)", message)
    return int(batch), int(accumulate)


@pytest.mark.parametrize("room_gb", [1.0, 1.2, 1.6])
def test_the_batch_that_is_named_fits(room_gb: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_bytes", lambda device: room_gb * 1e9)
    settings = Pretrain(batch_sentences=512, accumulate=2, precision="float32")
    assert pretraining_bytes(CONFIG, SHAPE, settings, "cpu") > room_gb * 1e9
    batch, accumulate = numbers(suggest_batch_size(CONFIG, SHAPE, settings, CPU, "pretrain"))
    assert batch * accumulate == 2 * 512
    smaller = BatchShape(batch, 96 * batch // 512, 128, 2000 * batch // 512)
    assert pretraining_bytes(CONFIG, smaller, settings, "cpu") < room_gb * 1e9
    twice = BatchShape(2 * batch, 96 * batch // 256, 128, 2000 * batch // 256)
    assert pretraining_bytes(CONFIG, twice, settings, "cpu") > 0.9 * room_gb * 1e9


def test_in_the_unit_of_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_bytes", lambda device: 1.2e9)
    message = suggest_batch_size(CONFIG, SHAPE, Pretrain(batch_tokens=11000), CPU, "adapt")
    assert "--set adapt.batch_tokens=" in message
    batch, accumulate = numbers(message)
    assert batch * accumulate >= 11000


def test_a_model_that_is_too_large_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_bytes", lambda device: 0.3e9)
    assert "the model itself is too large" in suggest_batch_size(CONFIG, SHAPE, Pretrain(), CPU, "pretrain")


def test_the_memory_of_this_machine() -> None:
    assert 2**28 < memory_bytes(CPU) < 2**50


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_errors_of_memory_are_known(error: Exception) -> None:
    with pytest.raises(OutOfMemoryError, match=r"^Out of memory\. Take less\.$"), memory_errors(lambda: "Take less."):
        raise error


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_errors(lambda: ""):
        raise RuntimeError("shapes do not fit")


def starve(data: Path, folder: Path, said: Path) -> None:
    """Pre-trains with batches far larger than the memory the process may still take."""
    import tiny_pretraining as tiny

    tiny.run(data, folder / "warm", tiny.recipe(steps=1))
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + 400 * 2**20,) * 2)
    try:
        tiny.run(data, folder / "large", tiny.recipe(steps=1, batch_sentences=60000))
    except OutOfMemoryError as error:
        said.write_text(str(error))


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="memory is limited by means of Linux")
def test_a_run_that_runs_out(data: Path, processes: Any, tmp_path: Path) -> None:
    child = processes.Process(target=starve, args=(data, tmp_path, tmp_path / "said"))
    child.start()
    child.join(600)
    assert (tmp_path / "said").read_text().startswith("Out of memory. By estimate a batch of 60000 sentences takes")
