"""The training loop, which knows nothing of text.

A `Trainable` provides batch n, its loss and its metrics. The loop owns steps, precision, accumulation, clipping, the schedule,
checkpoints, guards, the log and the progress bar. Batch n is a pure function of n, and the random numbers of step n (dropout)
are seeded by n, so a run that was killed and resumed is bit for bit the run that was not.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from bongsu import progress
from bongsu.errors import TrainingError
from bongsu.recipe import Optimization
from bongsu.training.checkpoints import State, Writer, checkpoints, load_checkpoint, resume_latest
from bongsu.training.devices import (
    Precision,
    autocast,
    keep_freed_memory,
    memory_errors,
    peak_flops,
    resolve_device,
    resolve_precision,
    seed_random_numbers,
)
from bongsu.training.distributed import SINGLE_PROCESS, Processes
from bongsu.training.log import Log, Outcome, Step, Window
from bongsu.training.optimizers import build_optimizer
from bongsu.training.prefetch import Prefetch, resolve_workers
from bongsu.training.schedules import learning_rate_factor
from bongsu.training.stopping import stop_after_step
from bongsu.training.trainable import Trainable


@dataclass
class Plan:
    """How long to train, and what to keep."""

    steps: int
    evaluate_every: int
    monitor: str
    """The metric of `evaluate()` that decides which checkpoint is best."""
    higher_is_better: bool = False
    patience: int | None = None
    """Stop after this many evaluations without an improvement."""
    seed: int = 0
    title: str = "training"
    flops_per_token: float | None = None
    """FLOPs of a token that is not padding, forward and backward, for the utilization (MFU) in the log."""
    suggest_batch_size: Callable[[], str] = lambda: "A smaller batch takes less."
    """The message for running out of memory."""
    stop_after: int | None = None
    """Stop after this many steps although the schedule spans `steps`."""


OnEvaluation = Callable[[int, dict[str, float]], None]
"""Called with the step and the metrics after each evaluation, once the checkpoint of that step is on the disk."""


def train(
    trainable: Trainable,
    plan: Plan,
    settings: Optimization,
    folder: Path,
    on_evaluation: OnEvaluation | None = None,
    processes: Processes = SINGLE_PROCESS,
) -> State:
    """Train until `plan.steps`, resuming from the latest checkpoint in `folder`.

    With `on_evaluation` every evaluation leaves a checkpoint, which the listener may use, or stop training at (a search).
    With several `processes` each computes its share of every batch (`trainable.batch`), and one of them writes.

    Raises:
        TrainingError: after `max_skipped` steps in a row that the guard skipped, when rolling back is not possible (the last
            good checkpoint stays); or when another process is gone.
        OutOfMemoryError: suggesting a batch size.
        KeyboardInterrupt: after Ctrl-C, once a checkpoint is written.
    """
    device = processes.device(resolve_device(settings.device))
    if device.type == "cpu":
        keep_freed_memory()
    precision = resolve_precision(settings.precision, device)
    model = trainable.model.to(device)
    optimizer = build_optimizer(trainable.groups(), settings, device)
    folder.mkdir(parents=True, exist_ok=True)
    state = _restore(folder, model, optimizer, processes)
    log = Log(folder / "metrics.jsonl", active=processes.is_main_process)
    log.resume_from(state.step)
    if state.finished:
        return state

    compute_loss = processes.replicate(trainable)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    end = min(plan.steps, plan.stop_after or plan.steps)
    saved_at = clock = time.perf_counter()
    peak = peak_flops(device, precision)
    window = Window(plan.flops_per_token, peak and peak * processes.count)

    with (
        memory_errors(plan.suggest_batch_size),
        progress.bar(plan.title, end, "steps", done=state.step) as bar,
        Writer(folder, settings.keep, active=processes.is_main_process) as writer,
        Prefetch(
            trainable,
            state.step * settings.accumulate,
            end * settings.accumulate,
            resolve_workers(settings.loader_workers, device),
        ) as batches,
        stop_after_step() as stop,
        _frozen(),
    ):
        while state.step < end and not state.finished:
            factor = learning_rate_factor(settings, state.step, plan.steps) * state.guard.learning_rate_factor
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * factor
            seed_random_numbers(device, plan.seed * 1_000_003 + state.step + processes.rank * 2**40)
            model.train()
            outcomes = []
            for left in reversed(range(settings.accumulate)):
                batch = batches.next()
                with processes.no_sync() if left else nullcontext():
                    with autocast(device, precision):
                        outcome = compute_loss(batch)
                    # Averaged over the processes, this is the mean over the targets of them all.
                    part = outcome.share * processes.count / settings.accumulate
                    (outcome.loss * part).backward()
                outcomes.append(outcome)
            norm = nn.utils.clip_grad_norm_(parameters, settings.clip or float("inf"))
            step = reduce_step(outcomes, float(norm), processes)
            window.wait(batches.take_waited())
            if state.guard.accepts(step.loss, step.gradient_norm, settings.spike):
                optimizer.step()
                trainable.after_step()
                window.add(step)
            elif state.guard.gives_up(settings):
                writer.wait()
                reason = _divergence(step, state, settings.learning_rate * factor, folder)
                if not (state.guard.may_roll_back(settings) and checkpoints(folder)):
                    raise TrainingError(reason)
                diverged, state = state, _restore(folder, model, optimizer, processes)
                state.guard.rolled_back(diverged.guard)
                optimizer.zero_grad(set_to_none=True)
                log.resume_from(state.step)
                window.restart()
                batches.restart(state.step * settings.accumulate)
                bar.advance(state.step - diverged.step)
                progress.warn(f"{reason} Resuming from there at {state.guard.learning_rate_factor:g} of the learning rate.")
                continue
            optimizer.zero_grad(set_to_none=True)
            state.step += 1

            last = state.step == end
            if state.step % settings.log_every == 0 or last:
                record = {"step": state.step, **window.close(), "learning_rate": settings.learning_rate * factor,
                          "gradient_norm": step.gradient_norm, "skipped_steps": state.guard.skipped}  # fmt: skip
                log.write(record)
                bar.advance(0, format_progress(record))
            bar.advance(1)
            best_before = state.best_step
            evaluated = state.step % plan.evaluate_every == 0 or last
            if evaluated:
                with window.paused():
                    _evaluate(trainable, plan, state, device, precision, log, processes)
            state.finished = last or (plan.patience is not None and state.since_best >= plan.patience)
            writer.check()
            stopping, due = processes.any(stop.is_set(), time.perf_counter() - saved_at > 60 * settings.checkpoint_minutes)
            # Not among skipped steps: a checkpoint must be worth rolling back to.
            due = due and not state.guard.in_a_row
            reports = on_evaluation is not None and evaluated
            if due or state.finished or stopping or reports or state.best_step != best_before:
                now = time.perf_counter()
                state.seconds, clock, saved_at = state.seconds + now - clock, now, now
                writer.save(state, model, optimizer)
            if on_evaluation is not None and evaluated:
                writer.wait()
                on_evaluation(state.step, state.last)
            if stopping and not state.finished:
                writer.wait()
                raise KeyboardInterrupt
    return state


@contextmanager
def _frozen() -> Iterator[None]:
    """Exempt existing objects, which live as long as training, from garbage collection."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def load_best(folder: Path, model: nn.Module, state: State) -> None:
    """Load the weights of the best evaluation into `model`."""
    if state.best_step is not None:
        load_checkpoint(folder / f"step-{state.best_step:08d}", model)


def _restore(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, processes: Processes) -> State:
    """Load the latest checkpoint and return its state. The main process chooses the checkpoint; all read it."""
    state = processes.broadcast(lambda: resume_latest(folder, model, optimizer))
    if state is None:
        return State()
    if not processes.is_main_process:
        load_checkpoint(folder / f"step-{state.step:08d}", model, optimizer)
    best = folder / f"step-{state.best_step or 0:08d}"
    if state.best_step is not None and not best.is_dir():
        # The best was damaged and put aside: forget it, so that another takes its place.
        state.best, state.best_step, state.since_best, state.finished = None, None, 0, False
    return state


def reduce_step(outcomes: Sequence[Outcome], norm: float, processes: Processes) -> Step:
    """Return a step's totals over all batches and processes, identical to the last bit in each process."""
    sums = [sum(values) for values in zip(*(outcome.totals() for outcome in outcomes), strict=True)]
    loss, correct, count, tokens, norms = processes.total([*sums, norm])
    return Step(loss / len(outcomes), correct, count, tokens, norms / processes.count)


def _evaluate(
    trainable: Trainable, plan: Plan, state: State, device: torch.device, precision: Precision, log: Log, processes: Processes
) -> None:
    def measure() -> dict[str, float]:
        trainable.model.eval()
        with torch.inference_mode(), autocast(device, precision):
            return trainable.evaluate()

    metrics = processes.broadcast(measure)
    log.write({"step": state.step, **{f"validation_{name}": value for name, value in metrics.items()}})
    state.last = metrics
    value = metrics[plan.monitor]
    sign = 1 if plan.higher_is_better else -1
    if math.isfinite(value) and (state.best is None or sign * value > sign * state.best):
        state.best, state.best_step, state.since_best = value, state.step, 0
    else:
        state.since_best += 1


def format_progress(record: dict[str, float]) -> str:
    """Return a line of the log as text for the progress bar."""
    text = f"loss {record['loss']:.3f} · {progress.short(record['tokens_per_second'])} tokens/s"
    if "mfu" in record:
        text += f" · {record['mfu']:.0%} MFU"
    return text + (f" · {record['data_wait']:.0%} waiting for data" if record["data_wait"] > 0.02 else "")


def _divergence(step: Step, state: State, rate: float, folder: Path) -> str:
    good = checkpoints(folder)
    kept = f"The last good checkpoint is {good[0]}." if good else "There is no checkpoint yet."
    usual = "" if state.guard.usual_loss is None else f" (it was {state.guard.usual_loss:.3g})"
    return (
        f"Step {state.step + 1}: the loss is {step.loss:.4g}{usual} and the gradient's norm {step.gradient_norm:.4g} "
        f"at learning rate {rate:.3g}. The last {state.guard.in_a_row} steps were skipped and left the weights as "
        f"they were. {kept} Try a lower learning_rate or a longer warmup."
    )
