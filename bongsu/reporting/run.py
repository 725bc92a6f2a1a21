"""Everything a finished run left, put together for the report: figures, baselines, worst errors."""

from __future__ import annotations

import html
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from bongsu.arrays import Float64, Int64
from bongsu.corpus.cleaning import dedup_key
from bongsu.evaluation.bootstrap import compare_metric, paired_difference
from bongsu.evaluation.calibration import calibration, reliability
from bongsu.evaluation.metrics import classification_metrics, predictions, threshold_curve
from bongsu.evaluation.operating import operating_points
from bongsu.evaluation.repeats import repeats
from bongsu.evaluation.temperature import log_probabilities
from bongsu.files import read_json, redacted
from bongsu.finetuning.baselines import Baselines, load_baselines
from bongsu.finetuning.data import AnyExample, Data, load_data
from bongsu.finetuning.ensemble import Measured, in_file_order, load_measured
from bongsu.inference.explain import Word
from bongsu.model.encoder import EncoderConfig
from bongsu.model.io import read_config
from bongsu.model.sizes import parameter_count
from bongsu.progress import table
from bongsu.recipe import Recipe, Validation, show_recipe
from bongsu.reporting.charts import confusion_matrix, save_png, training_curves
from bongsu.reporting.groups import by_context, by_writing
from bongsu.reporting.page import render, verdict
from bongsu.tasks.classification import ClassificationTask
from bongsu.tasks.registry import AnyTask
from bongsu.tasks.task import Calibration, Outputs
from bongsu.training.log import read_log
from bongsu.workspace import Workspace

TFIDF = ClassificationTask.tfidf_name
MAJORITY = ClassificationTask.naive_name
WITH_TFIDF = "ensemble with TF-IDF"
ENCODER = "its encoder alone"
DEMONSTRATION = (
    "This run uses text that comes with the package or with Python itself (short messages written for the project, and the "
    "standard library's documentation). It shows every stage at work; it is far too little to make a detector to rely on."
)


def build_report(recipe: Recipe, workspace: Workspace, folder: Path) -> tuple[str, dict[str, Any]]:
    """The HTML page, and the figures it is made of in short (`sentences`, `classification`, `test`, `pretrain`)."""
    report: dict[str, Any] = {
        "name": recipe.name,
        "language": recipe.evaluate.lang,
        "created": time.strftime("%Y-%m-%d %H:%M"),
        "recipe": show_recipe(recipe),
        "notes": [],
        "stages": _stages(workspace),
        "reproduce": [f"bongsu run {workspace.path}/recipe.toml --out {workspace.path}-again"],
        "versions": _versions(),
    }
    summary: dict[str, Any] = {"sentences": []}
    if recipe.corpus:
        report["corpus"] = read_json(workspace.folder("corpus") / "corpus.json")
        report["tokenizer"] = read_json(workspace.folder("tokenizer") / "tokenizer_report.json")
        if any(source.path.startswith(("bongsu:", "python:")) for source in recipe.corpus.sources):
            report["notes"].append(DEMONSTRATION)
    if recipe.pretrain:
        _add_pretraining(recipe, workspace, folder, report, summary)
    if recipe.adapt:
        final = read_log(workspace.folder("adapt") / "checkpoints" / "metrics.jsonl")[-1]
        summary["adapt"] = final
        summary["sentences"].append(
            f"Adapted to the task's texts: masked-token accuracy {final['validation_accuracy']:.3f} and "
            f"{final['validation_bits_per_byte']:.2f} bits per byte on those held out, after {int(final['step']):,} steps."
        )
    if recipe.task:
        _add_task(recipe, workspace, folder, report, summary)
    report["summary"] = summary["sentences"]
    report["versions"]["seed"] = str(recipe.seed)
    return render(report), summary


def _add_pretraining(
    recipe: Recipe, workspace: Workspace, folder: Path, report: dict[str, Any], summary: dict[str, Any]
) -> None:
    stage = workspace.folder("pretrain")
    metrics = read_log(stage / "checkpoints" / "metrics.jsonl")
    measured = [record for record in metrics if "validation_loss" in record]
    config = EncoderConfig.from_dict(read_config(stage / "model", "masked_lm")["encoder"])
    report["model"] = {**config.to_dict(), "parameters": parameter_count(config)}
    report["pretrain"] = {"metrics": metrics, "final": measured[-1]}
    report["samples"] = read_json(stage / "samples.json")
    save_png(training_curves, folder / "pretraining.png", metrics)
    summary["pretrain"] = {"first": measured[0], "final": measured[-1], "parameters": report["model"]["parameters"]}
    final = measured[-1]
    summary["sentences"].append(
        f"Masked-token accuracy {final['validation_accuracy']:.3f} and {final['validation_bits_per_byte']:.2f} bits per byte "
        f"after {int(final['step']):,} steps, with {report['model']['parameters']:,} parameters."
    )


def _add_task(recipe: Recipe, workspace: Workspace, folder: Path, report: dict[str, Any], summary: dict[str, Any]) -> None:
    data = load_data(recipe, workspace.folder("finetune/data"))
    measured = load_measured(workspace.folder("finetune/model"))
    baselines = load_baselines(data, workspace.folder("finetune/baselines"))
    task = data.task
    if isinstance(task, ClassificationTask) and not task.pairs:
        _add_classification(recipe, workspace, folder, report, summary, task, data, measured, baselines)
        return
    protocol = _protocol(recipe.validation, len(measured.rows), len(data.splits))
    examples = data.take(measured.rows)
    calibration = measured.calibrations[0]
    held_out = {each.name: in_file_order(data, measured.rows, each.folds) for each in baselines.all()}
    section = _task_section(task, examples, measured.seeds[0], calibration, held_out, protocol, recipe.seed)
    title = "Measured by " + protocol.split(",")[0]
    sections = [("task", "The model", section)]
    summary["task"] = section
    summary["sentences"].append(_verdict(title, task, section))
    _print_task(task, section, "Rows held out")
    if data.test:
        tables = {each.name: each.test for each in baselines.all()}
        name = f"the test rows of {redacted(task.settings.test or '')}"
        test = _task_section(task, data.test, measured.test, measured.final, tables, name, recipe.seed)
        sections.insert(0, ("task-test", "On the test rows", test))
        summary["task_test"] = test
        summary["sentences"].append(_verdict("On the test rows", task, test))
        _print_task(task, test, "Test rows")
    report["task_sections"] = [{"key": name, "title": title, **part} for name, title, part in sections]
    report["verdict"] = summary["sentences"][-1]


def _task_section(
    task: AnyTask,
    examples: Sequence[AnyExample],
    probabilities: Outputs,
    calibration: Calibration,
    baselines: dict[str, Outputs],
    protocol: str,
    seed: int,
) -> dict[str, Any]:
    """Metrics of a model beside those of the baselines on the same rows, and how the main metric differs."""
    models, comparisons = {"this model": task.score(examples, probabilities, calibration)}, {}
    statistics = task.statistics(examples, probabilities, calibration)
    for name, outputs in baselines.items():
        chosen = task.calibrate(examples, outputs) if task.kind == "multilabel" else Calibration()
        theirs = task.probabilities(outputs, chosen)
        models[name] = task.score(examples, theirs, chosen)
        other = task.statistics(examples, theirs, chosen)
        comparisons[name] = asdict(compare_metric(statistics, other, task.main_metric, seed=seed))
    return {
        "protocol": protocol,
        "rows": len(examples),
        "metrics": [(metric.name, metric.title) for metric in task.metrics],
        "models": models,
        "comparisons": comparisons,
        "tables": [asdict(table) for table in task.tables(examples, probabilities, calibration)],
    }


def _verdict(where: str, task: AnyTask, section: dict[str, Any]) -> str:
    """One sentence: better than the strongest baseline, or not."""
    name, found = max(section["comparisons"].items(), key=lambda item: item[1]["b"])
    low, high = found["interval"]
    title = task.metrics[0].title
    word = "better than" if low > 0 else "worse than" if high < 0 else "no significant difference to"
    return (
        f"{where}: {title} {found['a']:.3f} ({found['a_interval'][0]:.3f} to {found['a_interval'][1]:.3f}), {word} {name} "
        f"({found['b']:.3f}): {found['difference']:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}."
    )


def _print_task(task: AnyTask, section: dict[str, Any], title: str) -> None:
    rows = [[name, *(metrics[metric.name] for metric in task.metrics)] for name, metrics in section["models"].items()]
    table(title, ["", *(metric.title for metric in task.metrics)], rows)


def _add_classification(
    recipe: Recipe,
    workspace: Workspace,
    folder: Path,
    report: dict[str, Any],
    summary: dict[str, Any],
    task: ClassificationTask,
    data: Data,
    measured: Measured,
    baselines: Baselines,
) -> None:
    rows, fold, neutral = measured.rows, measured.fold, Calibration()
    examples = data.take(rows)
    labels, names = task.classes_of(examples), task.names
    seeds = np.stack([outputs.values.astype(np.float64) for outputs in measured.seeds])
    probabilities = seeds[0]

    def table_of(outputs: Outputs) -> Float64:
        return task.probabilities(outputs, neutral).values.astype(np.float64)

    held_out = {each.name: table_of(in_file_order(data, rows, each.folds)) for each in baselines.all()}
    others = dict(held_out)
    if len(seeds) > 1:
        merged = task.merge([Outputs.of_rows(log_probabilities(table)) for table in seeds])
        others[f"ensemble of {len(seeds)} seeds"] = table_of(merged)
    if recipe.ensemble.tfidf:
        others[ENCODER] = table_of(measured.encoder)
    elif baselines.tfidf is not None:
        tfidf = in_file_order(data, rows, baselines.tfidf.folds)
        others[WITH_TFIDF] = table_of(task.merge([Outputs.of_rows(log_probabilities(probabilities)), tfidf]))
    protocol = _protocol(recipe.validation, len(rows), len(data.splits))
    section = classification_section(recipe, labels, probabilities, others, names, protocol)
    threshold = recipe.evaluate.resolved_threshold
    section["repeats"] = repeats(labels, seeds, fold, threshold)
    section["repeats"]["difference"] = paired_difference(
        labels, [predictions(table, threshold) for table in seeds], predictions(others[TFIDF]), seed=recipe.seed
    )
    section["calibration"] = calibration(labels, table_of(measured.raw), probabilities, fold)
    if len(names) == 2:
        section["operating"] = operating_points(labels, probabilities[:, 1], fold, recipe.evaluate.miss_cost)
    section["errors"] = worst(recipe, labels, probabilities, [example.raw[0] for example in examples], names)
    for error in section["errors"]:
        words = as_shares(measured.explanations.get(int(rows[error.pop("row")]), []))
        error["tokens"] = as_written(words, error["text"])
    section["groups"] = _groups(recipe, task, examples, labels, probabilities, held_out[TFIDF])
    section["robustness"] = [
        {"change": each.change, "texts": each.texts, "flipped": each.flipped / max(1, each.texts)} for each in measured.flips
    ]
    section["folds"] = [
        {"fold": number + 1, **_fold(labels[fold == number], probabilities[fold == number]), "epochs": epochs}
        for number, epochs in enumerate(measured.epochs)
    ]
    folds = workspace.folder("finetune/folds")
    section["curves"] = [
        read_log(folds / f"fold-{number}" / "checkpoints" / "metrics.jsonl") for number in range(len(data.splits))
    ]
    report["classification"] = section
    report["verdict"] = verdict(section["difference"], recipe.evaluate.lang)
    summary["classification"] = _short(section)
    summary["sentences"].append(_sentence("Measured by " + protocol.split(",")[0], section))
    save_png(confusion_matrix, folder / "confusion.png", section["model"]["confusion"], names)
    _print(section, "Rows held out")

    if data.test:
        test_labels, test_p = task.classes_of(data.test), measured.test.values.astype(np.float64)
        tables = {each.name: table_of(each.test) for each in baselines.all()}
        title = f"the test rows of {redacted(task.settings.test or '')}"
        section = classification_section(recipe, test_labels, test_p, tables, names, title)
        section["errors"] = worst(recipe, test_labels, test_p, [example.raw[0] for example in data.test], names)
        section["groups"] = _groups(recipe, task, data.test, test_labels, test_p, tables[TFIDF])
        report["test"] = section
        report["verdict"] = verdict(section["difference"], recipe.evaluate.lang)
        summary["test"] = _short(section)
        summary["sentences"].append(_sentence("On the test rows", section))
        save_png(confusion_matrix, folder / "confusion-test.png", section["model"]["confusion"], names)
        _print(section, "Test rows")


def as_shares(words: Sequence[Word]) -> list[dict[str, object]]:
    """Return each word with its weight, and its size as a share of the largest in the text."""
    largest = max((abs(word.weight) for word in words), default=0.0) or 1.0
    return [{"text": word.text, "weight": word.weight, "share": abs(word.weight) / largest} for word in words]


def as_written(words: list[dict[str, object]], text: str) -> list[dict[str, object]]:
    """Return explained words as they stand in the message, where cleaning has left their number as it was.

    Values of context columns, which the model reads in front of the text, stay as they are.
    """
    written = text.split()
    front = len(words) - len(written)
    if front < 0:
        return words
    return [{**word, "text": written[place - front] if place >= front else word["text"]} for place, word in enumerate(words)]


def _groups(
    recipe: Recipe,
    task: ClassificationTask,
    examples: Sequence[AnyExample],
    labels: Int64,
    probabilities: Float64,
    baseline: Float64,
) -> list[dict[str, Any]]:
    decided = predictions(probabilities, recipe.evaluate.resolved_threshold)
    figures = (labels, decided, predictions(baseline))
    language = recipe.evaluate.lang
    found = [by_writing([example.raw[0] for example in examples], *figures, language)]
    for place, column in enumerate(task.context_columns):
        values = [example.context[place] if place < len(example.context) else "" for example in examples]
        found.append(by_context(column, values, *figures, language))
    return [table for table in found if table["rows"]]


def classification_section(
    recipe: Recipe,
    labels: Int64,
    probabilities: Float64,
    baselines: dict[str, Float64],
    names: list[str],
    protocol: str,
) -> dict[str, Any]:
    """Figures of the model beside those of the baselines, on the same rows."""
    threshold = recipe.evaluate.resolved_threshold
    section: dict[str, Any] = {
        "names": names,
        "protocol": protocol,
        "model": classification_metrics(labels, probabilities, threshold),
        "baselines": {name: classification_metrics(labels, p) for name, p in baselines.items()},
        "difference": {
            **paired_difference(labels, predictions(probabilities, threshold), predictions(baselines[TFIDF]), seed=recipe.seed),
            "baseline": TFIDF,
        },
        "compared": {
            name: paired_difference(labels, predictions(p), predictions(baselines[TFIDF]), seed=recipe.seed)
            for name, p in baselines.items()
            if name != TFIDF
        },
        "reliability": reliability(labels, probabilities),
    }
    if len(names) == 2:
        section["scores"] = {"labels": labels.tolist(), "probabilities": probabilities[:, 1].tolist()}
        section["thresholds"] = threshold_curve(labels, probabilities[:, 1])
    return section


def worst(recipe: Recipe, labels: Int64, probabilities: Float64, raw: list[str], names: list[str]) -> list[dict[str, Any]]:
    """The errors the model was surest of, of messages that are the same but for signs and case the surest."""
    decided = predictions(probabilities, recipe.evaluate.resolved_threshold)
    wrong = np.flatnonzero(decided != labels)
    order = wrong[np.argsort(-probabilities[wrong, decided[wrong]], kind="stable")].tolist()
    first = set({dedup_key(raw[row]): row for row in reversed(order)}.values())
    surest = [row for row in order if row in first][: recipe.evaluate.worst]
    return [
        {
            "row": int(row),
            "text": html.unescape(raw[row]),
            "label": names[labels[row]],
            "predicted": names[decided[row]],
            "probability": float(probabilities[row, decided[row]]),
        }
        for row in surest
    ]


def _protocol(settings: Validation, rows: int, splits: int) -> str:
    if settings.leave_out:
        way = f"leaving out values of {settings.leave_out} in {splits} folds, no near-duplicate of a measured row trained on"
    else:
        way = f"{settings.folds}-fold cross-validation" if settings.folds else f"hold-out of {rows:,} rows"
        way += ", stratified; near-duplicates of a text stay in one fold"
    stopping = "no early stopping"
    if settings.development:
        stopping = "early stopping looks at a development split of the training rows"
    return (
        f"{way}; copies of a training text count once, with the label of their majority; {stopping}; the temperature of a "
        "fold's probabilities is chosen on other rows"
    )


def _fold(labels: Int64, probabilities: Float64) -> dict[str, Any]:
    metrics = classification_metrics(labels, probabilities)
    return {"accuracy": metrics["accuracy"], "f1": metrics["f1"], "rows": len(labels)}


def _short(section: dict[str, Any]) -> dict[str, Any]:
    kept = ("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "ece")
    kept_too = ("difference", "compared", "repeats", "calibration", "operating", "robustness")
    models = {"model": section["model"], **section["baselines"]}
    return {
        **{name: {key: metrics[key] for key in kept} for name, metrics in models.items()},
        **{key: section[key] for key in kept_too if key in section},
    }


def _sentence(where: str, section: dict[str, Any]) -> str:
    model, difference = section["model"], section["difference"]
    low, high = model["accuracy_interval"]
    again = section.get("repeats", {})
    luck = ""
    if again.get("interval"):
        least, most = again["interval"]
        luck = f" Over {again['count']} folds and seeds: {again['mean']:.3f} on average ({least:.3f} to {most:.3f})."
    ensemble = section.get("compared", {}).get(WITH_TFIDF)
    if ensemble:
        low_, high_ = ensemble["interval"]
        luck += (
            f" In an ensemble with TF-IDF {section['baselines'][WITH_TFIDF]['accuracy']:.3f}, {ensemble['difference']:+.1f} "
            f"points ({low_:+.1f} to {high_:+.1f})."
        )
    return (
        f"{where}: accuracy {model['accuracy']:.3f} ({low:.3f} to {high:.3f}) against "
        f"{section['baselines'][MAJORITY]['accuracy']:.3f} for the majority class and "
        f"{section['baselines'][TFIDF]['accuracy']:.3f} for {TFIDF}; difference to it {difference['difference']:+.1f} points, "
        f"95 % interval {difference['interval'][0]:+.1f} to {difference['interval'][1]:+.1f}.{luck}"
    )


def _print(section: dict[str, Any], title: str) -> None:
    models = {"this detector": section["model"], **section["baselines"]}
    keys = ("accuracy", "precision", "recall", "f1", "roc_auc", "ece")
    rows = [[name, *(metrics[key] if metrics[key] is not None else "–" for key in keys)] for name, metrics in models.items()]
    table(title, ["", *keys], rows)


def _stages(workspace: Workspace) -> list[dict[str, Any]]:
    names = ("corpus", "tokenizer", "tokens", "pretrain", "adapt", "finetune/folds", "finetune/refit", "finetune/model")
    seconds = {name: workspace.seconds(name) for name in names}
    return [{"name": name, "seconds": value} for name, value in seconds.items() if value is not None]


def _versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0], "machine": f"{platform.system()} {platform.machine()}"}
    for package in ("bongsu", "torch", "numpy", "tokenizers", "scikit-learn"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
