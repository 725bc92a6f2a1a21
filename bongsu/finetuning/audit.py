"""Auditing a labelled file: copies, near-duplicates, conflicting labels, overlap with the test file, likely label errors."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bongsu import progress
from bongsu.arrays import Float64, Int64
from bongsu.corpus.cleaning import dedup_key
from bongsu.errors import DataError
from bongsu.finetuning.data import Data
from bongsu.finetuning.ensemble import load_measured
from bongsu.finetuning.splits import folds, near_duplicate_groups
from bongsu.printable import unformula
from bongsu.tasks.classification import ClassificationTask
from bongsu.tasks.task import Calibration, Example

FOLDS = 5
COLUMNS = ("id", "correction", "label", "suggested", "probability", "reasons", "group", "text")


@dataclass(frozen=True)
class Audit:
    """The findings; rows are numbers into the labelled file."""

    exact: list[list[int]]
    """Groups of rows with the same text, character for character."""
    near: list[list[int]]
    """Groups of near-duplicates, exact ones included."""
    conflicts: list[list[int]]
    """Exact groups with more than one label."""
    near_conflicts: list[list[int]]
    """Near groups with more than one label."""
    test_copies: list[int]
    """Rows of the test file whose letters and digits, links and mentions aside, are those of a row here."""
    test_near_duplicates: list[int]
    """Rows of the test file with a near-duplicate in the labelled file."""
    suspects: list[int]
    """Rows whose label looks wrong, the most certain first."""
    probabilities: Float64
    """[rows, classes], from models that saw no near-duplicate of the row; zeros for rows that were not measured."""


def audit(
    task: ClassificationTask,
    examples: Sequence[Example[str]],
    test_texts: Sequence[str] = (),
    probabilities: Float64 | None = None,
    seed: int = 0,
) -> Audit:
    """Audit a labelled file.

    Args:
        test_texts: cleaned texts that share no row with it, such as those of Kaggle's test file.
        probabilities: [rows, classes] out of fold, such as a run's; by default those of TF-IDF with logistic regression.
    """
    rows, labels = len(examples), task.classes_of(examples)
    cleaned = [example.cleaned for example in examples]
    groups = near_duplicate_groups([*cleaned, *test_texts])
    exact = _groups_of_many([example.raw for example in examples])
    near = _groups_of_many(groups[:rows].tolist())
    known = set(groups[:rows].tolist())
    keys = {dedup_key(text) for text in cleaned}
    if probabilities is None:
        probabilities = out_of_fold(task, examples, groups[:rows], seed)
    measured = np.flatnonzero(probabilities.sum(axis=1) > 0)
    suspects = measured[label_errors(labels[measured], probabilities[measured])]
    return Audit(
        exact=exact,
        near=near,
        conflicts=[group for group in exact if len(set(labels[group].tolist())) > 1],
        near_conflicts=[group for group in near if len(set(labels[group].tolist())) > 1],
        test_copies=[number for number, text in enumerate(test_texts) if dedup_key(text) in keys],
        test_near_duplicates=[number for number, group in enumerate(groups[rows:].tolist()) if group in known],
        suspects=suspects.tolist(),
        probabilities=probabilities,
    )


def label_errors(labels: Int64, probabilities: Float64) -> Int64:
    """Return rows whose label looks wrong by confident learning (Northcutt, Jiang and Chuang 2021), the most certain first.

    A class is confidently there when its probability reaches the mean it has on rows that carry its label. A row is
    suspected when the likeliest of its confident classes is not its label.

    Args:
        labels: [N].
        probabilities: [N, C], from models that did not learn from the row.
    """
    classes = probabilities.shape[1]
    own = probabilities[np.arange(len(labels)), labels]
    usual = np.array([own[labels == number].mean() if (labels == number).any() else np.inf for number in range(classes)])
    confident = np.where(probabilities >= usual, probabilities, -np.inf)
    best = confident.argmax(axis=1)
    wrong = np.flatnonzero(confident.max(axis=1) > confident[np.arange(len(labels)), labels])
    margin = own[wrong] - probabilities[wrong, best[wrong]]
    return wrong[np.argsort(margin, kind="stable")].astype(np.int64)


def out_of_fold(task: ClassificationTask, examples: Sequence[Example[str]], groups: Int64, seed: int) -> Float64:
    """Return TF-IDF's probabilities of each row, learned from rows that hold no near-duplicate of it."""
    table = np.zeros((len(examples), len(task.schema.labels)))
    try:
        splits = folds(task.classes_of(examples), groups, FOLDS, seed, task.schema.labels)
    except DataError as error:
        raise DataError(f"label errors are looked for with {FOLDS} folds, and {error}") from None
    with progress.bar("looking for label errors", FOLDS, "folds") as bar:
        for train, held_out in splits:
            model = task.fit_tfidf([examples[row] for row in train])
            outputs = task.tfidf_outputs(model, [examples[row] for row in held_out])
            table[held_out] = task.probabilities(outputs, Calibration()).values
            bar.advance()
    return table


def render(found: Audit, task: ClassificationTask, examples: Sequence[Example[str]]) -> bytes:
    """Return a CSV of the rows to review, by group, suspects first; `task.corrections` reads it.

    `correction` is empty: fill in a label, or "drop".
    """
    labels = task.classes_of(examples)
    reasons: dict[int, list[str]] = defaultdict(list)
    group_of: dict[int, int] = {}
    for group in found.near_conflicts:
        for row in group:
            group_of[row] = group[0]
            reasons[row].append("near-duplicates with another label")
    for row in found.suspects:
        reasons[row].append("label looks wrong")
    for group in found.near:
        for row in group:
            group_of.setdefault(row, group[0])
            if row not in reasons:
                reasons[row].append("has near-duplicates")
    place = {row: number for number, row in enumerate(found.suspects)}

    def order(row: int) -> tuple[int, int, int]:
        kind = 0 if "near-duplicates with another label" in reasons[row] else 1 if row in place else 2
        return kind, place.get(row, 0) if kind == 1 else group_of.get(row, row), row

    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in sorted(reasons, key=order):
        example, best = examples[row], int(found.probabilities[row].argmax())
        suggested = task.schema.labels[best] if row in place else ""
        number = f"{found.probabilities[row, labels[row]]:.3f}"
        about = "; ".join(reasons[row]), group_of.get(row, "")
        cells = [example.id, "", example.target, suggested, number, *map(str, about), " ".join(example.raw[0].split())]
        writer.writerow(map(unformula, cells))
    return buffer.getvalue().encode()


def summary(found: Audit, test_rows: int) -> list[list[object]]:
    """Return the rows of a table: finding, groups, rows."""

    def count(groups: list[list[int]]) -> list[object]:
        return [len(groups), sum(map(len, groups))]

    lines: list[list[object]] = [
        ["texts that occur more than once", *count(found.exact)],
        ["… of them with more than one label", *count(found.conflicts)],
        ["near-duplicates (those above included)", *count(found.near)],
        ["… of them with more than one label", *count(found.near_conflicts)],
        ["labels that look wrong", "", len(found.suspects)],
    ]
    if test_rows:
        lines.append(["test rows with the same words here", "", len(found.test_copies)])
        lines.append(["test rows with a near-duplicate here (those above included)", "", len(found.test_near_duplicates)])
    return lines


def of_run(data: Data, model_folder: Path, examples: Sequence[Example[str]]) -> Float64:
    """Return the out-of-fold probabilities of a run, for the same rows.

    Raises:
        DataError: when they are of other rows.
    """
    if [example.id for example in data.training] != [example.id for example in examples]:
        raise DataError(f"{model_folder}: the run's rows are others; audit the file the run was trained on.")
    measured = load_measured(model_folder)
    table = np.zeros((len(examples), len(data.task.schema.labels)))
    table[measured.rows] = measured.seeds[0].values
    return table


def _groups_of_many(keys: Sequence[object]) -> list[list[int]]:
    """Return the rows that share a key, for keys of more than one row."""
    members: dict[object, list[int]] = defaultdict(list)
    for row, name in enumerate(keys):
        members[name].append(row)
    return [group for group in members.values() if len(group) > 1]
