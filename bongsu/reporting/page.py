"""The report of a run: one self-contained HTML page, light or dark, of any width."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from bongsu import progress
from bongsu.evaluation.bootstrap import PairedDifference
from bongsu.evaluation.metrics import ClassificationMetrics
from bongsu.evaluation.operating import OperatingPoint
from bongsu.pretraining.masked_lm import Token
from bongsu.reporting import charts
from bongsu.reporting.drawing import own_ids
from bongsu.reporting.korean import translate
from bongsu.reporting.sections import ClassificationSection, Mistake, Pretraining, Report

View = dict[str, object]
"""What a template is given."""
_METRICS = (
    ("accuracy", "Accuracy"), ("precision", "Precision"), ("recall", "Recall"), ("f1", "F1"), ("roc_auc", "ROC-AUC"),
    ("log_loss", "Log loss"), ("ece", "ECE"),
)  # fmt: skip
_SHOWN_STEPS = 12
_TILE_BASELINES = ("TF-IDF + logistic regression", "majority class")
_TITLES = {
    "task-test": "On the test rows",
    "task": "The model",
    "test": "On the test rows",
    "classification": "The detector",
    "encoder": "Encoder",
    "samples": "What the model saw",
    "corpus": "Corpus",
    "tokenizer": "Tokenizer",
    "stages": "What was run",
    "reproduce": "Do it again",
}
Translate = Callable[..., str]


def render(report: Report) -> str:
    """Return the page as HTML text."""

    def t(text: str, **values: object) -> str:
        return translate(text, report.language, **values)

    tasks = (("task-test", report.task_test), ("task", report.task))
    page = {
        **vars(report),
        "task_sections": [{"key": key, **vars(section)} for key, section in tasks if section],
        "classification": report.classification and _classification(report.classification, "classification", report.language),
        "test": report.test and _classification(report.test, "test", report.language),
        "pretrain": report.pretrain and _pretraining(report.pretrain, report.language),
        "samples": [sentences(sample["tokens"]) for sample in report.samples],
        "longest": max((stage.seconds for stage in report.stages), default=0) or 1,
        "titles": {key: t(title) for key, title in _TITLES.items()},
        "contents": _contents(report),
        "tiles": _tiles(report, t),
        "notes": [t(note) for note in report.notes],
    }
    functions = {"t": t, "operating": partial(_operating, t=t), "duration": partial(_duration, language=report.language)}
    html = environment().get_template("report.html").render(page, lang=report.language, **functions)
    return html.encode("utf-8", "replace").decode()  # a lone surrogate in somebody's data must not cost the report


def verdict(found: PairedDifference, baseline: str, language: str) -> str:
    """Return in one sentence whether a model is better than its baseline."""
    low, high = found.interval
    points, kind = found.difference, "Better" if low > 0 else "Worse" if high < 0 else "No better"
    text = {
        "Better": "Better than {baseline} by {points} points of {metric}, 95 % interval {low} to {high}.",
        "Worse": "Worse than {baseline} by {points} points of {metric}, 95 % interval {low} to {high}.",
        "No better": "No significant difference to {baseline} on these {rows} rows: {points} points of {metric}, "
        "95 % interval {low} to {high}.",
    }[kind]
    if kind == "No better":
        shown = {"points": signed(points), "low": signed(low), "high": signed(high)}
    else:
        ends = sorted((abs(low), abs(high)))
        shown = {"points": f"{abs(points):.1f}", "low": f"{ends[0]:.1f}", "high": f"{ends[1]:.1f}"}
    shown |= {"baseline": translate(baseline, language), "metric": translate("accuracy", language)}
    return translate(text, language, rows=number(found.rows), **shown)


def _contents(report: Report) -> list[str]:
    """Return the ids of the sections that the page has, in order."""
    there = {
        "task-test": report.task_test,
        "task": report.task,
        "test": report.test,
        "classification": report.classification,
        "encoder": report.model or report.pretrain,
        "samples": report.samples,
        "corpus": report.corpus,
        "tokenizer": report.tokenizer,
        "stages": report.stages,
        "reproduce": report.reproduce or report.versions or report.recipe,
    }
    return [key for key, shown in there.items() if shown]


class Tile(NamedTuple):
    """A number at the head of the page."""

    title: str
    value: str
    notes: list[str]
    """Such as the numbers of baselines."""


def _tiles(report: Report, t: Translate) -> list[Tile]:
    tiles = []
    if main := report.test or report.classification:
        model, baselines, binary = main.model, main.baselines, len(main.names) == 2
        chosen = [name for name in _TILE_BASELINES if name in baselines] or list(baselines)[:1]

        def add(title: str, show: Callable[[ClassificationMetrics], str]) -> None:
            tiles.append(Tile(title, show(model), [f"{t(name)} {show(baselines[name])}" for name in chosen]))

        add(t("Accuracy"), lambda metrics: fixed(metrics.accuracy))
        add(f"F1 ({main.names[1]})" if binary else t("F1 (macro)"), lambda metrics: fixed(metrics.f1))
        if binary:
            add(t("Missed"), lambda metrics: f"{metrics.confusion[1][0]:,}")
            add(t("False alarms"), lambda metrics: f"{metrics.confusion[0][1]:,}")
    final = report.pretrain.final if report.pretrain else {}
    if "validation_bits_per_byte" in final:
        tiles.append(Tile(t("Bits per byte"), fixed(final["validation_bits_per_byte"], 2), [t("masked tokens, held out")]))
    if "validation_accuracy" in final:
        tiles.append(Tile(t("Masked-token accuracy"), fixed(final["validation_accuracy"]), [t("held out")]))
    if isinstance(parameters := report.model.get("parameters"), int):
        shown = f"{parameters / 1e6:.1f} M" if parameters >= 1e5 else number(parameters)
        tiles.append(Tile(t("Parameters"), shown, []))
    if report.stages:
        tiles.append(Tile(t("Time"), _duration(sum(stage.seconds for stage in report.stages), report.language), []))
    return tiles


class JoinedToken(Token):
    """A token of a sentence."""

    joined: bool
    """Whether it continues the word before it."""


def sentences(tokens: Sequence[Token]) -> list[list[JoinedToken]]:
    """Split a packed row into its sentences."""
    found: list[list[JoinedToken]] = []
    for token in tokens:
        if not found or found[-1][-1]["segment"] != token["segment"]:
            found.append([])
        truth = token["target"] if token["masked"] else token["text"]
        found[-1].append({**token, "joined": bool(found[-1]) and not (truth or " ").startswith(" ")})
    return found


def _pretraining(pretrain: Pretraining, language: str) -> View:
    metrics = pretrain.metrics
    panels = [
        panel
        for panel, (_, training, validation) in charts.PANELS.items()
        if any(isinstance(record.get(key), int | float) for record in metrics for key in (training, validation) if key)
    ]
    measured = [record for record in metrics if "validation_loss" in record]
    every = max(1, math.ceil(len(measured) / _SHOWN_STEPS))
    speeds = {
        name: float(np.median(seen))
        for name in ("tokens_per_second", "mfu", "data_wait")
        if (seen := [record[name] for record in metrics if name in record])
    }
    return {
        "charts": [Markup(charts.training_curves(metrics, panels=(panel,), language=language)) for panel in panels],
        "measured": measured[::-1][::every][::-1],
        "speeds": speeds,
    }


def _operating(point: OperatingPoint, t: Translate) -> str:
    """Return what an operating point is called."""
    name, _, value = point["name"].rpartition(" ")
    return t(f"{name} {{value}}", value=value)


def _duration(seconds: float, language: str) -> str:
    """Return a time as `progress.duration` writes it, in Korean with its units."""
    text = progress.duration(seconds)
    if language == "ko":
        for unit, korean in ((" min", "분"), (" s", "초"), (" h", "시간"), (" d", "일")):
            text = text.replace(unit, korean)
    return text


def _classification(section: ClassificationSection, key: str, language: str) -> View:
    """Return the section with its charts drawn and its tables laid out."""
    t: Translate = partial(translate, language=language)
    model, names, confusion = section.model, section.names, section.model.confusion
    models = {"this detector": model, **section.baselines}
    curves = [curve for curve in section.curves if curve]
    drawn = []
    if section.reliability:
        drawn.append(charts.reliability_diagram(section.reliability, language=language))
    if section.thresholds:
        drawn.append(charts.threshold_plot(section.thresholds, model.threshold, language=language))
    if section.scores:
        scores = section.scores
        drawn.append(charts.probability_histogram(scores.labels, scores.probabilities, names, language=language))

    def mine(svg: str) -> Markup:
        return Markup(own_ids(svg, f"{key}-"))

    return {
        **vars(section),
        "key": key,
        "mistake_groups": _mistake_groups(section.mistakes, names, t),
        "coloured": any(mistake.words for mistake in section.mistakes),
        "metrics": [(name, t(title)) for name, title in _METRICS],
        "models": models,
        "best": {name: _best(name, models) for name, _ in _METRICS},
        "strip": _strip(models),
        "confusion_charts": [
            mine(charts.confusion_matrix(confusion, names, parts=(part,), language=language)) for part in ("counts", "shares")
        ],
        "classes": _classes(confusion, names),
        "charts": [mine(svg) for svg in drawn],
        "curve_charts": [
            mine(charts.training_curves(*curves, panels=(part,), language=language)) for part in ("loss", "accuracy") if curves
        ],
    }


def _mistake_groups(mistakes: Sequence[Mistake], names: Sequence[str], t: Translate) -> list[tuple[str, list[Mistake]]]:
    """Return titles with mistakes: of two classes the misses first, then the false alarms; of more classes all mistakes."""
    if len(names) != 2:
        groups = [(t("Where it was surest and wrong"), list(mistakes))]
    else:
        missed = [mistake for mistake in mistakes if mistake.label == names[1]]
        alarms = [mistake for mistake in mistakes if mistake.label != names[1]]
        groups = [
            (t("Missed “{name}”, the surest mistakes first", name=names[1]), missed),
            (t("False alarms, the surest first"), alarms),
        ]
    return [(title, members) for title, members in groups if members]


def _best(name: str, models: Mapping[str, ClassificationMetrics]) -> float | None:
    """Return the best value of a metric over the models, rounded as it is shown."""
    if name == "ece":  # that of the majority class is near 0, which means nothing
        return None
    values: list[float] = [round(value, 3) for metrics in models.values() if (value := getattr(metrics, name)) is not None]
    if len(values) < 2:
        return None
    return min(values) if name == "log_loss" else max(values)


def _strip(models: Mapping[str, ClassificationMetrics]) -> View:
    """Return accuracies on one scale with their intervals, as percentages of the strip's width."""
    ends = [end for metrics in models.values() for end in metrics.accuracy_interval]
    step = 0.05 if max(ends) - min(ends) <= 0.35 else 0.1
    low: float = max(0.0, step * math.floor(min(ends) / step - 0.2))
    high: float = min(1.0, step * math.ceil(max(ends) / step + 0.2))

    def place(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    placed = []
    for name, metrics in models.items():
        left, right = map(place, metrics.accuracy_interval)
        placed.append({"name": name, "metrics": metrics, "at": place(metrics.accuracy), "left": left, "right": right})
    ticks = [round(low + number * step, 2) for number in range(round((high - low) / step) + 1)]
    return {"rows": placed, "ticks": [(f"{tick:.2f}", place(tick)) for tick in ticks]}


def _classes(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> list[View]:
    """Return precision, recall and F1 of each class."""
    rows = []
    for number, name in enumerate(names):
        hits = confusion[number][number]
        actual, predicted = sum(confusion[number]), sum(row[number] for row in confusion)
        rows.append(
            {
                "name": name,
                "rows": actual,
                "precision": hits / predicted if predicted else None,
                "recall": hits / actual if actual else None,
                "f1": 2 * hits / (actual + predicted) if actual + predicted else None,
            }
        )
    return rows


@cache
def environment(*folders: Path) -> Environment:
    """Return the templates of this folder and of `folders`, with the filters that all pages share."""
    made = Environment(
        loader=FileSystemLoader([*folders, Path(__file__).parent]), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    made.filters.update(number=number, fixed=fixed, signed=signed, duration=progress.duration, size=size, words=words)
    return made


def number(value: object) -> str:
    """Format whole numbers with thousands separators, others with four digits, lists with commas; None as a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return _decimal(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{words(key)} {number(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(number(part) for part in value)
    return str(value)


def _decimal(value: float) -> str:
    """Format with four digits, never in powers of ten; less than a millionth is 0."""
    if not math.isfinite(value):
        return "–"
    if abs(value) < 1e-6:
        return "0"
    if value.is_integer() or abs(value) >= 1000:
        return f"{value:,.0f}"
    places = 3 - math.floor(math.log10(abs(value)))
    text = f"{value:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def fixed(value: float | None, digits: int = 3) -> str:
    """Format with `digits` after the point; None as a dash."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def signed(value: float, digits: int = 1) -> str:
    """Format as +1.2 or −0.4, with a true minus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def size(count: float | None) -> str:
    """Format bytes in the largest decimal unit that fits."""
    if count is None:
        return "–"
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} bytes"


def words(key: object) -> str:
    """Return `bytes_per_token` as "bytes per token"."""
    return str(key).replace("_", " ")
