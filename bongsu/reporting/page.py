"""One self-contained HTML page that tells what a run did and how good it is: nothing from outside, light or dark, any width."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from bongsu import progress
from bongsu.reporting import charts as figures
from bongsu.reporting.drawing import own_ids
from bongsu.reporting.korean import KOREAN, translate

Tree = Mapping[str, Any]
_METRICS = (
    ("accuracy", "Accuracy"), ("precision", "Precision"), ("recall", "Recall"), ("f1", "F1"), ("roc_auc", "ROC-AUC"),
    ("log_loss", "Log loss"), ("ece", "ECE"),
)  # fmt: skip
_SHOWN_STEPS = 12
_BESIDE = ("TF-IDF + logistic regression", "majority class")
_TITLES = {
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


def render(report: Tree) -> str:
    """The page as HTML text.

    Args:
        report: `name`, and whatever of these a run has; a section without data is left out:
            `language` ("en" or "ko"), `created`, `verdict`, `summary` [str],
            `notes` [str], `stages` [{name, seconds}], `corpus` (corpus.json), `tokenizer`,
            `model` {key: value}, `pretrain` {metrics, final}, `samples` [{tokens: [{text, segment, masked, target, guess,
            probability}]}], `classification` and `test` {names, protocol, model, baselines, difference, folds, reliability,
            thresholds, errors, curves, scores {labels, probabilities}}, `recipe` (TOML), `reproduce` [command], `versions`.
    """
    page = {key: value for key, value in report.items() if value}
    language = page.setdefault("language", "en")

    def t(text: str, **values: object) -> str:
        return translate(text, language, **values)

    for key in ("classification", "test"):
        if key in page:
            page[key] = _classification(page[key], key, t)
    if "pretrain" in page:
        page["pretrain"] = _pretraining(page["pretrain"])
    if "samples" in page:
        page["samples"] = [sentences(sample["tokens"]) for sample in page["samples"] if sample.get("tokens")]
    if "stages" in page:
        longest = max(stage.get("seconds") or 0 for stage in page["stages"])
        page["longest"] = longest or 1
        page["total_seconds"] = sum(stage.get("seconds") or 0 for stage in page["stages"])
    titles = {**_TITLES, **{part["key"]: part["title"] for part in page.get("task_sections", [])}}
    page["titles"] = {key: (translate(title, language), KOREAN.get(title, "")) for key, title in titles.items()}
    page["contents"] = _contents(page)
    page["tiles"] = _tiles(page, t)
    page["notes"] = [t(note) for note in page.get("notes", [])]
    html = environment().get_template("report.html").render(page, lang=language, t=t, korean=lambda text: KOREAN.get(text, ""))
    return html.encode("utf-8", "replace").decode()  # half a surrogate pair from somebody's data must not cost the report


def verdict(difference: Tree, language: str, metric: str = "accuracy") -> str:
    """Return in one sentence whether a model is better than its baseline.

    Args:
        difference: what `paired_difference` returns, in points, and the `baseline`'s name.
    """
    low, high = difference["interval"]
    points, kind = difference["difference"], "Better" if low > 0 else "Worse" if high < 0 else "No better"
    text = {
        "Better": "Better than {baseline} by {points} points of {metric}, 95 % interval {low} to {high}.",
        "Worse": "Worse than {baseline} by {points} points of {metric}, 95 % interval {low} to {high}.",
        "No better": "No better than {baseline}, as far as these {rows} rows tell: {points} points of {metric}, "
        "95 % interval {low} to {high}.",
    }[kind]
    if kind == "No better":
        shown = {"points": signed(points), "low": signed(low), "high": signed(high)}
    else:
        ends = sorted((abs(low), abs(high)))
        shown = {"points": f"{abs(points):.1f}", "low": f"{ends[0]:.1f}", "high": f"{ends[1]:.1f}"}
    named = {"baseline": difference["baseline"], "metric": metric}
    shown |= {key: translate(value, language) for key, value in named.items()}
    return translate(text, language, rows=number(difference.get("rows")), **shown)


def _contents(page: Tree) -> list[str]:
    """Return the ids of the sections that the page has, in order."""
    there = {
        **{part["key"]: True for part in page.get("task_sections", [])},
        **{key: key in page for key in ("test", "classification")},
        "encoder": "model" in page or "pretrain" in page,
        **{key: key in page for key in ("samples", "corpus", "tokenizer", "stages")},
        "reproduce": any(key in page for key in ("reproduce", "versions", "recipe")),
    }
    return [key for key, shown in there.items() if shown]


def _tiles(page: Tree, t: Translate) -> list[dict[str, Any]]:
    """Return the figures of the page's head, each with the baselines' beside it."""
    tiles = []

    def add(title: str, value: str, *beside: str) -> None:
        tiles.append({"title": title, "value": value, "beside": list(beside)})

    if main := page.get("test") or page.get("classification"):
        model, baselines = main["model"], main.get("baselines") or {}
        chosen = [name for name in _BESIDE if name in baselines] or list(baselines)[:1]
        shown = {name: baselines[name] for name in chosen}
        add(
            t("Accuracy"), fixed(model["accuracy"]), *[f"{t(name)} {fixed(one.get('accuracy'))}" for name, one in shown.items()]
        )
        binary = len(main["names"]) == 2
        if "f1" in model:
            lines = [f"{t(name)} {fixed(one.get('f1'))}" for name, one in shown.items()]
            add(f"F1 ({main['names'][1]})" if binary else "F1 (macro)", fixed(model["f1"]), *lines)
        if binary and model.get("confusion"):
            for title, row, column in (("Missed", 1, 0), ("False alarms", 0, 1)):
                value = f"{model['confusion'][row][column]:,}"
                lines = [f"{t(name)} {one['confusion'][row][column]:,}" for name, one in shown.items() if one.get("confusion")]
                add(t(title), value, *lines)
    final = page["pretrain"]["final"] if "pretrain" in page else {}
    if "validation_bits_per_byte" in final:
        add(t("Bits per byte"), fixed(final["validation_bits_per_byte"], 2), t("masked tokens, held out"))
    if "validation_accuracy" in final:
        add(t("Masked-token accuracy"), fixed(final["validation_accuracy"]), t("held out"))
    if parameters := page.get("model", {}).get("parameters"):
        add(t("Parameters"), f"{parameters / 1e6:.1f} M" if parameters >= 1e5 else number(parameters))
    if page.get("total_seconds"):
        add(t("Time"), progress.duration(page["total_seconds"]))
    return tiles


def sentences(tokens: Sequence[Tree]) -> list[dict[str, Any]]:
    """A packed row taken apart into its sentences: [{segment, tokens}], each token told whether it goes on with a word."""
    groups: list[dict[str, Any]] = []
    for token in tokens:
        if not groups or groups[-1]["segment"] != token["segment"]:
            groups.append({"segment": token["segment"], "tokens": []})
        truth = token.get("target") if token.get("masked") else token["text"]
        joined = bool(groups[-1]["tokens"]) and not (truth or " ").startswith(" ")
        groups[-1]["tokens"].append({**token, "joined": joined})
    return groups


def _pretraining(pretrain: Tree) -> dict[str, Any]:
    metrics = pretrain.get("metrics") or []
    panels = [
        panel
        for panel, (_, training, validation) in figures.PANELS.items()
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
        "final": pretrain.get("final") or (measured[-1] if measured else {}),
        "figures": [Markup(figures.training_curves(metrics, panels=(panel,))) for panel in panels],
        "measured": measured[::-1][::every][::-1],
        "speeds": speeds,
    }


def _classification(section: Tree, key: str, t: Translate) -> dict[str, Any]:
    """The section with its figures drawn and its tables laid out."""
    model = section["model"]
    names = [str(name) for name in section.get("names") or range(len(model.get("confusion") or ()))]
    models = {"this detector": model, **(section.get("baselines") or {})}
    drawn = []
    curves = [curve for curve in section.get("curves") or [] if curve]
    if section.get("reliability"):
        drawn.append(figures.reliability_diagram(section["reliability"]))
    if section.get("thresholds"):
        drawn.append(figures.threshold_plot(section["thresholds"], model.get("threshold")))
    if section.get("scores"):
        scores = section["scores"]
        drawn.append(figures.probability_histogram(scores["labels"], scores["probabilities"], names))
    confusion = model.get("confusion")

    def mine(svg: str) -> Markup:
        return Markup(own_ids(svg, f"{key}-"))

    return {
        **section,
        "key": key,
        "names": names,
        "error_groups": _error_groups(section.get("errors") or [], names, t),
        "coloured": any(error.get("tokens") for error in section.get("errors") or []),
        "metrics": [(name, t(title)) for name, title in _METRICS if any(name in figures_ for figures_ in models.values())],
        "models": models,
        "best": {name: _best(name, models) for name, _ in _METRICS},
        "strip": _strip(models),
        "confusion_figures": [
            mine(figures.confusion_matrix(confusion, names, parts=(part,))) for part in ("counts", "shares") if confusion
        ],
        "classes": _classes(confusion, names) if confusion else [],
        "figures": [mine(svg) for svg in drawn],
        "curve_figures": [
            mine(figures.training_curves(*curves, panels=(panel,))) for panel in ("loss", "accuracy") if curves
        ],
        "fold_keys": [name for name in ("rows", "accuracy", "f1", "roc_auc", "loss", "epochs", "steps")
                      if any(name in fold for fold in section.get("folds") or [])],
    }  # fmt: skip


def _error_groups(errors: Sequence[Tree], names: Sequence[str], t: Translate) -> list[dict[str, Any]]:
    """Of two classes the misses first, then the false alarms; of more all mistakes together."""
    if len(names) != 2:
        groups = [(t("Where it was surest and wrong"), list(errors))]
    else:
        groups = [
            (t("Missed “{name}”, the surest mistakes first", name=names[1]), [e for e in errors if e["label"] == names[1]]),
            (t("False alarms, the surest first"), [e for e in errors if e["label"] != names[1]]),
        ]
    return [{"title": title, "errors": members} for title, members in groups if members]


def _best(name: str, models: Mapping[str, Tree]) -> float | None:
    """The best value of a metric over the models, as it is shown."""
    if name == "ece":  # the majority class's is near 0, and says nothing
        return None
    values = [round(float(metrics[name]), 3) for metrics in models.values() if metrics.get(name) is not None]
    if len(values) < 2:
        return None
    return min(values) if name == "log_loss" else max(values)


def _strip(models: Mapping[str, Tree]) -> dict[str, Any] | None:
    """Accuracies on one scale with their intervals, as percentages of the strip's width."""
    rows = [(name, metrics["accuracy"], metrics.get("accuracy_interval")) for name, metrics in models.items()]
    ends = [end for _, value, interval in rows for end in (interval or [value])]
    step = 0.05 if max(ends) - min(ends) <= 0.35 else 0.1
    low: float = max(0.0, step * math.floor(min(ends) / step - 0.2))
    high: float = min(1.0, step * math.ceil(max(ends) / step + 0.2))

    def place(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    placed = []
    for name, value, interval in rows:
        left, right = interval or (value, value)
        placed.append(
            {"name": name, "value": value, "interval": interval, "at": place(value), "left": place(left), "right": place(right)}
        )
    ticks = [round(low + number * step, 2) for number in range(round((high - low) / step) + 1)]
    return {"rows": placed, "ticks": [(f"{tick:.2f}", place(tick)) for tick in ticks]}


def _classes(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Precision, recall and F1 of each class."""
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
    """Templates of this folder and of `folders`, with the filters that all pages share."""
    made = Environment(
        loader=FileSystemLoader([*folders, Path(__file__).parent]), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    made.filters.update(number=number, fixed=fixed, signed=signed, duration=progress.duration, size=size, words=words)
    return made


def number(value: object) -> str:
    """Whole numbers with thousands set apart, others with four digits, lists with commas between; a dash for nothing."""
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
    """Four digits, never in powers of ten; what is smaller than a millionth is 0."""
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
    """A figure with `digits` after the point; a dash when there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def signed(value: float, digits: int = 1) -> str:
    """+1.2 or −0.4, with a true minus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def size(count: float | None) -> str:
    """Bytes in the largest decimal unit that fits."""
    if count is None:
        return "–"
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} bytes"


def words(key: object) -> str:
    """`bytes_per_token` → `bytes per token`."""
    return str(key).replace("_", " ")
