"""The charts of a search as SVG: learning curves, parallel coordinates, importance, comparison of points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bongsu.reporting.charts import PANELS, Log, series
from bongsu.reporting.drawing import COLOURS, canvas, finish, frame, legend
from bongsu.search.results import Result
from bongsu.search.space import describe, label
from bongsu.search.study import Study

_HUES = ("blue", "orange", "green", "violet")
_DASHES = ("solid", (0, (4, 2)), (0, (1, 1.5)))
_ROW = 0.27  # inches
_WIDEST = 48  # signs of a point's name
_BAND = 0.36  # of the room between two values of a setting: what the lines through one of them are spread over
_NAMED = len(_HUES) * len(_DASHES)


def learning_curves(trials: Sequence[tuple[str, Sequence[Log]]], panel: str) -> str:
    """Draw training (left) and validation (right) of every trial; up to twelve points have styles of their own, else the best.

    Args:
        trials: the label of the point and the logs of each trial, the best point first.
        panel: a key of `reporting.charts.PANELS`.
    """
    title, training, validation = PANELS[panel]
    names = list(dict.fromkeys(name for name, _ in trials))
    keys = [(key, f"{title}, {part}") for key, part in ((training, "training"), (validation, "validation")) if key]
    keys = [(key, head) for key, head in keys if any(key in record for _, logs in trials for log in logs for record in log)]
    figure, axes = canvas(max(1, len(keys)), width=4.4, height=3.1)
    for axis, (key, head) in zip(axes, keys, strict=False):
        frame(axis, head, "step")
        seen: set[str] = set()
        for name, logs in reversed(trials):
            number = names.index(name)
            few = len(names) <= _NAMED
            colour = _HUES[number % len(_HUES)] if few else "orange" if number == 0 else "blue"
            style = _DASHES[number // len(_HUES)] if few else "solid"
            for log in logs:
                steps, values = series(log, key)
                if len(steps):
                    shown = name if (few or number == 0) and name not in seen else "_"
                    seen.add(name)
                    axis.plot(steps, values, color=COLOURS[colour], linestyle=style, linewidth=1.3, label=shown,
                              marker="o" if len(steps) == 1 else "", markersize=4,
                              alpha=0.75 if few or number == 0 else 0.25)  # fmt: skip
        handles, labels = axis.get_legend_handles_labels()
        order = sorted(range(len(labels)), key=lambda index: names.index(labels[index]))
        if order and axis is axes[-1]:
            axis.legend([handles[i] for i in order], [_short(labels[i]) for i in order], frameon=False, fontsize=7,
                        labelcolor=COLOURS["ink"])  # fmt: skip
    return finish(figure, f"curves-{panel}", None, names)


def comparison(results: Sequence[Result], study: Study) -> str:
    """Draw the best points: mean and standard deviation over seeds of the metric that decides."""
    shown = list(results)[:24][::-1]
    figure, (axis,) = canvas(1, width=9.5, height=0.9 + _ROW * len(shown))
    frame(axis, f"{study.title}, mean and deviation over seeds" if study.seeds > 1 else f"{study.title} of each point", "")
    for row, result in enumerate(shown):
        spread = result.metrics[study.metric]
        colour = COLOURS["orange" if row == len(shown) - 1 else "blue"]
        axis.errorbar(spread.mean, row, xerr=spread.deviation or 0.0, fmt="o", color=colour, markersize=5, linewidth=1.6,
                      alpha=1.0 if result.complete else 0.4)  # fmt: skip
    names = [describe(result.point) for result in shown]
    if max(map(len, names)) > _WIDEST:  # the settings' names once, and each point by its values
        axis.set_ylabel(" · ".join(name.rpartition(".")[2] for name in study.space), fontsize=8.5, color=COLOURS["ink"])
        names = [_short(" · ".join(label(value) for value in result.point.values()), _WIDEST) for result in shown]
    axis.set_yticks(range(len(shown)), names)
    axis.set_ylim(-0.7, len(shown) - 0.3)
    return finish(figure, "comparison", None, names)


def parallel_coordinates(results: Sequence[Result], study: Study) -> str:
    """Draw each point as a line through its settings to the metric that decides; the better, the stronger.

    Where a setting has few values, the lines through one of them are spread, the best on top.
    """
    axes_of = [*study.space, study.metric]
    figure, (axis,) = canvas(1, width=max(5.0, 1.9 * len(axes_of)), height=4.2)
    frame(axis, "Settings and outcome", "")
    axis.grid(False)
    values = [result.metrics[study.metric].mean for result in results]
    outcome, outcome_ticks = _scale(values, evenly=False)
    good = np.array(outcome if study.mode == "max" else [1 - place for place in outcome])
    rank = np.argsort(np.argsort(good)) / max(1, len(good) - 1)
    columns, ticks_of = [], []
    for name in study.space:
        settings = [result.point[name] for result in results]
        places, ticks = _scale(settings)
        width = _BAND / max(1, len(ticks) - 1) if _is_stepped(settings) else 0.0
        columns.append([place + width * (float(high) - 0.5) for place, high in zip(places, rank, strict=True)])
        ticks_of.append([(place + width / 2 + 0.012, text) for place, text in ticks] if width else ticks)
    columns.append(list(outcome))
    ticks_of.append(outcome_ticks)
    for index in np.argsort(good):
        colour = COLOURS["orange" if good[index] > 0.8 else "blue"]
        axis.plot(range(len(columns)), [column[index] for column in columns], color=colour, linewidth=1.3,
                  alpha=float(0.15 + 0.7 * good[index] ** 2))  # fmt: skip
    for number, ticks in enumerate(ticks_of):
        axis.axvline(number, color=COLOURS["grid"], linewidth=0.8)
        last = number == len(columns) - 1
        for place, text in ticks:
            axis.text(number + 0.03, place, _short(text, 18), fontsize=8, color=COLOURS["ink"],
                      va="center" if last else "bottom")  # fmt: skip
    axis.set_xticks(range(len(columns)), [name.rpartition(".")[2] for name in axes_of])
    axis.set_yticks([])
    axis.set_xlim(-0.3, len(columns) - 0.6)
    axis.set_ylim(-0.2, 1.24)
    return finish(figure, "parallel", None)


def importance_bars(importance: Mapping[str, float]) -> str:
    """Draw the share of the variance that each setting explains."""
    names = list(importance)[::-1]
    figure, (axis,) = canvas(1, width=9.5, height=0.9 + _ROW * len(names))
    frame(axis, "Importance (fANOVA)", "share of the variance between points")
    axis.barh(range(len(names)), [importance[name] for name in names], height=0.55, color=COLOURS["blue"], alpha=0.85)
    axis.set_yticks(range(len(names)), names)
    axis.set_xlim(0, 1)
    legend(axis)
    return finish(figure, "importance", None)


def _scale(values: Sequence[Any], evenly: bool = True) -> tuple[list[float], list[tuple[float, str]]]:
    """Return places from 0 to 1 and the ticks of one axis.

    Numbers are placed by size (logarithmic over a factor of 20), names, and with `evenly` a few numbers, evenly.
    """
    different = list(dict.fromkeys(label(value) for value in (sorted(values) if _are_numbers(values) else values)))
    if evenly and _is_stepped(values):
        at = {text: index / max(1, len(different) - 1) for index, text in enumerate(different)}
        return [at[label(value)] for value in values], [(place, text) for text, place in at.items()]
    array = np.array(values, dtype=np.float64)
    logarithmic = array.min() > 0 and array.max() / array.min() > 20
    scaled = np.log(array) if logarithmic else array
    low, high = float(scaled.min()), float(scaled.max())
    places = (scaled - low) / (high - low) if high > low else np.full(len(scaled), 0.5)
    marks = np.linspace(low, high, 4 if high > low else 1)
    ticks = [((float(m) - low) / ((high - low) or 1), label(float(np.exp(m) if logarithmic else m))) for m in marks]
    return [float(place) for place in places], ticks


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _is_stepped(values: Sequence[Any]) -> bool:
    """Return whether values are few, or not numbers."""
    return not _are_numbers(values) or len({label(value) for value in values}) <= 6


def _short(text: str, length: int = 40) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
