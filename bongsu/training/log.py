"""Logging of training: outcomes of batches, their means since the last line, and the lines of `metrics.jsonl`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from bongsu.files import disk_errors, write_bytes

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Outcome:
    """Loss and counts of a batch."""

    loss: Tensor
    """Mean over the batch's targets, float32, scalar."""
    correct: Tensor
    """Targets predicted correctly, scalar."""
    count: Tensor
    """Targets, scalar."""
    tokens: int
    """Tokens in the batch without padding."""
    share: float = 1.0
    """Share of the batch's targets that this process had, when there are several."""

    def totals(self) -> list[float]:
        """Return this process's part of the mean loss, and the counts. Waits for the device."""
        return [float(self.loss.detach()) * self.share, float(self.correct), float(self.count), float(self.tokens)]


@dataclass
class Step:
    """Loss and counts of a step, over all its batches and processes."""

    loss: float
    """Mean of the batches' losses."""
    correct: float
    count: float
    tokens: float
    gradient_norm: float


class Window:
    """Sums since the last line of the log."""

    def __init__(self, flops_per_token: float | None = None, peak_flops: float | None = None) -> None:
        """With FLOPs per token and the peak rate of all devices, the log has the model FLOPs utilization (`mfu`)."""
        self._used = flops_per_token / peak_flops if flops_per_token and peak_flops else None
        self.restart()

    def restart(self) -> None:
        self._loss, self._correct, self._count, self._tokens, self._steps = 0.0, 0.0, 0.0, 0.0, 0
        self._waited = self._elapsed = 0.0
        self._start = time.perf_counter()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude time that is not training, such as an evaluation."""
        self._elapsed += time.perf_counter() - self._start
        yield
        self._start = time.perf_counter()

    def add(self, step: Step) -> None:
        self._loss += step.loss
        self._correct += step.correct
        self._count += step.count
        self._tokens += step.tokens
        self._steps += 1

    def wait(self, seconds: float) -> None:
        """Count seconds in which the loop waited for a batch."""
        self._waited += seconds

    def close(self) -> dict[str, float]:
        """Return the means since the last call, and start anew."""
        elapsed = max(1e-9, self._elapsed + time.perf_counter() - self._start)
        metrics = {
            "loss": self._loss / max(1, self._steps),
            "accuracy": self._correct / max(1.0, self._count),
            "tokens_per_second": self._tokens / elapsed,
            "step_seconds": elapsed / max(1, self._steps),
            "data_wait": self._waited / elapsed,
        }
        if self._used:
            metrics["mfu"] = metrics["tokens_per_second"] * self._used
        self.restart()
        return metrics


class Log:
    """`metrics.jsonl`: one JSON object a line."""

    def __init__(self, path: Path, active: bool = True) -> None:
        """Write only where `active`."""
        self.path, self.active = path, active

    def resume_from(self, step: int) -> None:
        """Remove the lines after the step a run resumes from, so that none is logged twice."""
        if self.active:
            kept = [orjson.dumps(record) + b"\n" for record in read_log(self.path) if record["step"] <= step]
            write_bytes(self.path, b"".join(kept))

    def write(self, record: dict[str, float]) -> None:
        if self.active:
            with disk_errors(self.path), open(self.path, "ab") as file:
                file.write(orjson.dumps(record) + b"\n")


def read_log(path: Path) -> list[dict[str, float]]:
    """Return the records of a log; a last line cut short by a kill is skipped."""
    records = []
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            records.append(orjson.loads(line))
        except orjson.JSONDecodeError:
            continue
    return records
