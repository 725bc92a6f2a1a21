"""Temperature scaling (Guo et al. 2017): one number that a classifier's logits are divided by, chosen on held-out rows."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bongsu.arrays import Array, Float64, Int64

_LOWEST, _HIGHEST = math.log(0.05), math.log(20.0)
_LEAST = 1e-12  # probabilities below this are raised to it before a logarithm is taken


def softmax(logits: Array) -> Array:
    """Return probabilities [N, C] of logits [N, C]; the largest of a row is subtracted first so that nothing overflows."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    table: Array = raised / raised.sum(axis=1, keepdims=True)
    return table


def log_softmax(logits: Array) -> Float64:
    """Return log probabilities [N, C] float64 of logits [N, C]."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    result: Float64 = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def log_probabilities(probabilities: Array) -> Float64:
    """Return the logarithms [N, C] float64 of probabilities [N, C], none below log 1e-12."""
    result: Float64 = np.log(np.maximum(probabilities.astype(np.float64), _LEAST))
    return result


def apply_temperature(logits: Array, temperature: float) -> Float64:
    """Return probabilities [N, C] float64 of logits [N, C] divided by a temperature."""
    result: Float64 = softmax(logits.astype(np.float64) / temperature)
    return result


def fit_temperature(labels: Int64, logits: Array) -> float:
    """Return the temperature of least log loss, between 0.05 and 20, by golden-section search (the loss is unimodal in it).

    Args:
        labels: [N], classes.
        logits: [N, C].
    """
    return minimize_temperature(lambda value: _loss(labels, logits, value)) if len(labels) else 1.0


def minimize_temperature(loss: Callable[[float], float]) -> float:
    """Return the temperature between 0.05 and 20 of the least loss, for a loss that is unimodal in it."""
    golden = (math.sqrt(5.0) - 1.0) / 2.0
    low, high = _LOWEST, _HIGHEST
    for _ in range(40):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if loss(math.exp(left)) <= loss(math.exp(right)):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2.0)


def _loss(labels: Int64, logits: Array, temperature: float) -> float:
    return float(-log_softmax(logits.astype(np.float64) / temperature)[np.arange(len(labels)), labels].mean())
