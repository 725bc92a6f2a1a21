"""The int8 engine: weights rounded to 8 bits a column at export, activations as they come (dynamic quantisation)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from onnxruntime.quantization import QuantType, quantize_dynamic

from bongsu.finetuning.data import AnyExample
from bongsu.inference.predictor import Predictor

LARGEST_LOSS = 0.5
"""Percentage points of the main metric that int8 may lose and still be chosen by itself."""


@dataclass(frozen=True)
class Int8Loss:
    """What int8 costs, on rows with labels."""

    rows: int
    source: str
    """Which rows of the run: "test rows" or "rows held out"."""
    metric: str
    """The title of the task's main metric, higher being better."""
    float32: float
    int8: float
    changed: int
    """Rows with another answer."""

    @property
    def points(self) -> float:
        """Percentage points of the metric lost; negative when int8 happens to be better."""
        return 100 * (self.float32 - self.int8)

    @property
    def change(self) -> str:
        """What int8 does to the metric, in words: "0.32 points lost", "0.05 points gained", "nothing lost"."""
        size = f"{abs(self.points):.2f}"
        if float(size) == 0.0:
            return "nothing lost"
        return f"{size} points {'lost' if self.points > 0 else 'gained'}"

    @property
    def accurate(self) -> bool:
        return self.points <= LARGEST_LOSS


def quantize(exact: Path, small: Path) -> None:
    """Writes an int8 copy of a graph. Only products with a weight are rounded; embeddings stay float32.

    Weights use 7 bits of the 8: processors without VNNI add pairs of products in 16 bits, which 8 bits would overflow.
    """
    logging.getLogger().disabled = True  # onnxruntime advises a preparation that our graphs do not need
    try:
        quantize_dynamic(
            exact, small, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"]
        )
    finally:
        logging.getLogger().disabled = False


def int8_loss(exact: Predictor, small: Predictor, examples: Sequence[AnyExample], source: str) -> Int8Loss:
    """Compare the answers of both engines."""
    task, calibration = exact.task, exact.calibration
    metric = task.metrics[0]
    outputs = [predictor.outputs_of(examples) for predictor in (exact, small)]
    scores = [task.score(examples, each, calibration)[metric.name] for each in outputs]
    first, second = (map(task.key_of, task.answers(examples, each, calibration)) for each in outputs)
    changed = sum(one != other for one, other in zip(first, second, strict=True))
    return Int8Loss(len(examples), source, metric.title, scores[0], scores[1], changed)
