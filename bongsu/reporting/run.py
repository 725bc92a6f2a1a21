"""Everything a finished run left, put together for the report: figures, baselines, worst errors."""

from __future__ import annotations

import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bongsu.evaluation.bootstrap import paired_difference
from bongsu.evaluation.calibration import calibration, reliability
from bongsu.evaluation.metrics import classification_metrics, predictions, threshold_curve
from bongsu.evaluation.operating import operating_points
from bongsu.evaluation.repeats import repeats
from bongsu.files import read_json
from bongsu.finetuning.baselines import majority, tfidf_logistic
from bongsu.inference.calibration import ensemble
from bongsu.model.encoder import EncoderConfig
from bongsu.model.sizes import parameter_count
from bongsu.progress import table
from bongsu.recipe import Finetune, Recipe, dump_recipe
from bongsu.reporting.charts import confusion_matrix, save_png, training_curves
from bongsu.reporting.page import render
from bongsu.training.log import read_log
from bongsu.workspace import Workspace

Float64 = npt.NDArray[np.float64]
TFIDF = "TF-IDF + logistic regression"
MAJORITY = "majority class"
TOGETHER = "with TF-IDF together"


def build_report(recipe: Recipe, workspace: Workspace, folder: Path) -> tuple[str, dict[str, Any]]:
    """The HTML page, and the figures it is made of in short (`sentences`, `classification`, `test`, `pretrain`)."""
    report: dict[str, Any] = {
        "name": recipe.name,
        "created": time.strftime("%Y-%m-%d %H:%M"),
        "recipe": dump_recipe(recipe),
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
            report["notes"].append(
                "This run uses text that comes with the package or with Python itself (short messages written for the project, "
                "and the standard library's documentation). It shows every stage at work; it is far too little to make a "
                "detector to rely on."
            )
    if recipe.pretrain:
        _add_pretraining(recipe, workspace, folder, report, summary)
    if recipe.adapt:
        final = read_log(workspace.folder("adapt") / "checkpoints" / "metrics.jsonl")[-1]
        summary["adapt"] = final
        summary["sentences"].append(
            f"Adapted to the task's texts: masked-token accuracy {final['validation_accuracy']:.3f} and "
            f"{final['validation_bits_per_byte']:.2f} bits per byte on those held out, after {int(final['step']):,} steps."
        )
    if recipe.intermediate:
        stage = workspace.folder("intermediate")
        final, counts = read_log(stage / "checkpoints" / "metrics.jsonl")[-1], read_json(stage / "sources.json")["labels"]
        summary["intermediate"] = {**final, "labels": counts}
        summary["sentences"].append(
            f"Trained on {sum(counts.values()):,} texts of {len(counts)} other labels: accuracy "
            f"{final['validation_accuracy']:.3f} on those held out."
        )
    if recipe.finetune:
        _add_classification(recipe, workspace, folder, report, summary)
    report["summary"] = summary["sentences"]
    report["versions"]["seed"] = str(recipe.seed)
    return render(report), summary


def _add_pretraining(
    recipe: Recipe, workspace: Workspace, folder: Path, report: dict[str, Any], summary: dict[str, Any]
) -> None:
    stage = workspace.folder("pretrain")
    metrics = read_log(stage / "checkpoints" / "metrics.jsonl")
    measured = [record for record in metrics if "validation_loss" in record]
    config = EncoderConfig.from_recipe(recipe.model, report["tokenizer"]["vocab_size"])
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


def _add_classification(
    recipe: Recipe, workspace: Workspace, folder: Path, report: dict[str, Any], summary: dict[str, Any]
) -> None:
    settings = recipe.finetune
    assert settings is not None
    stage = workspace.folder("finetune")
    data = read_json(stage / "predictions.json")
    labels, texts = np.array(data["labels"]), data["texts"]
    rows, probabilities = np.array(data["rows"]), np.array(data["probabilities"])
    names = [settings.names.get(name, name) for name in data["classes"]]

    majority_p, tfidf_p = (np.zeros((len(labels), len(names))) for _ in range(2))
    for split in data["splits"]:
        train, held = np.array(split["train"]), np.array(split["held"])
        majority_p[held] = majority(labels[train], len(names), len(held))
        tfidf_p[held] = tfidf_logistic(
            [texts[row] for row in train], labels[train], [texts[row] for row in held], n_classes=len(names)
        )
    protocol = _protocol(settings, len(rows), len(data["splits"]))
    fold, seeds = np.array(data["fold"]), np.array(data["seeds"])
    others = {MAJORITY: majority_p[rows], TFIDF: tfidf_p[rows]}
    members = np.array(data.get("members", seeds))
    if "teacher" in data:
        others["one of its teachers"] = members[0]
    if len(members) > 1:
        others[f"{len(members)} seeds together"] = ensemble(*members)
    if "teacher" in data:
        others["its teachers together"] = np.array(data["teacher"])
    if settings.tfidf:
        others["its encoder alone"] = np.array(data["encoder"][0])
    else:
        others[TOGETHER] = ensemble(ensemble(*seeds), tfidf_p[rows])
    section = classification_section(recipe, labels[rows], probabilities, others, names, protocol)
    threshold = recipe.evaluate.resolved_threshold
    section["repeats"] = repeats(labels[rows], seeds, fold, threshold)
    section["repeats"]["difference"] = paired_difference(
        labels[rows], [predictions(table, threshold) for table in seeds], predictions(others[TFIDF]), seed=recipe.seed
    )
    section["calibration"] = calibration(labels[rows], np.array(data["uncalibrated"]), probabilities, fold)
    if len(names) == 2:
        section["operating"] = operating_points(labels[rows], probabilities[:, 1], fold, recipe.evaluate.miss_cost)
    section["errors"] = worst(recipe, labels[rows], probabilities, [data["raw"][row] for row in rows], names)
    for error in section["errors"]:
        error["tokens"] = data["explained"].get(str(rows[error.pop("row")]))
    section["robustness"] = data["robustness"]
    section["folds"] = [
        {"fold": number + 1, **_fold(labels, rows, probabilities, np.array(data["fold"]), number), "epochs": epochs}
        for number, epochs in enumerate(data["epochs"])
    ]
    section["curves"] = [read_log(stage / curve) for curve in data["curves"]]
    report["classification"] = section
    summary["classification"] = _short(section)
    summary["sentences"].append(_sentence("Measured by " + protocol.split(",")[0], section))
    save_png(confusion_matrix, folder / "confusion.png", section["model"]["confusion"], names)
    _print(section, "Rows held out")

    if (stage / "test.json").is_file():
        test = read_json(stage / "test.json")
        test_labels, test_p = np.array(test["labels"]), np.array(test["probabilities"])
        baselines = {
            MAJORITY: majority(labels, len(names), len(test_labels)),
            TFIDF: tfidf_logistic(texts, labels, test["texts"], n_classes=len(names)),
        }
        section = classification_section(recipe, test_labels, test_p, baselines, names, f"the test rows of {settings.test}")
        section["errors"] = worst(recipe, test_labels, test_p, test["raw"], names)
        report["test"] = section
        summary["test"] = _short(section)
        summary["sentences"].append(_sentence("On the test rows", section))
        save_png(confusion_matrix, folder / "confusion-test.png", section["model"]["confusion"], names)
        _print(section, "Test rows")


def classification_section(
    recipe: Recipe,
    labels: npt.NDArray[np.int64],
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


def worst(
    recipe: Recipe, labels: npt.NDArray[np.int64], probabilities: Float64, raw: list[str], names: list[str]
) -> list[dict[str, Any]]:
    """The errors the model was surest of."""
    decided = predictions(probabilities, recipe.evaluate.resolved_threshold)
    wrong = np.flatnonzero(decided != labels)
    surest = wrong[np.argsort(-probabilities[wrong, decided[wrong]], kind="stable")][: recipe.evaluate.worst]
    return [
        {
            "row": int(row),
            "text": raw[row],
            "label": names[labels[row]],
            "predicted": names[decided[row]],
            "probability": float(probabilities[row, decided[row]]),
        }
        for row in surest
    ]


def _protocol(settings: Finetune, rows: int, splits: int) -> str:
    if settings.leave_out:
        way = f"leaving out values of {settings.leave_out} in {splits} folds, no near-twin of a row measured on trained on"
    else:
        way = f"{settings.folds}-fold cross-validation" if settings.folds else f"hold-out of {rows:,} rows"
        way += ", stratified; near-twins of a text stay in one fold"
    stopping = "no early stopping"
    if settings.development:
        stopping = "early stopping looks at a development split of the training rows"
    return (
        f"{way}; copies of a training text count once, with the label of their majority; {stopping}; the temperature of a "
        "fold's probabilities is chosen on other rows"
    )


def _fold(labels: Any, rows: Any, probabilities: Float64, fold: Any, number: int) -> dict[str, Any]:
    mine = fold == number
    metrics = classification_metrics(labels[rows[mine]], probabilities[mine])
    return {"accuracy": metrics["accuracy"], "f1": metrics["f1"], "rows": int(mine.sum())}


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
    together = section.get("compared", {}).get(TOGETHER)
    if together:
        low_, high_ = together["interval"]
        luck += (
            f" With TF-IDF together {section['baselines'][TOGETHER]['accuracy']:.3f}, {together['difference']:+.1f} points "
            f"({low_:+.1f} to {high_:+.1f})."
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
    names = ("corpus", "tokenizer", "tokens", "pretrain", "adapt", "intermediate", "finetune")
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
