"""What training tells: the outcome of batches, their means since the last line, and the lines in `metrics.jsonl`."""

from __future__ import annotations

import time
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


class Window:
    """Sums since the last line of the log."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self._loss, self._correct, self._count, self._tokens, self._batches = 0.0, 0.0, 0.0, 0, 0
        self._start = time.perf_counter()

    def restart_clock(self) -> None:
        """Leaves out the time since `close`, such as an evaluation's."""
        self._start = time.perf_counter()

    def add(self, outcome: Outcome) -> None:
        self._loss += float(outcome.loss.detach())
        self._correct += float(outcome.correct)
        self._count += float(outcome.count)
        self._tokens += outcome.tokens
        self._batches += 1

    def close(self) -> dict[str, float]:
        """Means since the last time, and starts again."""
        figures = {
            "loss": self._loss / max(1, self._batches),
            "accuracy": self._correct / max(1.0, self._count),
            "tokens_per_second": self._tokens / max(1e-9, time.perf_counter() - self._start),
        }
        self.restart()
        return figures


class Log:
    """`metrics.jsonl`: one JSON object a line. Lines past the step a run goes on from are taken away, so none is told twice."""

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        write_bytes(path, b"".join(orjson.dumps(record) + b"\n" for record in read_log(path) if record["step"] <= step))

    def write(self, record: dict[str, float]) -> None:
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
