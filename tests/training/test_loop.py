"""The loop: stopped anywhere and gone on, it ends where it would have ended."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from torch import nn

from bongsu.training.checkpoints import checkpoints
from bongsu.training.log import read_log
from bongsu.training.loop import load_best, train

STEPS = 47


class Stop(Exception):
    pass


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def names(folder: Path) -> list[int]:
    """The steps of the checkpoints, in order."""
    return [int(path.name[5:]) for path in reversed(checkpoints(folder))]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> toy.Toy:
    """Trained without a stop."""
    return toy.run(tmp_path_factory.mktemp("straight"), STEPS)[0]


def once_each(folder: Path) -> None:
    """The log tells each step once, in order, of training and of validation."""
    records = read_log(folder / "metrics.jsonl")
    trained = [record["step"] for record in records if "loss" in record]
    measured = [record["step"] for record in records if "validation_loss" in record]
    assert trained == [5, 10, 15, 20, 25, 30, 35, 40, 45, 47]
    assert measured == [10, 20, 30, 40, 47]


def test_training_learns_and_repeats_itself(tmp_path: Path, straight: toy.Toy) -> None:
    task, state = toy.run(tmp_path, STEPS)
    assert same(task.model, straight.model)
    assert state.finished
    assert state.step == STEPS
    assert state.last["loss"] < 0.8 * read_log(tmp_path / "metrics.jsonl")[0]["loss"]
    once_each(tmp_path)


def test_two_optimizers_together_go_on_too(tmp_path: Path) -> None:
    def fail(n: int) -> None:
        if n == 7:
            raise Stop

    straight, _ = toy.run(tmp_path / "straight", 12, optimizer="muon")
    with pytest.raises(Stop):
        toy.run(tmp_path / "stopped", 12, toy.Toy(on_batch=fail), optimizer="muon", checkpoint_minutes=1e-9)
    again, _ = toy.run(tmp_path / "stopped", 12, optimizer="muon")
    assert same(again.model, straight.model)
    assert not same(again.model, toy.run(tmp_path / "other", 12)[0].model)


@pytest.mark.parametrize("minutes", [1e-9, 60.0])
def test_errors_in_batches_do_not_change_the_outcome(tmp_path: Path, straight: toy.Toy, minutes: float) -> None:
    """Stopped by an error at five batches, and gone on each time: from the step before, or from the last evaluation."""

    def fail_at(number: int) -> Any:
        def check(n: int) -> None:
            if n == number:
                raise Stop

        return check

    for number in (1, 2, 13, 31, 46):
        with pytest.raises(Stop):
            toy.run(tmp_path, STEPS, toy.Toy(on_batch=fail_at(number)), checkpoint_minutes=minutes)
        torch.manual_seed(number)  # whatever the next process starts with
    task, _ = toy.run(tmp_path, STEPS, checkpoint_minutes=minutes)
    assert same(task.model, straight.model)
    once_each(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_step_and_saves_it(tmp_path: Path, straight: toy.Toy, number: signal.Signals) -> None:
    class Interrupted(toy.Toy):
        steps = 0

        def after_step(self) -> None:
            self.steps += 1
            if self.steps == 7:
                os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    for step in (7, 14, 21):
        with pytest.raises(KeyboardInterrupt):
            toy.run(tmp_path, STEPS, Interrupted(), checkpoint_minutes=60)
        assert names(tmp_path)[-1] == step
        assert signal.getsignal(number) == before
    task, state = toy.run(tmp_path, STEPS, checkpoint_minutes=60)
    assert state.step == STEPS
    assert same(task.model, straight.model)
    once_each(tmp_path)


def test_a_finished_run_is_not_trained_again(tmp_path: Path, straight: toy.Toy) -> None:
    toy.run(tmp_path, STEPS)

    def never(n: int) -> None:
        raise AssertionError("a batch was made")

    task, state = toy.run(tmp_path, STEPS, toy.Toy(on_batch=never))
    assert state.finished
    assert same(task.model, straight.model)


def test_two_half_batches_are_one_batch(tmp_path: Path) -> None:
    whole = toy.Toy(dropout=0.0, size=16)

    class Halves(toy.Toy):
        def batch(self, n: int) -> Any:
            inputs, wanted = super().batch(n // 2)
            half = slice(0, 8) if n % 2 == 0 else slice(8, 16)
            return inputs[half], wanted[half]

    halves = Halves(dropout=0.0, size=16)
    toy.run(tmp_path / "whole", 20, whole)
    toy.run(tmp_path / "halves", 20, halves, accumulate=2)
    for a, b in zip(whole.model.parameters(), halves.model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    # Adam hardly feels the gradient's scale, so that is looked at too.
    norms = [
        [record["gradient_norm"] for record in read_log(tmp_path / name / "metrics.jsonl") if "loss" in record]
        for name in ("whole", "halves")
    ]
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)


def test_accumulation_goes_on_too(tmp_path: Path) -> None:
    straight, _ = toy.run(tmp_path / "straight", 12, accumulate=3)

    def fail(n: int) -> None:
        if n == 19:
            raise Stop

    with pytest.raises(Stop):
        toy.run(tmp_path / "stopped", 12, toy.Toy(on_batch=fail), accumulate=3)
    task, _ = toy.run(tmp_path / "stopped", 12, accumulate=3)
    assert same(task.model, straight.model)


def test_against_a_loop_written_out(tmp_path: Path) -> None:
    """Steps, schedule and clipping by hand with torch's parts."""
    task, reference = toy.Toy(dropout=0.0), toy.Toy(dropout=0.0)
    toy.run(tmp_path, 20, task, schedule="linear", warmup=0.2, clip=0.5)
    groups = [
        {"params": [p for p in reference.model.parameters() if p.ndim == 2], "weight_decay": 0.1},
        {"params": [p for p in reference.model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.98), eps=1e-6)
    for step in range(20):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * ((step + 1) / 4 if step < 4 else 1 - (step - 4) / 16)
        inputs, wanted = reference.batch(step)
        optimizer.zero_grad()
        (reference.model(inputs) - wanted).square().mean().backward()
        gradient = torch.cat([p.grad.flatten() for p in reference.model.parameters() if p.grad is not None])
        for parameter in reference.model.parameters():
            assert parameter.grad is not None
            parameter.grad *= min(1.0, 0.5 / float(gradient.norm()))
        optimizer.step()
    for a, b in zip(task.model.parameters(), reference.model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_early_stopping_keeps_the_best(tmp_path: Path) -> None:
    task = toy.Toy()
    task.values = [0.9, 0.5, 0.7, 0.6, 0.8, 0.1]
    state = train(task, toy.plan(100, patience=3), toy.settings(checkpoint_minutes=60), tmp_path)
    assert (state.step, state.best_step, state.best, state.finished) == (50, 20, 0.5, True)
    assert 20 in names(tmp_path)
    best = toy.Toy()
    load_best(tmp_path, best.model, state)
    reference = toy.Toy()
    train(reference, toy.plan(100, stop_after=20), toy.settings(), tmp_path / "reference")
    assert same(best.model, reference.model)
    assert not same(best.model, task.model)


def test_patience_is_remembered_over_a_stop(tmp_path: Path) -> None:
    def fail(n: int) -> None:
        if n == 45:
            raise Stop

    task = toy.Toy(on_batch=fail)
    task.values = [0.9, 0.5, 0.7, 0.6]
    with pytest.raises(Stop):
        train(task, toy.plan(100, patience=3), toy.settings(checkpoint_minutes=1e-9), tmp_path)
    task = toy.Toy()
    task.values = [0.8, 0.1]
    state = train(task, toy.plan(100, patience=3), toy.settings(), tmp_path)
    assert (state.step, state.best_step) == (50, 20)


def test_higher_may_be_better_and_no_number_is_never_best(tmp_path: Path) -> None:
    task = toy.Toy()
    task.values = [float("nan"), 0.5, 0.7, float("nan"), 0.6]
    state = train(task, toy.plan(50, higher_is_better=True), toy.settings(), tmp_path)
    assert (state.best_step, state.best) == (30, 0.7)


def test_keep_prunes_but_not_the_best(tmp_path: Path) -> None:
    task = toy.Toy()
    task.values = [0.5, 0.6, 0.7, 0.8, 0.9]
    train(task, toy.plan(STEPS), toy.settings(keep=2, checkpoint_minutes=1e-9), tmp_path)
    assert names(tmp_path) == [10, 46, 47]


@pytest.mark.parametrize(("minutes", "expected"), [(1e-9, list(range(1, 10))), (60.0, [9])])
def test_checkpoints_are_as_frequent_as_asked(tmp_path: Path, minutes: float, expected: list[int]) -> None:
    toy.run(tmp_path, 9, keep=100, checkpoint_minutes=minutes)
    assert names(tmp_path) == expected


def test_a_damaged_best_checkpoint_makes_way_for_another(tmp_path: Path) -> None:
    def fail(n: int) -> None:
        if n == 25:
            raise Stop

    task = toy.Toy(on_batch=fail)
    task.values = [0.9, 0.1]
    with pytest.raises(Stop):
        train(task, toy.plan(30), toy.settings(checkpoint_minutes=60), tmp_path)
    assert names(tmp_path) == [10, 20]
    (tmp_path / "step-00000020" / "model.safetensors").write_bytes(b"")
    task = toy.Toy()
    task.values = [0.7, 0.8]
    state = train(task, toy.plan(30), toy.settings(), tmp_path)
    assert (state.best_step, state.step) == (20, 30)  # step 20 was made again, and measured again
    assert [record["step"] for record in read_log(tmp_path / "metrics.jsonl") if "validation_loss" in record] == [10, 20, 30]


def test_a_log_cut_short_by_a_kill_is_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step":5,"loss":1.0}\n{"step":10,"lo')
    assert read_log(path) == [{"step": 5, "loss": 1.0}]
    assert read_log(tmp_path / "none.jsonl") == []


def test_who_listens_is_told_each_evaluation_once_its_checkpoint_is_there(tmp_path: Path) -> None:
    told: list[tuple[int, float]] = []

    def listen(step: int, metrics: dict[str, float]) -> None:
        assert (tmp_path / f"step-{step:08d}" / "state.json").is_file()
        told.append((step, metrics["loss"]))
        if step == 20:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(toy.Toy(), toy.plan(25), toy.settings(), tmp_path, listen)
    train(toy.Toy(), toy.plan(25), toy.settings(), tmp_path, lambda step, metrics: told.append((step, metrics["loss"])))
    toy.run(tmp_path / "whole", 25)
    log = read_log(tmp_path / "whole" / "metrics.jsonl")
    assert told == [(record["step"], record["validation_loss"]) for record in log if "validation_loss" in record]
