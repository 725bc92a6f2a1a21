"""The loop that trains everything. It knows nothing of text.

A task says what batch n is, what its loss is, and how to measure itself. The loop owns steps, precision, accumulation,
clipping, the schedule, checkpoints, guards, the log and the progress bar. Since batch n is a pure function of n, and the
random numbers of step n (dropout) are seeded by n, a run that was killed and goes on is bit for bit the run that was not.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from bongsu import progress
from bongsu.errors import TrainingError
from bongsu.recipe import Optimization
from bongsu.training.checkpoints import checkpoints, load_checkpoint, prune, resume_latest, save_checkpoint
from bongsu.training.devices import autocast, keep_freed_memory, resolve_device, resolve_precision, seed_random_numbers
from bongsu.training.guard import Guard
from bongsu.training.log import Log, Outcome, Window
from bongsu.training.optimizers import build_optimizer
from bongsu.training.schedules import learning_rate_factor


class Task(Protocol):
    """What is learned."""

    @property
    def model(self) -> nn.Module:
        """What is trained."""

    def batch(self, n: int) -> Any:
        """Batch `n`, a pure function of `n`; made in a background thread."""

    def loss(self, batch: Any) -> Outcome:
        """The loss of a batch, called under autocast."""

    def evaluate(self) -> dict[str, float]:
        """Figures on held-out data, called in evaluation mode, without gradients, under autocast."""

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups, each with its `peak` learning rate."""

    def after_step(self) -> None:
        """Called after each optimizer step, such as to bound norms."""


@dataclass
class Plan:
    """How long to train, and what to keep."""

    steps: int
    evaluate_every: int
    monitor: str
    """The figure of `evaluate()` that says which checkpoint is best."""
    higher_is_better: bool = False
    patience: int | None = None
    """Stop after this many evaluations without a better figure."""
    seed: int = 0
    title: str = "training"
    stop_after: int | None = None
    """End after this many steps although the schedule is made for `steps`."""


@dataclass
class State:
    """What a checkpoint remembers beside the weights."""

    step: int = 0
    best: float | None = None
    best_step: int | None = None
    since_best: int = 0
    finished: bool = False
    seconds: float = 0.0
    last: dict[str, float] = field(default_factory=dict)
    guard: Guard = field(default_factory=Guard)


OnEvaluation = Callable[[int, dict[str, float]], None]
"""Told the step and the figures after each evaluation, when the checkpoint of that step is on the disk."""


def train(task: Task, plan: Plan, settings: Optimization, folder: Path, on_evaluation: OnEvaluation | None = None) -> State:
    """Trains until `plan.steps`, going on from the latest checkpoint in `folder`.

    With `on_evaluation` every evaluation leaves a checkpoint, for whoever listens to take or to end training at (a search).

    Raises:
        TrainingError: after `max_skipped` steps in a row that the guard left out, when there is no going back; the last good
            checkpoint stays.
        KeyboardInterrupt: after Ctrl-C, once a checkpoint is written.
    """
    device = resolve_device(settings.device)
    if device.type == "cpu":
        keep_freed_memory()
    precision = resolve_precision(settings.precision, device)
    model = task.model.to(device)
    optimizer = build_optimizer(task.groups(), settings, device)
    folder.mkdir(parents=True, exist_ok=True)
    state = _restore(folder, model, optimizer)
    log = Log(folder / "metrics.jsonl", state.step)
    if state.finished:
        return state

    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    end = min(plan.steps, plan.stop_after or plan.steps)
    saved_at = clock = time.perf_counter()
    window = Window()

    def checkpoint() -> None:
        nonlocal saved_at, clock
        now = time.perf_counter()
        state.seconds, clock = state.seconds + now - clock, now
        save_checkpoint(folder, state.step, model, optimizer, {"state": asdict(state)})
        prune(folder, settings.keep, state.best_step)
        saved_at = time.perf_counter()

    with (
        progress.bar(plan.title, end, "steps", done=state.step) as bar,
        Prefetch(task, state.step * settings.accumulate, end * settings.accumulate) as batches,
        stop_after_step() as stop,
    ):
        while state.step < end and not state.finished:
            factor = learning_rate_factor(settings, state.step, plan.steps) * state.guard.learning_rate_factor
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * factor
            seed_random_numbers(device, plan.seed * 1_000_003 + state.step)
            model.train()
            outcomes = []
            for _ in range(settings.accumulate):
                with autocast(device, precision):
                    outcome = task.loss(batches.next())
                (outcome.loss / settings.accumulate).backward()  # type: ignore[no-untyped-call]
                outcomes.append(outcome)
            norm = nn.utils.clip_grad_norm_(parameters, settings.clip or float("inf"))
            loss = sum(float(outcome.loss.detach()) for outcome in outcomes) / settings.accumulate
            if state.guard.accepts(loss, float(norm), settings.spike):
                optimizer.step()
                task.after_step()
                for outcome in outcomes:
                    window.add(outcome)
            elif state.guard.gives_up(settings):
                reason = _divergence(loss, float(norm), state, settings.learning_rate * factor, folder)
                if not (state.guard.may_roll_back(settings) and checkpoints(folder)):
                    raise TrainingError(reason)
                diverged, state = state, _restore(folder, model, optimizer)
                state.guard.rolled_back(diverged.guard)
                optimizer.zero_grad(set_to_none=True)
                log = Log(folder / "metrics.jsonl", state.step)
                window.restart()
                batches.restart(state.step * settings.accumulate)
                bar.advance(state.step - diverged.step)
                progress.warn(f"{reason} Going on from there at {state.guard.learning_rate_factor:g} of the learning rate.")
                continue
            optimizer.zero_grad(set_to_none=True)
            state.step += 1

            last = state.step == end
            if state.step % settings.log_every == 0 or last:
                record = {"step": state.step, **window.close(), "learning_rate": settings.learning_rate * factor,
                          "gradient_norm": float(norm), "skipped_steps": state.guard.skipped}  # fmt: skip
                log.write(record)
                bar.advance(0, f"loss {record['loss']:.3f} · {progress.short(record['tokens_per_second'])} tokens/s")
            bar.advance(1)
            best_before = state.best_step
            evaluated = state.step % plan.evaluate_every == 0 or last
            if evaluated:
                _evaluate(task, plan, state, device, precision, log)
                window.restart_clock()
            state.finished = last or (plan.patience is not None and state.since_best >= plan.patience)
            # Not among skipped steps: a checkpoint is something to go back to.
            due = not state.guard.in_a_row and time.perf_counter() - saved_at > 60 * settings.checkpoint_minutes
            told = on_evaluation is not None and evaluated
            if due or state.finished or stop.is_set() or told or state.best_step != best_before:
                checkpoint()
            if on_evaluation is not None and evaluated:
                on_evaluation(state.step, state.last)
            if stop.is_set() and not state.finished:
                raise KeyboardInterrupt
    return state


def load_best(folder: Path, model: nn.Module, state: State) -> None:
    """Puts the weights of the best evaluation into `model`."""
    if state.best_step is not None:
        load_checkpoint(folder / f"step-{state.best_step:08d}", model)


def _restore(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> State:
    saved = resume_latest(folder, model, optimizer)
    if saved is None:
        return State()
    state = State(**saved["state"])
    state.guard = Guard(**saved["state"].get("guard", {}))
    best = folder / f"step-{state.best_step or 0:08d}"
    if state.best_step is not None and not best.is_dir():
        # The best was damaged and put aside: forget it, so that another takes its place.
        state.best, state.best_step, state.since_best, state.finished = None, None, 0, False
    return state


def _evaluate(task: Task, plan: Plan, state: State, device: torch.device, precision: Any, log: Log) -> None:
    task.model.eval()
    with torch.inference_mode(), autocast(device, precision):
        figures = task.evaluate()
    log.write({"step": state.step, **{f"validation_{name}": value for name, value in figures.items()}})
    state.last = figures
    value = figures[plan.monitor]
    sign = 1 if plan.higher_is_better else -1
    if math.isfinite(value) and (state.best is None or sign * value > sign * state.best):
        state.best, state.best_step, state.since_best = value, state.step, 0
    else:
        state.since_best += 1


def _divergence(loss: float, norm: float, state: State, rate: float, folder: Path) -> str:
    good = checkpoints(folder)
    kept = f"The last good checkpoint is {good[0]}." if good else "There is no checkpoint yet."
    usual = "" if state.guard.usual_loss is None else f" (it was {state.guard.usual_loss:.3g})"
    return (
        f"Step {state.step + 1}: the loss is {loss:.4g}{usual} and the gradient's norm {norm:.4g} at learning rate {rate:.3g}. "
        f"The last {state.guard.in_a_row} steps were left out, so the weights are untouched by them. {kept} "
        "Try a lower learning_rate or a longer warmup."
    )


class Prefetch:
    """Makes the next batch in a background thread while the device works on this one."""

    def __init__(self, task: Task, start: int, end: int) -> None:
        self._task, self._next, self._end = task, start, end
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._future: Future[Any] | None = None

    def __enter__(self) -> Prefetch:
        self._submit()
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def next(self) -> Any:
        """The next batch, in order."""
        if self._future is None:
            raise IndexError("no batch is left")
        batch = self._future.result()
        self._submit()
        return batch

    def restart(self, start: int) -> None:
        """Goes on with batch `start`."""
        self._next = start
        self._submit()

    def _submit(self) -> None:
        self._future = self._pool.submit(self._task.batch, self._next) if self._next < self._end else None
        self._next += 1


@contextmanager
def stop_after_step() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM ask for an end after the current step; a second Ctrl-C ends at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        progress.note("Stopping after this step; a checkpoint is being written. The same command goes on from it.")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
