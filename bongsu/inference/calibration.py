"""Honest probabilities: one temperature for a classifier's logits (Guo et al. 2017), chosen on rows it was not measured on; and
those of several classifiers put together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
_LOWEST, _HIGHEST = math.log(0.05), math.log(20.0)


def softmax(logits: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Probabilities [N, C] of logits [N, C], the largest of a row taken off first so that nothing overflows."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    table: npt.NDArray[Any] = raised / raised.sum(axis=1, keepdims=True)
    return table


def temperature(labels: Int64, probabilities: Float64) -> float:
    """The temperature of least log loss, between 0.05 and 20, by golden-section search (the loss is unimodal in it).

    Args:
        labels: [N].
        probabilities: [N, C], rows summing to 1.
    """
    if len(labels) == 0:
        return 1.0
    golden = (math.sqrt(5.0) - 1.0) / 2.0
    low, high = _LOWEST, _HIGHEST
    for _ in range(40):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if _loss(labels, probabilities, math.exp(left)) <= _loss(labels, probabilities, math.exp(right)):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2.0)


def at_temperature(probabilities: Float64, value: float) -> Float64:
    """Probabilities [N, C] with their logits divided by a temperature."""
    return softmax(np.log(np.maximum(probabilities, 1e-12)) / value)


def calibrated_by_folds(labels: Int64, probabilities: Float64, fold: Int64) -> tuple[Float64, list[float]]:
    """Each fold's rows at the temperature of least loss on the other folds' rows: [N, C], and the temperatures."""
    result = np.empty_like(probabilities)
    chosen = []
    for number in np.unique(fold).tolist():
        mine = fold == number
        chosen.append(temperature(labels[~mine], probabilities[~mine]))
        result[mine] = at_temperature(probabilities[mine], chosen[-1])
    return result, chosen


def ensemble(*tables: Float64) -> Float64:
    """Probabilities [N, C] of several classifiers put together: the mean of their logarithms (a product of experts)."""
    return softmax(np.mean([np.log(np.maximum(table, 1e-6)) for table in tables], axis=0))


def _loss(labels: Int64, probabilities: Float64, value: float) -> float:
    scaled = at_temperature(probabilities, value)
    return float(-np.log(np.maximum(scaled[np.arange(len(labels)), labels], 1e-12)).mean())
