"""What training tells: the outcome of batches, their means since the last line, and the lines in `metrics.jsonl`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
from torch import Tensor

from bongsu.files import disk_errors, write_bytes


@dataclass
class Outcome:
    """What a batch came to."""

    loss: Tensor
    """Mean over the batch's targets, float32, scalar."""
    correct: Tensor
    """How many targets were guessed right, scalar."""
    count: Tensor
    """How many targets there were, scalar."""
    tokens: int
    """Real tokens in the batch, for the rate."""
    share: float = 1.0
    """Share of the batch's targets that this process had, when there are several."""

    def figures(self) -> list[float]:
        """The loss's part of the batch's mean, and the sums. Waits for the device."""
        return [float(self.loss.detach()) * self.share, float(self.correct), float(self.count), float(self.tokens)]


@dataclass
class Step:
    """What a step came to, over all its batches and processes."""

    loss: float
    """Mean of the batches' losses."""
    correct: float
    count: float
    tokens: float
    gradient_norm: float


class Window:
    """Sums since the last line of the log."""

    def __init__(self, flops_per_token: float | None = None, peak_flops: float | None = None) -> None:
        """With the work a token takes and the highest rate of all devices, the log tells the share of it that is used."""
        self._used = flops_per_token / peak_flops if flops_per_token and peak_flops else None
        self.restart()

    def restart(self) -> None:
        self._loss, self._correct, self._count, self._tokens, self._steps = 0.0, 0.0, 0.0, 0.0, 0
        self._waited = self._elapsed = 0.0
        self._start = time.perf_counter()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves out what is no training, such as an evaluation."""
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
        """Counts seconds in which the loop had no batch."""
        self._waited += seconds

    def close(self) -> dict[str, float]:
        """Means since the last time, and starts again."""
        elapsed = max(1e-9, self._elapsed + time.perf_counter() - self._start)
        figures = {
            "loss": self._loss / max(1, self._steps),
            "accuracy": self._correct / max(1.0, self._count),
            "tokens_per_second": self._tokens / elapsed,
            "step_seconds": elapsed / max(1, self._steps),
            "data_wait": self._waited / elapsed,
        }
        if self._used:
            figures["mfu"] = figures["tokens_per_second"] * self._used
        self.restart()
        return figures


class Log:
    """`metrics.jsonl`: one JSON object a line."""

    def __init__(self, path: Path, active: bool = True) -> None:
        """Only the process that is `active` writes."""
        self.path, self.active = path, active

    def go_on_from(self, step: int) -> None:
        """Takes away the lines past the step a run goes on from, so that none is told twice."""
        if self.active:
            kept = [orjson.dumps(record) + b"\n" for record in read_log(self.path) if record["step"] <= step]
            write_bytes(self.path, b"".join(kept))

    def write(self, record: dict[str, float]) -> None:
        if self.active:
            with disk_errors(self.path), open(self.path, "ab") as file:
                file.write(orjson.dumps(record) + b"\n")


def read_log(path: Path) -> list[dict[str, float]]:
    """The records of a log; a last line cut short by a kill is passed over."""
    records = []
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            records.append(orjson.loads(line))
        except orjson.JSONDecodeError:
            continue
    return records
