"""Metrics of a classifier with intervals; they equal scikit-learn's of the same names."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bongsu.arrays import Array, Float64, Int64
from bongsu.evaluation.bootstrap import interval
from bongsu.evaluation.calibration import expected_calibration_error

_Z = 1.959963984540054  # the normal distribution's 97.5 % quantile


@dataclass(frozen=True)
class ClassificationMetrics:
    """Metrics of a classifier; intervals are [low, high] of 95 %."""

    rows: int
    threshold: float
    accuracy: float
    accuracy_interval: list[float]
    """Wilson 1927."""
    precision: float
    recall: float
    f1: float
    f1_interval: list[float]
    """By the bootstrap."""
    roc_auc: float | None
    """One against the rest, macro; None when a class has no rows."""
    log_loss: float
    """In nats."""
    ece: float
    """Expected calibration error."""
    confusion: list[list[int]]
    """[C][C], rows are labels and columns predictions."""


@dataclass(frozen=True)
class ThresholdCurve:
    """Metrics at each threshold, [101] each."""

    thresholds: list[float]
    precision: list[float]
    """0 where nothing is predicted positive."""
    recall: list[float]
    f1: list[float]
    accuracy: list[float]


def classification_metrics(labels: ArrayLike, probabilities: ArrayLike, threshold: float = 0.5) -> ClassificationMetrics:
    """Return the metrics of a classifier on rows that it has not seen.

    Precision, recall and F1 are those of class 1 when there are two classes, else means over the classes (macro). A class
    never predicted has precision 0, a class without rows recall 0.

    Args:
        labels: classes [N] int in [0, C).
        probabilities: [N, C] float, rows summing to 1.
        threshold: with two classes, class 1 is predicted from this probability on; with more the likeliest class is.

    Raises:
        ValueError: when the shapes do not fit, there are no rows, or a probability is not a number.
    """
    truth, table = _checked(labels, probabilities)
    rows, classes = table.shape
    predicted = predictions(table, threshold)
    confusion = np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    precision, recall, f1 = (float(metric[0]) for metric in _precision_recall_f1(confusion[None]))
    right = int(np.trace(confusion))
    clipped = np.clip(table[np.arange(rows), truth], np.finfo(np.float64).eps, 1.0)
    return ClassificationMetrics(
        rows=rows,
        threshold=threshold,
        accuracy=right / rows,
        accuracy_interval=wilson(right, rows),
        precision=precision,
        recall=recall,
        f1=f1,
        f1_interval=interval(confusion, lambda drawn: _precision_recall_f1(drawn)[2]),
        roc_auc=_roc_auc(truth, table),
        log_loss=float(-np.log(clipped).mean()),
        ece=expected_calibration_error(truth, table),
        confusion=confusion.tolist(),
    )


def predictions(probabilities: ArrayLike, threshold: float = 0.5) -> Int64:
    """Return classes [N] int64 from probabilities [N, C]: of two classes by `threshold` on class 1, of more the likeliest."""
    table = np.asarray(probabilities, dtype=np.float64)
    return (table[:, 1] >= threshold).astype(np.int64) if table.shape[1] == 2 else table.argmax(axis=1).astype(np.int64)


def wilson(right: int, rows: int) -> list[float]:
    """Return the 95 % score interval of a share (Wilson 1927): [low, high], sound for few rows and shares near 0 and 1."""
    share, spread = right / rows, _Z * _Z / rows
    middle = share + spread / 2
    half = _Z * math.sqrt(share * (1 - share) / rows + spread / (4 * rows))
    return [max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread))]


def threshold_curve(labels: ArrayLike, positive_probability: ArrayLike) -> ThresholdCurve:
    """Return the metrics at each threshold from 0 to 1 in steps of 0.01.

    Args:
        labels: [N] int, 1 for the positive class and 0 for the other.
        positive_probability: [N] float.
    """
    truth, score = np.asarray(labels), np.asarray(positive_probability, dtype=np.float64)
    thresholds = np.arange(101) / 100
    positive, negative = np.sort(score[truth == 1]), np.sort(score[truth != 1])
    hits = len(positive) - np.searchsorted(positive, thresholds, side="left")
    alarms = len(negative) - np.searchsorted(negative, thresholds, side="left")
    precision = _ratio(hits, hits + alarms)
    recall = _ratio(hits, np.full(101, len(positive)))
    f1 = _ratio(2 * hits, hits + alarms + len(positive))
    accuracy = (hits + len(negative) - alarms) / len(score)
    return ThresholdCurve(*(values.tolist() for values in (thresholds, precision, recall, f1, accuracy)))


def _checked(labels: ArrayLike, probabilities: ArrayLike) -> tuple[Int64, Float64]:
    truth, table = np.asarray(labels, dtype=np.int64), np.asarray(probabilities, dtype=np.float64)
    if table.ndim != 2 or truth.shape != table.shape[:1] or table.shape[1] < 2 or len(truth) == 0:
        raise ValueError(f"labels [N] and probabilities [N, C] are needed, not {truth.shape} and {table.shape}")
    if truth.min() < 0 or truth.max() >= table.shape[1]:
        raise ValueError(f"labels must be in [0, {table.shape[1]}), not {truth.min()} to {truth.max()}")
    if not np.isfinite(table).all():
        raise ValueError("a probability is not a finite number")
    return truth, table


def _precision_recall_f1(confusion: Int64) -> tuple[Float64, Float64, Float64]:
    """Return metrics [draws] of class 1 (C = 2), or means over the classes, of confusion matrices [draws, C, C]."""
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    predicted, actual = confusion.sum(axis=1), confusion.sum(axis=2)
    of_classes = (_ratio(hits, predicted), _ratio(hits, actual), _ratio(2 * hits, predicted + actual))
    if confusion.shape[1] == 2:
        precision, recall, f1 = (metric[:, 1] for metric in of_classes)
    else:
        precision, recall, f1 = (metric.mean(axis=1) for metric in of_classes)
    return precision, recall, f1


def _ratio(part: Array, whole: Array) -> Float64:
    """Return part / whole, and 0 where the whole is 0."""
    shares: Float64 = np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)
    return shares


def _roc_auc(truth: Int64, table: Float64) -> float | None:
    from sklearn.metrics import roc_auc_score

    classes = table.shape[1]
    if len(np.unique(truth)) < classes:
        return None
    if classes == 2:
        return float(roc_auc_score(truth, table[:, 1]))
    return float(np.mean([roc_auc_score(truth == number, table[:, number]) for number in range(classes)]))
