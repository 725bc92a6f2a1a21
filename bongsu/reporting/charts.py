"""The charts of the report: each function returns an SVG as text, and can save a PNG as well (`save_png`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from bongsu.arrays import Array
from bongsu.evaluation.calibration import Reliability
from bongsu.evaluation.metrics import ThresholdCurve
from bongsu.reporting.drawing import COLOURS, canvas, finish, frame, legend, line, shown
from bongsu.reporting.korean import translate

_POINTS = 400  # a line shows no more than this on a page
_BINS = 20
_DASHES = (0, (4, 3))

Log = Sequence[Mapping[str, float]]
"""The lines of a `metrics.jsonl`."""
PANELS = {
    "loss": ("Loss", "loss", "validation_loss"),
    "accuracy": ("Accuracy", "accuracy", "validation_accuracy"),
    "bits_per_byte": ("Bits per byte", "bits_per_byte", "validation_bits_per_byte"),
    "learning_rate": ("Learning rate", "learning_rate", ""),
    "f1": ("F1", "f1", "validation_f1"),
}


def save_png(draw: Callable[..., str], path: Path, *arguments: Any) -> None:
    """Save a chart of this module as a PNG file: `save_png(confusion_matrix, path, confusion, names)`."""
    draw(*arguments, png=path)


def training_curves(
    *runs: Log, panels: Sequence[str] = ("loss", "accuracy"), png: Path | None = None, language: str = "en"
) -> str:
    """Draw training and validation metrics against the step, a panel for each; several runs (folds) are overlaid.

    Args:
        runs: the records of a `metrics.jsonl`: `step`, and `loss`, `validation_loss`, ... where they were measured.
        panels: keys of `PANELS`.
        png: also save the chart here.
        language: of titles and labels, "en" or "ko", here and in the other charts.
    """
    figure, axes = canvas(len(panels))
    for axis, panel in zip(axes, panels, strict=True):
        title, training, validation = PANELS[panel]
        frame(axis, translate(title, language), translate("step", language))
        for number, run in enumerate(runs):
            alpha = 1.0 if len(runs) == 1 else 0.65
            for key, colour, name in ((training, "blue", "training"), (validation, "orange", "validation")):
                steps, values = series(run, key)
                if len(steps):
                    label = translate(name, language) if number == 0 and validation else "_"
                    mark = "o" if name == "validation" and len(steps) <= 30 else ""
                    line(axis, steps, values, colour, label, alpha=alpha, marker=mark)
        legend(axis)
    return finish(figure, "curves", png)


def confusion_matrix(
    confusion: Sequence[Sequence[int]],
    names: Sequence[str],
    parts: Sequence[str] = ("counts", "shares"),
    png: Path | None = None,
    language: str = "en",
) -> str:
    """Draw the rows of each class by prediction: as counts, and as shares of the class (each row sums to 1).

    Args:
        confusion: [C][C] int, row: label, column: prediction.
        names: [C].
    """
    table = np.asarray(confusion, dtype=np.float64)
    shares = table / np.maximum(1, table.sum(axis=1, keepdims=True))
    names, classes = [shown(name) for name in names], len(names)
    side = min(9.0, max(3.2, 1.6 + 0.42 * classes))
    figure, axes = canvas(len(parts), width=side + 0.6, height=side)
    for axis, part in zip(axes, parts, strict=True):
        title = {"counts": "Rows", "shares": "Share of each class"}[part]
        frame(axis, translate(title, language), translate("predicted", language), translate("label", language))
        axis.grid(False)
        for spine in axis.spines.values():
            spine.set_visible(False)
        for row, column in np.ndindex(classes, classes):
            colour = COLOURS["blue"] if row == column else COLOURS["orange"]
            alpha = 0.05 + 0.42 * shares[row, column]
            axis.add_patch(Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, facecolor=colour, alpha=alpha, linewidth=0))
            if classes <= 16:
                text = f"{table[row, column]:,.0f}" if part == "counts" else f"{shares[row, column]:.2f}"
                size = 13 if classes <= 3 else 9 if classes <= 8 else 6.5
                axis.text(column, row, text, ha="center", va="center", fontsize=size, color=COLOURS["text"])
        room = 72 * (side - 1.6) / classes / 4.7  # letters that fit under a cell; a Korean one is as wide as two
        if max(len(name) + sum(sign > "\u10ff" for sign in name) for name in names) > room:
            axis.set_xticks(range(classes), names, rotation=40, ha="right", rotation_mode="anchor")
        else:
            axis.set_xticks(range(classes), names)
        axis.set_yticks(range(classes), names)
        axis.set_xlim(-0.5, classes - 0.5)
        axis.set_ylim(classes - 0.5, -0.5)
        axis.set_aspect("equal")
    return finish(figure, "confusion", png, names)


def reliability_diagram(reliability: Reliability, png: Path | None = None, language: str = "en") -> str:
    """Draw accuracy against confidence; the larger a point, the more rows. Calibrated probabilities are on the diagonal."""
    figure, (axis,) = canvas(1)
    frame(axis, translate("Reliability", language), translate("confidence", language), translate("accuracy", language))
    count = np.array(reliability.count)
    filled = count > 0
    confidence = np.array(reliability.confidence, dtype=np.float64)[filled]
    accuracy = np.array(reliability.accuracy, dtype=np.float64)[filled]
    axis.plot([0, 1], [0, 1], color=COLOURS["grid"], linewidth=1, linestyle=_DASHES, label=translate("calibrated", language))
    axis.vlines(
        confidence, accuracy, confidence, color=COLOURS["orange"], linewidth=2, alpha=0.7, label=translate("gap", language)
    )
    axis.plot(confidence, accuracy, color=COLOURS["blue"], linewidth=1.6, label=translate("model", language))
    size = 18 + 150 * count[filled] / max(1, count.max())
    axis.scatter(confidence, accuracy, s=size, color=COLOURS["blue"], alpha=0.85, linewidths=0, zorder=3)
    low = max(0.0, min(0.5, *np.floor(np.concatenate([confidence, accuracy, [1.0]]) * 10 - 0.5) / 10))
    axis.set_xlim(low, 1.02)
    axis.set_ylim(low, 1.03)
    legend(axis)
    return finish(figure, "reliability", png)


def threshold_plot(curve: ThresholdCurve, threshold: float | None = None, png: Path | None = None, language: str = "en") -> str:
    """Draw precision, recall, F1 and accuracy against the threshold; a line marks the one in use."""
    figure, (axis,) = canvas(1)
    frame(axis, translate("Threshold", language), translate("threshold on the positive class", language))
    if threshold is not None:
        axis.axvline(threshold, color=COLOURS["grid"], linewidth=1, linestyle=_DASHES)
    precision = np.where(np.array(curve.recall) == 0, np.nan, curve.precision)  # undefined where nothing is found
    for values, colour, name in (
        (precision, "violet", "precision"),
        (np.array(curve.recall), "green", "recall"),
        (np.array(curve.f1), "orange", "F1"),
        (np.array(curve.accuracy), "blue", "accuracy"),
    ):
        line(axis, np.array(curve.thresholds), values, colour, translate(name, language))
    axis.set_xlim(0, 1)
    axis.set_ylim(-0.02, 1.03)
    legend(axis, columns=2)
    return finish(figure, "threshold", png)


def probability_histogram(
    labels: ArrayLike, positive_probability: ArrayLike, names: Sequence[str], png: Path | None = None, language: str = "en"
) -> str:
    """Draw histograms of the probability of the positive class, for the rows of either class.

    Args:
        labels: [N] int, 0 or 1.
        positive_probability: [N] float.
        names: of class 0 and class 1.
    """
    truth, score = np.asarray(labels), np.asarray(positive_probability, dtype=np.float64)
    names = [shown(name) for name in names]
    figure, (axis,) = canvas(1)
    x = translate("probability of {name}", language, name=names[1])
    frame(axis, translate("Probabilities", language), x, translate("rows", language))
    edges = np.linspace(0, 1, _BINS + 1)
    for number, colour in ((0, "blue"), (1, "orange")):
        heights, _ = np.histogram(score[truth == number], edges)
        width = 0.44 / _BINS
        left = edges[:-1] + 0.5 / _BINS + (width if number else -width) / 2
        axis.bar(left, heights, width=width, color=COLOURS[colour], alpha=0.85, linewidth=0, label=names[number])
    axis.set_xlim(0, 1)
    legend(axis)
    return finish(figure, "probabilities", png, names)


def series(run: Log, key: str) -> tuple[Array, Array]:
    """Return the steps and finite values of a key; a long series is averaged over equal parts."""
    points = [(record["step"], record[key]) for record in run if isinstance(record.get(key), int | float)]
    table = np.array([point for point in points if np.isfinite(point[1])], dtype=np.float64).reshape(-1, 2)
    if len(table) > _POINTS:
        table = np.array([part.mean(axis=0) for part in np.array_split(table, _POINTS)])
    return table[:, 0], table[:, 1]
