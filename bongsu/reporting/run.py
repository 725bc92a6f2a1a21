"""Collect the report of a finished run: metrics, baselines, mistakes."""

from __future__ import annotations

import html
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from bongsu.arrays import Float64, Int64
from bongsu.corpus.cleaning import dedup_key
from bongsu.corpus.stored import read_corpus_report
from bongsu.evaluation.bootstrap import PairedDifference, compare_metric, paired_difference
from bongsu.evaluation.calibration import calibration, reliability
from bongsu.evaluation.metrics import classification_metrics, predictions, threshold_curve
from bongsu.evaluation.operating import operating_points
from bongsu.evaluation.repeats import repeats
from bongsu.evaluation.temperature import log_probabilities
from bongsu.files import read_json, redacted
from bongsu.finetuning.baselines import Baselines, load_baselines
from bongsu.finetuning.data import AnyExample, Data, load_data
from bongsu.finetuning.ensemble import Calibrated, Measured, calibrate_by_fold, cross_calibrated, in_file_order, load_measured
from bongsu.inference.explain import Word
from bongsu.model.io import read_encoder_config
from bongsu.model.sizes import parameter_count
from bongsu.progress import table
from bongsu.recipe import Recipe, Validation, show_recipe
from bongsu.reporting.charts import confusion_matrix, save_png, training_curves
from bongsu.reporting.groups import Groups, by_context, by_writing
from bongsu.reporting.korean import translate
from bongsu.reporting.page import verdict
from bongsu.reporting.sections import (
    ClassificationSection,
    Fold,
    Mistake,
    Pretraining,
    Report,
    Scores,
    ShadedWord,
    StageTime,
    TaskSection,
)
from bongsu.tasks.classification import ClassificationTask
from bongsu.tasks.registry import AnyTask
from bongsu.tasks.task import Calibration, Outputs
from bongsu.training.log import read_log
from bongsu.workspace import Workspace

TFIDF = ClassificationTask.tfidf_name
MAJORITY = ClassificationTask.naive_name
WITH_TFIDF = "ensemble with TF-IDF"
ENCODER = "its encoder alone"
_PRINTED = ("accuracy", "precision", "recall", "f1", "roc_auc", "ece")
_CROSS_FITS = 5
DEMONSTRATION = (
    "This run uses text that comes with the package or with Python itself (short messages written for the project, and the "
    "standard library's documentation). It shows every stage at work; it is far too little to make a detector to rely on."
)


def build_report(recipe: Recipe, workspace: Workspace, folder: Path) -> tuple[Report, dict[str, object]]:
    """Collect the report of a finished run, and the sections of `summary.json`; save its charts in `folder`."""
    report = Report(
        name=recipe.name,
        language=recipe.evaluate.lang,
        created=time.strftime("%Y-%m-%d %H:%M"),
        stages=_stages(workspace),
        recipe=show_recipe(recipe),
        reproduce=[f"bongsu run {workspace.path}/recipe.toml --out {workspace.path}-again"],
        versions={**_versions(), "seed": str(recipe.seed)},
    )
    sections: dict[str, object] = {}
    if recipe.corpus:
        report.corpus = read_corpus_report(workspace.folder("corpus"))
        report.tokenizer = read_json(workspace.folder("tokenizer") / "tokenizer_report.json")
        if any(source.path.startswith(("bongsu:", "python:")) for source in recipe.corpus.sources):
            report.notes.append(DEMONSTRATION)
    if recipe.pretrain:
        sections["pretrain"] = _add_pretraining(workspace, folder, report)
    if recipe.adapt:
        sections["adapt"] = final = read_log(workspace.folder("adapt") / "checkpoints" / "metrics.jsonl")[-1]
        report.summary.append(
            f"Adapted to the task's texts: masked-token accuracy {final['validation_accuracy']:.3f} and "
            f"{final['validation_bits_per_byte']:.2f} bits per byte on those held out, after {int(final['step']):,} steps."
        )
    if recipe.task:
        data = load_data(recipe, workspace.folder("finetune/data"))
        measured = load_measured(workspace.folder("finetune/model"))
        baselines = load_baselines(data, workspace.folder("finetune/baselines"))
        task = data.task
        if isinstance(task, ClassificationTask) and not task.pairs:
            sections |= _add_classification(recipe, workspace, folder, report, task, data, measured, baselines)
        else:
            sections |= _add_task(recipe, report, data, measured, baselines)
    return report, sections


def _add_pretraining(workspace: Workspace, folder: Path, report: Report) -> dict[str, object]:
    stage = workspace.folder("pretrain")
    metrics = read_log(stage / "checkpoints" / "metrics.jsonl")
    measured = [record for record in metrics if "validation_loss" in record]
    final = measured[-1]
    config = read_encoder_config(stage / "model")
    parameters = parameter_count(config)
    report.model = {**config.to_dict(), "parameters": parameters}
    report.pretrain = Pretraining(metrics, final)
    report.samples = read_json(stage / "samples.json")
    save_png(training_curves, folder / "pretraining.png", metrics)
    report.summary.append(
        f"Masked-token accuracy {final['validation_accuracy']:.3f} and {final['validation_bits_per_byte']:.2f} bits per byte "
        f"after {int(final['step']):,} steps, with {parameters:,} parameters."
    )
    return {"first": measured[0], "final": final, "parameters": parameters}


def _add_task(recipe: Recipe, report: Report, data: Data, measured: Measured, baselines: Baselines) -> dict[str, object]:
    task, fold = data.task, measured.fold
    examples = data.take(measured.rows)
    way = (recipe.validation, len(examples), len(data.splits))
    outputs = {each.name: in_file_order(data, measured.rows, each.folds) for each in baselines.all()}
    if len(data.splits) == 1:  # thresholds of the baselines are cross-fitted on the rows held out
        fold = np.arange(len(examples)) % _CROSS_FITS
    held_out = {name: calibrate_by_fold(task, examples, each, fold) for name, each in outputs.items()}
    model = Calibrated(measured.seeds[0], measured.calibration)
    report.task = task_section(task, examples, model, held_out, _protocol(*way, recipe.evaluate.lang), recipe.seed)
    report.summary.append(_task_sentence("Measured by " + _protocol(*way).split(",")[0], task, report.task))
    _print_task(task, report.task, "Rows held out")
    sections: dict[str, object] = {"task": report.task}
    if data.test:
        tested = {}
        for each in baselines.all():
            chosen = task.calibrate(examples, outputs[each.name]) if task.calibrates_baselines else Calibration()
            tested[each.name] = Calibrated(task.probabilities(each.test, chosen), chosen)
        name = f"the test rows of {redacted(task.settings.test or '')}"
        report.task_test = task_section(task, data.test, Calibrated(measured.test, measured.final), tested, name, recipe.seed)
        report.summary.append(_task_sentence("On the test rows", task, report.task_test))
        _print_task(task, report.task_test, "Test rows")
        sections["task_test"] = report.task_test
    report.verdict = report.summary[-1]
    return sections


def task_section(
    task: AnyTask,
    examples: Sequence[AnyExample],
    model: Calibrated,
    baselines: dict[str, Calibrated],
    protocol: str,
    seed: int,
) -> TaskSection:
    """Return the metrics of a model and of the baselines on the same rows, and how the main metric differs."""
    models = {"this model": task.score(examples, *model)}
    statistics = task.statistics(examples, *model)
    comparisons = {}
    for name, baseline in baselines.items():
        models[name] = task.score(examples, *baseline)
        other = task.statistics(examples, *baseline)
        comparisons[name] = compare_metric(statistics, other, task.main_metric, seed=seed)
    metrics = [(metric.name, metric.title) for metric in task.metrics]
    return TaskSection(protocol, len(examples), metrics, models, comparisons, task.tables(examples, *model))


def _task_sentence(where: str, task: AnyTask, section: TaskSection) -> str:
    """Return in one sentence whether a model is better than the strongest baseline."""
    name, found = max(section.comparisons.items(), key=lambda item: item[1].b)
    low, high = found.interval
    title = task.metrics[0].title
    word = "better than" if low > 0 else "worse than" if high < 0 else "no significant difference to"
    return (
        f"{where}: {title} {found.a:.3f} ({found.a_interval[0]:.3f} to {found.a_interval[1]:.3f}), {word} {name} "
        f"({found.b:.3f}): {found.difference:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}."
    )


def _print_task(task: AnyTask, section: TaskSection, title: str) -> None:
    rows = [[name, *(metrics[metric.name] for metric in task.metrics)] for name, metrics in section.models.items()]
    table(title, ["", *(metric.title for metric in task.metrics)], rows)


def _add_classification(
    recipe: Recipe,
    workspace: Workspace,
    folder: Path,
    report: Report,
    task: ClassificationTask,
    data: Data,
    measured: Measured,
    baselines: Baselines,
) -> dict[str, object]:
    way = (recipe.validation, len(measured.rows), len(data.splits))
    logs = [workspace.folder("finetune/folds") / f"fold-{number}" / "checkpoints" for number in range(len(data.splits))]
    section = held_out_section(recipe, task, data, measured, baselines, _protocol(*way, recipe.evaluate.lang))
    section = replace(section, curves=[read_log(path / "metrics.jsonl") for path in logs])
    report.classification = section
    _conclude(report, section, "Measured by " + _protocol(*way).split(",")[0], "Rows held out", folder / "confusion.png")
    sections: dict[str, object] = {"classification": _short(section)}
    if data.test:
        labels, probabilities = task.classes_of(data.test), measured.test.values.astype(np.float64)
        tables = {each.name: _table(task, each.test) for each in baselines.all()}
        title = f"the test rows of {redacted(task.settings.test or '')}"
        report.test = replace(
            classification_section(recipe, labels, probabilities, tables, task.names, title),
            mistakes=worst(recipe, labels, probabilities, [example.raw[0] for example in data.test], task.names),
            groups=_groups(recipe, task, data.test, labels, probabilities, tables[TFIDF]),
        )
        _conclude(report, report.test, "On the test rows", "Test rows", folder / "confusion-test.png")
        sections["test"] = _short(report.test)
    return sections


def _conclude(report: Report, section: ClassificationSection, where: str, title: str, chart: Path) -> None:
    """Add the verdict and a sentence to the report, save the confusion matrix and print the metrics."""
    assert section.difference is not None
    report.verdict = verdict(section.difference, section.baseline, report.language)
    report.summary.append(_sentence(where, section))
    save_png(confusion_matrix, chart, section.model.confusion, section.names)
    models = {"this detector": section.model, **section.baselines}
    rows = [
        [name, *("–" if (value := getattr(each, key)) is None else value for key in _PRINTED)] for name, each in models.items()
    ]
    table(title, ["", *_PRINTED], rows)


def held_out_section(
    recipe: Recipe, task: ClassificationTask, data: Data, measured: Measured, baselines: Baselines, protocol: str
) -> ClassificationSection:
    """Return everything that the report says of the rows held out, but the curves of training."""
    rows, fold = measured.rows, measured.fold
    examples = data.take(rows)
    labels, names = task.classes_of(examples), task.names
    seeds = np.stack([outputs.values.astype(np.float64) for outputs in measured.seeds])
    probabilities = seeds[0]
    held_out = {each.name: _table(task, in_file_order(data, rows, each.folds)) for each in baselines.all()}
    others = dict(held_out)
    if len(seeds) > 1:
        merged = task.merge([Outputs.of_rows(log_probabilities(table)) for table in seeds])
        others[f"ensemble of {len(seeds)} seeds"] = _table(task, merged)
    if recipe.ensemble.tfidf:
        others[ENCODER] = _table(task, measured.encoder)
    elif baselines.tfidf is not None:
        tfidf = cross_calibrated(task, examples, in_file_order(data, rows, baselines.tfidf.folds), fold)
        both = [Outputs.of_rows(log_probabilities(table)) for table in (probabilities, tfidf.values)]
        others[WITH_TFIDF] = _table(task, task.merge(both))
    threshold = recipe.evaluate.resolved_threshold
    decided = [predictions(table, threshold) for table in seeds]
    mistakes = worst(recipe, labels, probabilities, [example.raw[0] for example in examples], names)
    return replace(
        classification_section(recipe, labels, probabilities, others, names, protocol),
        repeats=repeats(labels, seeds, fold, threshold),
        repeats_difference=paired_difference(labels, decided, predictions(others[TFIDF]), seed=recipe.seed),
        calibration=calibration(labels, _table(task, measured.raw), probabilities, fold),
        operating=operating_points(labels, probabilities[:, 1], fold, recipe.evaluate.miss_cost) if len(names) == 2 else [],
        mistakes=[
            replace(each, words=as_written(shade(measured.explanations.get(int(rows[each.row]), [])), each.text))
            for each in mistakes
        ],
        groups=_groups(recipe, task, examples, labels, probabilities, held_out[TFIDF]),
        robustness=measured.flips,
        folds=[
            _fold(number, labels[fold == number], probabilities[fold == number], epochs)
            for number, epochs in enumerate(measured.epochs)
        ],
    )


def _table(task: ClassificationTask, outputs: Outputs) -> Float64:
    """Return probabilities [N, C] of outputs, not calibrated."""
    return task.probabilities(outputs, Calibration()).values.astype(np.float64)


def shade(words: Sequence[Word]) -> list[ShadedWord]:
    """Return each word with its weight, also relative to the largest in the text."""
    largest = max((abs(word.weight) for word in words), default=0.0) or 1.0
    return [ShadedWord(word.text, word.weight, abs(word.weight) / largest) for word in words]


def as_written(words: list[ShadedWord], text: str) -> list[ShadedWord]:
    """Return explained words as they stand in the message, where cleaning has left their number as it was.

    Values of context columns, which the model reads in front of the text, stay as they are.
    """
    written = text.split()
    front = len(words) - len(written)
    if front < 0:
        return words
    return [word if place < front else word._replace(text=written[place - front]) for place, word in enumerate(words)]


def _groups(
    recipe: Recipe,
    task: ClassificationTask,
    examples: Sequence[AnyExample],
    labels: Int64,
    probabilities: Float64,
    baseline: Float64,
) -> list[Groups]:
    classes = (labels, predictions(probabilities, recipe.evaluate.resolved_threshold), predictions(baseline))
    language = recipe.evaluate.lang
    found = [by_writing([example.raw[0] for example in examples], *classes, language)]
    for place, column in enumerate(task.context_columns):
        values = [example.context[place] if place < len(example.context) else "" for example in examples]
        found.append(by_context(column, values, *classes, language))
    return [each for each in found if each.rows]


def classification_section(
    recipe: Recipe,
    labels: Int64,
    probabilities: Float64,
    baselines: dict[str, Float64],
    names: list[str],
    protocol: str,
) -> ClassificationSection:
    """Return the metrics of a model and of the baselines, and their differences to TF-IDF, on the same rows."""
    threshold, binary = recipe.evaluate.resolved_threshold, len(names) == 2
    reference = predictions(baselines[TFIDF])

    def difference(decided: Int64) -> PairedDifference:
        return paired_difference(labels, decided, reference, seed=recipe.seed)

    return ClassificationSection(
        names=names,
        protocol=protocol,
        model=classification_metrics(labels, probabilities, threshold),
        baselines={name: classification_metrics(labels, each) for name, each in baselines.items()},
        baseline=TFIDF,
        difference=difference(predictions(probabilities, threshold)),
        compared={name: difference(predictions(each)) for name, each in baselines.items() if name != TFIDF},
        reliability=reliability(labels, probabilities),
        scores=Scores(labels.tolist(), probabilities[:, 1].tolist()) if binary else None,
        thresholds=threshold_curve(labels, probabilities[:, 1]) if binary else None,
    )


def worst(recipe: Recipe, labels: Int64, probabilities: Float64, raw: list[str], names: list[str]) -> list[Mistake]:
    """Return the most confident mistakes; of messages that differ only in punctuation and case the most confident one."""
    decided = predictions(probabilities, recipe.evaluate.resolved_threshold)
    wrong = np.flatnonzero(decided != labels)
    order = wrong[np.argsort(-probabilities[wrong, decided[wrong]], kind="stable")].tolist()
    first = set({dedup_key(raw[row]): row for row in reversed(order)}.values())
    surest = [row for row in order if row in first][: recipe.evaluate.worst]
    return [
        Mistake(
            row=int(row),
            text=html.unescape(raw[row]),
            label=names[labels[row]],
            predicted=names[decided[row]],
            probability=float(probabilities[row, decided[row]]),
        )
        for row in surest
    ]


def _protocol(settings: Validation, rows: int, splits: int, language: str = "en") -> str:
    """Return how the rows were measured, in "en" or "ko"."""
    if settings.leave_out:
        leaving = "leaving out values of {column} in {splits} folds, no near-duplicate of a measured row trained on"
        parts = [translate(leaving, language, column=settings.leave_out, splits=splits)]
    else:
        if settings.folds:
            way = translate("{folds}-fold cross-validation", language, folds=settings.folds)
        else:
            way = translate("hold-out of {rows} rows", language, rows=f"{rows:,}")
        parts = [way + translate(", stratified", language), translate("near-duplicates of a text stay in one fold", language)]
    others = (
        "copies of a training text count once, with the label of their majority",
        "early stopping looks at a development split of the training rows" if settings.development else "no early stopping",
        "the temperature of a fold's probabilities is chosen on other rows",
    )
    return "; ".join([*parts, *(translate(part, language) for part in others)])


def _fold(number: int, labels: Int64, probabilities: Float64, epochs: float) -> Fold:
    metrics = classification_metrics(labels, probabilities)
    return Fold(number + 1, len(labels), metrics.accuracy, metrics.f1, epochs)


def _short(section: ClassificationSection) -> dict[str, object]:
    """Return a section as it stands in `summary.json`."""
    kept = ("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "ece")
    models = {"model": section.model, **section.baselines}
    short: dict[str, object] = {name: {key: getattr(each, key) for key in kept} for name, each in models.items()}
    assert section.difference is not None
    short["difference"] = {**vars(section.difference), "baseline": section.baseline}
    short["compared"] = section.compared
    if section.repeats:
        flips = [{"change": each.change, "texts": each.texts, "flipped": each.share} for each in section.robustness]
        short["repeats"] = {**vars(section.repeats), "difference": section.repeats_difference}
        short |= {"calibration": section.calibration, "robustness": flips}
    return {**short, "operating": section.operating} if section.operating else short


def _sentence(where: str, section: ClassificationSection) -> str:
    model, difference, again = section.model, section.difference, section.repeats
    assert difference is not None
    low, high = model.accuracy_interval
    rest = ""
    if again and again.interval:
        least, most = again.interval
        rest = f" Over {again.count} folds and seeds: {again.mean:.3f} on average ({least:.3f} to {most:.3f})."
    if ensemble := section.compared.get(WITH_TFIDF):
        rest += (
            f" In an ensemble with TF-IDF {section.baselines[WITH_TFIDF].accuracy:.3f}, {ensemble.difference:+.1f} "
            f"points ({ensemble.interval[0]:+.1f} to {ensemble.interval[1]:+.1f})."
        )
    return (
        f"{where}: accuracy {model.accuracy:.3f} ({low:.3f} to {high:.3f}) against "
        f"{section.baselines[MAJORITY].accuracy:.3f} for the majority class and "
        f"{section.baselines[TFIDF].accuracy:.3f} for {TFIDF}; difference to it {difference.difference:+.1f} points, "
        f"95 % interval {difference.interval[0]:+.1f} to {difference.interval[1]:+.1f}.{rest}"
    )


def _stages(workspace: Workspace) -> list[StageTime]:
    names = ("corpus", "tokenizer", "tokens", "pretrain", "adapt", "finetune/folds", "finetune/refit", "finetune/model")
    seconds = {name: workspace.seconds(name) for name in names}
    return [StageTime(name, value) for name, value in seconds.items() if value is not None]


def _versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0], "machine": f"{platform.system()} {platform.machine()}"}
    for package in ("bongsu", "torch", "numpy", "tokenizers", "scikit-learn"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
