"""Comparison of finished runs: metrics, and where they measured the same rows the interval of the difference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bongsu.arrays import Float64
from bongsu.errors import WorkspaceError
from bongsu.evaluation.bootstrap import Comparison, compare_metric
from bongsu.export.bundle import run_recipe
from bongsu.files import read_json, redacted_tree
from bongsu.finetuning.data import AnyExample, load_data
from bongsu.finetuning.ensemble import load_measured
from bongsu.recipe import Recipe
from bongsu.tasks.registry import AnyTask
from bongsu.tasks.task import Calibration, Outputs

Key = tuple[tuple[str, ...], str, int]
"""A row: its texts, its label, and which of the rows with these texts and this label it is."""


@dataclass(frozen=True)
class Rows:
    """The measurements of a run on some rows."""

    keys: list[Key]
    """[N], in the order of the file; no two are the same."""
    metrics: dict[str, float]
    """Every metric of the task by name: the mean over seeds."""
    statistics: Float64
    """[N, K], the mean over seeds of what decides the main metric (`Task.statistics`)."""


@dataclass(frozen=True)
class Compared:
    """The comparable results of a run."""

    path: Path
    recipe: Recipe
    task: AnyTask | None
    """None for a run that only pre-trained."""
    parts: dict[str, Rows]
    """Its "rows held out", and where there are any its "test rows"."""
    pretraining: dict[str, float]
    """Metrics of masked-language modelling on held-out text; empty without pre-training."""


@dataclass(frozen=True)
class Difference:
    """How the main metric of a run differs from another's on the rows that both measured."""

    rows: int
    all_rows: bool
    """Whether these are all rows of both."""
    metric: str
    higher_is_better: bool
    found: Comparison

    @property
    def better(self) -> bool | None:
        """Whether the second run is better than the first; None when the interval holds zero."""
        if not self.found.significant:
            return None
        return (self.found.difference > 0) == self.higher_is_better


def load_compared(run: Path) -> Compared:
    """Load the results of a finished run.

    Raises:
        WorkspaceError: when the folder is no run's, or nothing has been measured in it.
    """
    recipe = run_recipe(run)
    pretraining: dict[str, float] = {}
    summary = run / "evaluation" / "summary.json"
    if summary.is_file() and "pretrain" in (known := read_json(summary)):
        final = known["pretrain"]["final"]
        pretraining = {
            "masked-token accuracy": final["validation_accuracy"],
            "bits per byte": final["validation_bits_per_byte"],
        }
    folder = run / "finetune" / "model"
    if recipe.task is None or not (folder / "measured" / "measured.json").is_file():
        if not pretraining:
            raise WorkspaceError(f"{run}: nothing has been measured here yet; `bongsu run {run}/recipe.toml --out {run}`.")
        return Compared(run, recipe, None, {}, pretraining)
    data, measured = load_data(recipe, run / "finetune" / "data"), load_measured(folder)
    held_out = data.take(measured.rows)
    parts = {"rows held out": _rows(data.task, held_out, measured.seeds, measured.calibration)}
    if data.test:
        parts["test rows"] = _rows(data.task, data.test, [measured.test], measured.final)
    return Compared(run, recipe, data.task, parts, pretraining)


def difference(first: Compared, second: Compared, part: str) -> Difference | None:
    """Return how much better `second` is than `first`, by the paired bootstrap; None when they share no rows or no metric."""
    if part not in first.parts or part not in second.parts or first.task is None or second.task is None:
        return None
    if first.task.kind != second.task.kind:
        return None
    one, other = first.parts[part], second.parts[part]
    place = {key: number for number, key in enumerate(one.keys)}
    pairs = [(place[key], number) for number, key in enumerate(other.keys) if key in place]
    if not pairs:
        return None
    mine, theirs = (np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True))
    found = compare_metric(other.statistics[theirs], one.statistics[mine], first.task.main_metric)
    metric = first.task.metrics[0]
    complete = len(pairs) == len(one.keys) == len(other.keys)
    return Difference(len(pairs), complete, metric.title, metric.higher_is_better, found)


def differing_settings(runs: Sequence[Compared]) -> dict[str, list[str]]:
    """Return the settings that not all runs have in common, with each run's value."""
    flat = [dict(_flat("", redacted_tree(run.recipe.model_dump(mode="json")))) for run in runs]
    keys = dict.fromkeys(key for settings in flat for key in settings)
    table = {key: [settings.get(key, "–") for settings in flat] for key in keys}
    return {key: values for key, values in table.items() if len(set(values)) > 1 and key != "name"}


def _flat(prefix: str, value: object) -> Iterable[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), item)
    else:
        yield prefix, "–" if value is None else str(value)


def _rows(task: AnyTask, examples: Sequence[AnyExample], seeds: Sequence[Outputs], calibration: Calibration) -> Rows:
    scores = [task.score(examples, outputs, calibration) for outputs in seeds]
    statistics = np.mean([task.statistics(examples, outputs, calibration) for outputs in seeds], axis=0)
    mean = {metric.name: float(np.mean([each[metric.name] for each in scores])) for metric in task.metrics}
    return Rows(_keys(examples), mean, statistics)


def _keys(examples: Sequence[AnyExample]) -> list[Key]:
    seen: Counter[tuple[tuple[str, ...], str]] = Counter()
    keys: list[Key] = []
    for example in examples:
        row = (example.raw, str(example.target))
        keys.append((*row, seen[row]))
        seen[row] += 1
    return keys
