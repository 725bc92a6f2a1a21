"""Steps that would spoil the weights are left out; a run that diverges goes back or stops, and says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import toy

from bongsu.errors import TrainingError
from bongsu.training.checkpoints import load_checkpoint
from bongsu.training.guard import Guard
from bongsu.training.log import read_log

NAN = float("nan")


class Bursting(toy.Toy):
    """Its targets are multiplied by `factor` in some batches."""

    def __init__(self, factor: float, bad: range, stop_at: int | None = None) -> None:
        super().__init__(dropout=0.0)
        self.factor, self.bad, self.stop_at, self.passes = factor, bad, stop_at, 0

    def loss(self, batch: Any) -> Any:
        inputs, wanted, n = batch
        if n == self.stop_at:
            raise InterruptedError
        return super().loss((inputs, wanted * (self.factor if n in self.bad else 1.0)))

    def batch(self, n: int) -> Any:
        return *super().batch(n), n


def same(one: toy.Toy, other: toy.Toy) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True))


STEADY: dict[str, Any] = {"schedule": "constant", "warmup": 0.0}


@pytest.mark.parametrize("factor", [NAN, float("inf"), 50.0])
def test_a_bad_step_leaves_the_weights_alone(tmp_path: Path, factor: float) -> None:
    after, _ = toy.run(tmp_path / "after", 13, Bursting(factor, range(12, 13)), spike=5.0, **STEADY)
    before, _ = toy.run(tmp_path / "before", 12, Bursting(factor, range(0)), spike=5.0, **STEADY)
    assert same(after, before)
    whole, state = toy.run(tmp_path / "whole", 30, Bursting(factor, range(12, 13)), spike=5.0, **STEADY)
    assert (state.finished, state.guard.skipped, state.guard.in_a_row) == (True, 1, 0)
    records = [record for record in read_log(tmp_path / "whole" / "metrics.jsonl") if "loss" in record]
    assert [record["skipped_steps"] for record in records] == [0, 0, 1, 1, 1, 1]
    assert max(record["loss"] for record in records) < 20.0  # what was left out is not in the means
    assert not same(whole, before)


@pytest.mark.parametrize("stop_at", [13, 16, 20])
def test_the_guard_goes_on_as_if_never_stopped(tmp_path: Path, stop_at: int) -> None:
    straight, wanted = toy.run(tmp_path / "straight", 30, Bursting(NAN, range(12, 16)), spike=5.0)
    task = Bursting(NAN, range(12, 16), stop_at)
    with pytest.raises(InterruptedError):
        toy.run(tmp_path / "stopped", 30, task, spike=5.0, checkpoint_minutes=1e-9)
    task, state = toy.run(tmp_path / "stopped", 30, Bursting(NAN, range(12, 16)), spike=5.0)  # type: ignore[assignment]
    assert same(task, straight)
    assert state.guard == wanted.guard


def test_divergence_stops_with_the_last_good_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as caught:
        toy.run(tmp_path, 40, Bursting(NAN, range(12, 40)), max_skipped=4, checkpoint_minutes=1e-9, **STEADY)
    message = str(caught.value)
    assert message.startswith("Step 16: the loss is nan")
    assert "learning rate 0.01" in message
    assert "The last 4 steps" in message
    assert str(tmp_path / "step-00000012") in message
    reference, _ = toy.run(tmp_path / "short", 12, Bursting(NAN, range(0)), **STEADY)
    restored = Bursting(NAN, range(0))
    load_checkpoint(tmp_path / "step-00000012", restored.model)
    assert same(restored, reference)


def test_a_run_bad_from_the_first_step_says_there_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="There is no checkpoint yet"):
        toy.run(tmp_path, 20, Bursting(NAN, range(20)), max_skipped=3, on_divergence="rollback")


def test_rollback_goes_back_with_half_the_learning_rate(tmp_path: Path) -> None:
    """Bad on the first pass only: as a run whose steps from 12 on have half the rate."""

    class Once(Bursting):
        def loss(self, batch: Any) -> Any:
            self.passes += batch[2] == 12
            return super().loss((*batch[:2], batch[2] if self.passes < 2 else -1))

    kept = {"max_skipped": 3, "on_divergence": "rollback", "checkpoint_minutes": 1e-9, **STEADY}
    task, state = toy.run(tmp_path, 20, Once(NAN, range(12, 20)), **kept)
    assert (state.finished, state.step, state.guard.rollbacks, state.guard.skipped) == (True, 20, 1, 3)
    rates = [record["learning_rate"] for record in read_log(tmp_path / "metrics.jsonl") if "loss" in record]
    assert rates == [0.01, 0.01, 0.005, 0.005]
    assert all(bool(parameter.isfinite().all()) for parameter in task.model.parameters())


def test_rollbacks_end(tmp_path: Path) -> None:
    kept = {"max_skipped": 3, "on_divergence": "rollback", "checkpoint_minutes": 1e-9, **STEADY}
    with pytest.raises(TrainingError, match=r"learning rate 0\.00125"):
        toy.run(tmp_path, 40, Bursting(NAN, range(12, 40)), **kept)


def test_the_usual_loss_follows_good_steps_alone() -> None:
    guard = Guard()
    assert guard.accepts(4.0, 1.0, 2.0)
    assert guard.accepts(6.0, 1.0, 2.0)
    assert guard.usual_loss == pytest.approx(4.1)
    assert not guard.accepts(8.3, 1.0, 2.0)
    assert guard.usual_loss == pytest.approx(4.1)
    assert guard.accepts(8.3, 1.0, None)
