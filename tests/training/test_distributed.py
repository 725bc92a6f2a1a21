"""Several processes take the steps that one would: the same batches, the same losses, the same weights to rounding."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import tiny_pretraining as tiny
import torch

from bongsu.pretraining.masked_lm import MaskedLanguageModelling
from bongsu.training.checkpoints import checkpoints
from bongsu.training.distributed import SINGLE_PROCESS, number_of_processes
from bongsu.training.log import read_log

pytestmark = pytest.mark.slow


def lines(folder: Path) -> list[dict[str, float]]:
    return read_log(folder / "checkpoints" / "metrics.jsonl")


def same_to_rounding(folder: Path, other: Path) -> None:
    """The same log and the same weights, but for the order in which sums are taken."""
    for one, two in zip(lines(folder), lines(other), strict=True):
        clocks = {"tokens_per_second", "step_seconds", "data_wait"}
        assert {key: one[key] for key in one.keys() - clocks} == pytest.approx(
            {key: two[key] for key in two.keys() - clocks}, rel=2e-5
        )
    for a, b in zip(tiny.weights(folder), tiny.weights(other), strict=True):
        assert torch.allclose(a, b, atol=2e-5, rtol=1e-4)


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained in one process, every checkpoint kept."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    tiny.run(data, folder, tiny.recipe())
    return folder


def test_weights_and_losses_are_those_of_one_process(data: Path, alone: Path, processes: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert tiny.together(processes, 2, data, folder, tiny.recipe()) == [0, 0]
    same_to_rounding(folder, alone)
    assert lines(folder)[-1]["validation_loss"] < 0.99 * lines(folder)[0]["loss"]  # so that it was learning that was compared


def test_rows_that_do_not_divide_evenly_and_accumulated_batches(data: Path, processes: Any, tmp_path: Path) -> None:
    settings = tiny.recipe(accumulate=2, steps=4)
    tiny.run(data, tmp_path / "alone", settings)
    assert tiny.together(processes, 3, data, tmp_path / "run", settings) == [0] * 3
    same_to_rounding(tmp_path / "run", tmp_path / "alone")


@pytest.mark.parametrize("first", [1, 2])
def test_another_number_of_processes_goes_on_with_the_same_batches(
    first: int, data: Path, alone: Path, processes: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    if first == 1:
        shutil.copytree(alone, folder)
    else:
        assert tiny.together(processes, 2, data, folder, tiny.recipe()) == [0, 0]
    for checkpoint in checkpoints(folder / "checkpoints"):
        if int(checkpoint.name[5:]) > 5:
            shutil.rmtree(checkpoint)
    if first == 1:
        assert tiny.together(processes, 2, data, folder, tiny.recipe()) == [0, 0]
    else:
        tiny.run(data, folder, tiny.recipe())
    same_to_rounding(folder, alone)


def spoil_a_batch(rank: int) -> None:
    """The second process finds no number in batch 5."""
    loss = MaskedLanguageModelling.loss

    def spoiled(self: Any, batch: Any) -> Any:
        outcome = loss(self, batch)
        if rank == 1 and batch is not None and next(calls) == 5:
            outcome.loss = outcome.loss * float("nan")
        return outcome

    calls = iter(range(10**6))
    MaskedLanguageModelling.loss = spoiled  # type: ignore[method-assign]


def test_a_step_bad_in_one_process_is_left_out_by_all(data: Path, processes: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert tiny.together(processes, 2, data, folder, tiny.recipe(), spoil_a_batch) == [0, 0]
    assert [line["skipped_steps"] for line in lines(folder) if "loss" in line] == [0] * 5 + [1] * 7
    assert all(bool(parameter.isfinite().all()) for parameter in tiny.weights(folder))


def signal_the_second(rank: int) -> None:
    after_step = MaskedLanguageModelling.after_step
    steps = iter(range(1, 10**6))

    def signalling(self: Any) -> None:
        after_step(self)
        if next(steps) == 7 and rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    MaskedLanguageModelling.after_step = signalling  # type: ignore[method-assign]


def test_asked_to_stop_one_process_stops_all_with_a_checkpoint(data: Path, alone: Path, processes: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    tiny.together(processes, 2, data, folder, tiny.recipe(checkpoint_minutes=60.0), signal_the_second)
    assert tiny.said(folder, 2) == ["KeyboardInterrupt: "] * 2
    assert checkpoints(folder / "checkpoints")[0].name == "step-00000007"
    assert tiny.together(processes, 2, data, folder, tiny.recipe(checkpoint_minutes=60.0)) == [0, 0]
    same_to_rounding(folder, alone)


def kill_the_second(rank: int) -> None:
    after_step = MaskedLanguageModelling.after_step
    steps = iter(range(1, 10**6))

    def deadly(self: Any) -> None:
        after_step(self)
        if next(steps) == 4 and rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    MaskedLanguageModelling.after_step = deadly  # type: ignore[method-assign]


def test_a_process_that_is_gone_ends_the_run_with_a_plain_message(
    data: Path, alone: Path, processes: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    assert tiny.together(processes, 2, data, folder, tiny.recipe(), kill_the_second) == [1, -signal.SIGKILL]
    assert folder.with_name("run.said-0").read_text().startswith("TrainingError: Another process of this run is gone")
    assert int(checkpoints(folder / "checkpoints")[0].name[5:]) in (3, 4)
    tiny.run(data, folder, tiny.recipe())
    same_to_rounding(folder, alone)


def test_one_process_changes_nothing() -> None:
    assert number_of_processes() == 1
    assert SINGLE_PROCESS.total([0.1, 2.0]) == [0.1, 2.0]
    assert SINGLE_PROCESS.any(True, False) == [True, False]
    assert SINGLE_PROCESS.broadcast(lambda: 5) == 5
