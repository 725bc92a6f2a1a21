"""The int8 engine: weights rounded to 8 bits a column at export, activations as they come (dynamic quantisation)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnxruntime.quantization import QuantType, quantize_dynamic

from bongsu.inference.prediction import Float32

LARGEST_LOSS = 0.5
"""Points of accuracy that int8 may lose and still be chosen by itself."""


@dataclass(frozen=True)
class Int8Loss:
    """What int8 costs, on rows with labels."""

    rows: int
    source: str
    """The run's file the rows are of."""
    float32_accuracy: float
    int8_accuracy: float
    changed: int
    """Rows with another verdict."""

    @property
    def points(self) -> float:
        """Percentage points of accuracy lost; negative when int8 happens to be better."""
        return 100 * (self.float32_accuracy - self.int8_accuracy)

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


def int8_loss(exact: Float32, small: Float32, labels: npt.NDArray[np.int64], source: str) -> Int8Loss:
    """Compares the probabilities [rows, classes] of both engines."""
    one, other = exact.argmax(axis=1), small.argmax(axis=1)
    return Int8Loss(
        rows=len(labels),
        source=source,
        float32_accuracy=float((one == labels).mean()),
        int8_accuracy=float((other == labels).mean()),
        changed=int((one != other).sum()),
    )
