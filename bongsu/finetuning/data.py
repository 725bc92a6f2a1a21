"""The first stage of fine-tuning: rows, near-duplicates and splits.

Output: `train.jsonl` and `test.jsonl` (an `Example` a line), `rows.json` (counts of each file's rows),
`schema.json`, `groups.npy` and `splits.json`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from bongsu import progress
from bongsu.arrays import Int64
from bongsu.errors import DataError, MissingColumnError
from bongsu.files import atomic_file, read_json, redacted, write_bytes, write_json
from bongsu.finetuning.splits import Split, near_duplicate_groups, protocol_splits
from bongsu.recipe import Recipe
from bongsu.tasks.registry import AnyTask, build_task
from bongsu.tasks.task import Example, Schema

AnyExample = Example[Any]
RARE = 20  # strata with fewer different texts are joined

# Columns of the "Disasters on social media" file (Figure Eight), which holds the labels of Kaggle's test rows.
_TEST_LABELS = {"choose_one", "choose_one:confidence", "choose_one_gold", "_unit_id", "_golden", "_trusted_judgments"}


@dataclass(frozen=True)
class Data:
    """The rows of a run."""

    task: AnyTask
    """With the schema that its training rows determine."""
    training: list[AnyExample]
    test: list[AnyExample]
    """Empty when the recipe names no test file."""
    groups: Int64
    """[training rows]: near-duplicates share a number."""
    splits: list[Split]
    """Of each fold the rows trained on and the rows measured on."""

    def take(self, rows: Int64) -> list[AnyExample]:
        """Return training rows by number."""
        return [self.training[row] for row in rows.tolist()]


def prepare_data(recipe: Recipe, folder: Path) -> None:
    """Read the labelled files, find near-duplicates and split; write everything to `folder`.

    Raises:
        DataError: when a file cannot be used, or has too few rows to be measured on.
    """
    assert recipe.task is not None
    settings, validation = recipe.task, recipe.validation
    task = build_task(settings)
    stats = {"train": task.new_stats(), "test": task.new_stats()}
    training = task.read(settings.train, settings.where, validation.leave_out, stats["train"])
    task.schema = task.learn_schema(training)
    test = task.read(settings.test, settings.test_where, stats=stats["test"]) if settings.test else []
    task.check(test, settings.test or "")
    groups = near_duplicate_groups([example.cleaned for example in training])
    values = [example.group for example in training]
    strata = strata_of(task, training, groups)
    if not task.strict_strata and len(set(task.strata(training).tolist())) > 1 and not strata.any():
        progress.note("validation: too few different texts of each kind to give every fold the same share; folds are random")
    splits = protocol_splits(validation, strata, values, groups, recipe.seed, class_names(task, strata, training))
    check_splits(task, training, splits, validation.leave_out)
    _write_examples(folder / "train.jsonl", training)
    _write_examples(folder / "test.jsonl", test)
    paths = {"train": settings.train, **({"test": settings.test} if settings.test else {})}
    write_json(folder / "rows.json", {name: {"path": redacted(path), **stats[name].as_dict()} for name, path in paths.items()})
    write_json(folder / "schema.json", asdict(task.schema))
    with atomic_file(folder / "groups.npy") as file:
        np.save(file, groups)
    write_json(folder / "splits.json", [{"train": train.tolist(), "held_out": held.tolist()} for train, held in splits])
    progress.note(f"data: {len(training):,} rows to train on and measure, {len(test):,} test rows")


def load_data(recipe: Recipe, folder: Path) -> Data:
    """Load the output of `prepare_data`."""
    assert recipe.task is not None
    task = build_task(recipe.task, Schema(**read_json(folder / "schema.json")))
    splits = [
        (np.array(split["train"], dtype=np.int64), np.array(split["held_out"], dtype=np.int64))
        for split in read_json(folder / "splits.json")
    ]
    groups = np.load(folder / "groups.npy")
    return Data(task, _read_examples(folder / "train.jsonl"), _read_examples(folder / "test.jsonl"), groups, splits)


def strata_of(task: AnyTask, examples: list[AnyExample], groups: Int64) -> Int64:
    """Return a number [N] for each example that folds are stratified by; rare ones are joined, unless they are classes.

    Args:
        groups: [N], near-duplicates share a number and count as one text.
    """
    strata = np.unique(task.strata(examples), return_inverse=True)[1].astype(np.int64)
    if not task.strict_strata and len(strata):
        strata = np.unique(np.where(_texts_of(strata, groups)[strata] < RARE, -1, strata), return_inverse=True)[1]
        if _texts_of(strata, groups).min() < RARE:  # what was joined is rare still
            strata = np.zeros(len(strata), dtype=np.int64)
    return strata.astype(np.int64)


def _texts_of(strata: Int64, groups: Int64) -> Int64:
    """Return how many different texts each stratum has, [strata]."""
    return np.bincount(np.unique(np.stack([strata, groups]), axis=1)[0]).astype(np.int64)


def class_names(task: AnyTask, strata: Int64, examples: list[AnyExample]) -> list[str]:
    """Return the name of each number that `strata_of` gave, for messages; empty where they are no classes."""
    if not task.strict_strata:
        return []
    first = np.unique(strata, return_index=True)[1]
    return [str(examples[row].target) for row in first.tolist()]


def check_splits(task: AnyTask, training: list[AnyExample], splits: list[Split], column: str | None) -> None:
    """Say of each fold which classes are not measured in it, where the task has classes.

    Args:
        column: the one whose values are left out, if folds are made by it.

    Raises:
        DataError: when a fold has no row on one side, or none of a class to train on, naming both.
    """
    everywhere = set(task.strata(training).tolist()) if task.strict_strata else set()
    names = {stratum: str(each.target) for stratum, each in zip(task.strata(training).tolist(), training, strict=True)}
    for number, (train, held) in enumerate(splits, 1):
        left_out = sorted({training[row].group for row in held.tolist()}) if column else []
        shown = f" ({column}: {', '.join(left_out[:3])}{' …' if len(left_out) > 3 else ''})" if left_out else ""
        fold = f"validation: fold {number} of {len(splits)}{shown}"
        if not len(train) or not len(held):
            side = "train on" if not len(train) else "measure on"
            raise DataError(f"{fold} has no row to {side}; use fewer folds, or leave nothing out.")
        if not everywhere:
            continue
        learned = set(task.strata(task.unique([training[row] for row in train.tolist()])).tolist())
        if missing := sorted(everywhere - learned):
            raise DataError(
                f"{fold} has no row of class {names[missing[0]]!r} to train on (copies of a text count once, and not at all "
                "when half of them have another label); use fewer folds, or leave nothing out."
            )
        measured = set(task.strata([training[row] for row in held.tolist()]).tolist())
        if unseen := ", ".join(repr(names[each]) for each in sorted(everywhere - measured)):
            progress.note(progress.escape(f"{fold} measures no row of class {unseen}; such folds are not stratified"))


def check_columns(recipe: Recipe) -> None:
    """Look at the first row of the labelled files, so that a missing column is found before hours of pre-training.

    Raises:
        DataError: naming the columns there are, or the one that gives the labels of Kaggle's test rows away.
    """
    settings = recipe.task
    assert settings is not None
    task = build_task(settings)
    leave_out = [recipe.validation.leave_out] if recipe.validation.leave_out else []
    try:
        row = task.first_row(settings.train, settings.where, [*task.columns, *leave_out], sorted(_TEST_LABELS))
        if settings.test:
            task.first_row(settings.test, settings.test_where, task.columns)
    except MissingColumnError as error:
        raise error.advise(f"Change it with --set {setting_of(recipe, error.column)}.") from None
    if recipe.predict is not None and recipe.predict.format == "kaggle" and (found := sorted(_TEST_LABELS & row.keys())):
        raise DataError(
            f"{settings.train}: column {found[0]!r} belongs to the file that Kaggle drew its test rows from, with their "
            "labels. A submission trained on them measures nothing; use Kaggle's own train.csv."
        )


def setting_of(recipe: Recipe, column: str) -> str:
    """Return the setting that names a column, as `--set` takes it: `task.text=COLUMN`, `task.context=[]`."""
    assert recipe.task is not None
    for key, value in recipe.task:
        if value == column and key not in ("kind", "train", "test"):
            return f"task.{key}=COLUMN"
        if isinstance(value, list) and column in value:
            rest = [each for each in value if each != column]
            return f"'task.{key}={orjson.dumps(rest).decode()}'"
        if isinstance(value, dict) and column in value:
            return f"task.{key}.COLUMN=VALUE"
    return "validation.leave_out=COLUMN"


def _write_examples(path: Path, examples: list[AnyExample]) -> None:
    write_bytes(path, b"".join(orjson.dumps(example) + b"\n" for example in examples))


def _read_examples(path: Path) -> list[AnyExample]:
    rows = (orjson.loads(line) for line in path.read_bytes().splitlines())
    parts = ("inputs", "raw", "context")
    return [Example(**{**row, **{name: tuple(row.get(name, ())) for name in parts}}) for row in rows]
