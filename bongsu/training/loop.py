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
    run = _Run(trainable, plan, settings, folder, processes)
    if run.state.finished:
        return run.state
    with memory_errors(plan.suggest_batch_size), run.opened(), stop_after_step() as stop, _frozen():
        while run.state.step < run.end and not run.state.finished:
            step = run.compute_gradients()
            if run.state.guard.accepts(step.loss, step.gradient_norm, settings.spike):
                run.update_weights(step)
            elif run.state.guard.gives_up(settings):
                run.roll_back(step)
                continue
            run.count(step)
            evaluated = run.evaluation_is_due
            improved = evaluated and run.evaluate()
            run.state.finished = run.is_over
            run.writer.check()
            stopping, due = processes.any(stop.is_set(), run.checkpoint_is_due)
            reports = on_evaluation is not None and evaluated
            if due or run.state.finished or stopping or reports or improved:
                run.save()
            if on_evaluation is not None and evaluated:
                run.writer.wait()
                on_evaluation(run.state.step, run.state.last)
            if stopping and not run.state.finished:
                run.writer.wait()
                raise KeyboardInterrupt
    return run.state


class _Run:
    """A training in progress: what its steps share."""

    def __init__(self, trainable: Trainable, plan: Plan, settings: Optimization, folder: Path, processes: Processes) -> None:
        self.trainable, self.plan, self.settings, self.folder, self.processes = trainable, plan, settings, folder, processes
        self.device = processes.device(resolve_device(settings.device))
        if self.device.type == "cpu":
            keep_freed_memory()
        self.precision = resolve_precision(settings.precision, self.device)
        self.model = trainable.model.to(self.device)
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = build_optimizer(trainable.groups(), settings, self.device)
        folder.mkdir(parents=True, exist_ok=True)
        self.state = _restore(folder, self.model, self.optimizer, processes)
        self.log = Log(folder / "metrics.jsonl", active=processes.is_main_process)
        self.log.resume_from(self.state.step)
        self.end = min(plan.steps, plan.stop_after or plan.steps)
        peak = peak_flops(self.device, self.precision)
        self.window = Window(plan.flops_per_token, peak and peak * processes.count)
        self.writer = Writer(folder, settings.keep, active=processes.is_main_process)
        self.learning_rate = 0.0
        """Of the step at hand."""

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Keep the progress bar, the writer of checkpoints and the prefetching of batches open."""
        settings, step = self.settings, self.state.step
        workers = resolve_workers(settings.loader_workers, self.device)
        self.compute_loss = self.processes.replicate(self.trainable)
        self.saved_at = time.perf_counter()
        with (
            progress.bar(self.plan.title, self.end, "steps", done=step) as self.bar,
            self.writer,
            Prefetch(self.trainable, step * settings.accumulate, self.end * settings.accumulate, workers) as self.batches,
        ):
            yield

    def compute_gradients(self) -> Step:
        """Accumulate and clip the gradients of the next step; return its totals over all processes."""
        settings, state, processes = self.settings, self.state, self.processes
        factor = learning_rate_factor(settings, state.step, self.plan.steps) * state.guard.learning_rate_factor
        self.learning_rate = settings.learning_rate * factor
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        seed_random_numbers(self.device, self.plan.seed * 1_000_003 + state.step + processes.rank * 2**40)
        self.model.train()
        outcomes = []
        for left in reversed(range(settings.accumulate)):
            batch = self.batches.next()
            with processes.no_sync() if left else nullcontext():
                with autocast(self.device, self.precision):
                    outcome = self.compute_loss(batch)
                # Averaged over the processes, this is the mean over the targets of them all.
                part = outcome.share * processes.count / settings.accumulate
                (outcome.loss * part).backward()
            outcomes.append(outcome)
        norm = nn.utils.clip_grad_norm_(self.parameters, settings.clip or math.inf)
        self.window.wait(self.batches.take_waited())
        return reduce_step(outcomes, float(norm), processes)

    def update_weights(self, step: Step) -> None:
        """Apply the gradients."""
        self.optimizer.step()
        self.trainable.after_step()
        self.window.add(step)

    def roll_back(self, step: Step) -> None:
        """Return to the last checkpoint, at a lower learning rate.

        Raises:
            TrainingError: when there is none, or this may not be done (again).
        """
        self.writer.wait()
        reason = _divergence(step, self.state, self.learning_rate, self.folder)
        if not (self.state.guard.may_roll_back(self.settings) and checkpoints(self.folder)):
            raise TrainingError(reason)
        diverged, self.state = self.state, _restore(self.folder, self.model, self.optimizer, self.processes)
        self.state.guard.rolled_back(diverged.guard)
        self.optimizer.zero_grad(set_to_none=True)
        self.log.resume_from(self.state.step)
        self.window.restart()
        self.batches.restart(self.state.step * self.settings.accumulate)
        self.bar.advance(self.state.step - diverged.step)
        progress.warn(f"{reason} Resuming from there at {self.state.guard.learning_rate_factor:g} of the learning rate.")

    def count(self, step: Step) -> None:
        """Count a step, also a skipped one, and log it when a line is due."""
        self.optimizer.zero_grad(set_to_none=True)
        self.state.step += 1
        if self.state.step % self.settings.log_every == 0 or self.state.step == self.end:
            record = {
                "step": self.state.step,
                **self.window.close(),
                "learning_rate": self.learning_rate,
                "gradient_norm": step.gradient_norm,
                "skipped_steps": self.state.guard.skipped,
            }
            self.log.write(record)
            self.bar.advance(0, format_progress(record))
        self.bar.advance(1)

    @property
    def evaluation_is_due(self) -> bool:
        """Whether the model is evaluated after this step."""
        return self.state.step % self.plan.evaluate_every == 0 or self.state.step == self.end

    def evaluate(self) -> bool:
        """Evaluate the model; return whether it is the best so far."""
        state, plan = self.state, self.plan
        with self.window.paused():
            metrics = self.processes.broadcast(self._measure)
            self.log.write({"step": state.step, **{f"validation_{name}": value for name, value in metrics.items()}})
        state.last = metrics
        value = metrics[plan.monitor]
        sign = 1 if plan.higher_is_better else -1
        improved = math.isfinite(value) and (state.best is None or sign * value > sign * state.best)
        if improved:
            state.best, state.best_step, state.since_best = value, state.step, 0
        else:
            state.since_best += 1
        return improved

    def _measure(self) -> dict[str, float]:
        self.trainable.model.eval()
        with torch.inference_mode(), autocast(self.device, self.precision):
            return self.trainable.evaluate()

    @property
    def is_over(self) -> bool:
        """Whether this was the last step, or patience is at its end."""
        patience = self.plan.patience
        return self.state.step == self.end or (patience is not None and self.state.since_best >= patience)

    @property
    def checkpoint_is_due(self) -> bool:
        """Whether it is time; not among skipped steps, for a checkpoint must be worth rolling back to."""
        return not self.state.guard.in_a_row and time.perf_counter() - self.saved_at > 60 * self.settings.checkpoint_minutes

    def save(self) -> None:
        """Start writing a checkpoint."""
        now = time.perf_counter()
        self.state.seconds, self.saved_at = self.state.seconds + now - self.saved_at, now
        self.writer.save(self.state, self.model, self.optimizer)


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
