"""What a labelled file hides: copies, near-twins, copies with other labels, twins in the test file, labels that look wrong."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bongsu import progress
from bongsu.corpus.cleaning import key
from bongsu.errors import DataError
from bongsu.files import read_json
from bongsu.finetuning.baselines import tfidf_logistic
from bongsu.finetuning.data import Labelled
from bongsu.finetuning.splits import folds, groups_of

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
FOLDS = 5
COLUMNS = ("id", "correction", "label", "suggested", "probability", "reasons", "group", "text")


@dataclass(frozen=True)
class Audit:
    """What was found; rows are numbers into the labelled file."""

    exact: list[list[int]]
    """Groups of rows with the same text, character for character."""
    near: list[list[int]]
    """Groups of near-twins, exact ones among them."""
    conflicts: list[list[int]]
    """Exact groups with more than one label."""
    near_conflicts: list[list[int]]
    """Near groups with more than one label."""
    test_copies: list[int]
    """Rows of the test file whose letters and digits, links and mentions aside, are those of a row here."""
    test_twins: list[int]
    """Rows of the test file with a near-twin in the labelled file."""
    suspects: list[int]
    """Rows whose label looks wrong, the most certain first."""
    probabilities: Float64
    """[rows, classes]: of each class, from rows that do not hold a twin of this one; zeros for rows nobody measured."""


def audit(data: Labelled, test_texts: Sequence[str] = (), probabilities: Float64 | None = None, seed: int = 0) -> Audit:
    """Looks through a labelled file.

    Args:
        test_texts: cleaned texts that share no row with it, such as those of Kaggle's test file.
        probabilities: [rows, classes] out of fold, such as a run's; by default those of TF-IDF with logistic regression.
    """
    rows = len(data.labels)
    groups = groups_of([*data.cleaned, *test_texts])
    exact = _groups_of_many(data.raw)
    near = _groups_of_many(groups[:rows].tolist())
    known = set(groups[:rows].tolist())
    keys = {key(text) for text in data.cleaned}
    if probabilities is None:
        probabilities = out_of_fold(data, groups[:rows], seed)
    measured = np.flatnonzero(probabilities.sum(axis=1) > 0)
    suspects = measured[label_errors(data.labels[measured], probabilities[measured])]
    return Audit(
        exact=exact,
        near=near,
        conflicts=[group for group in exact if len(set(data.labels[group].tolist())) > 1],
        near_conflicts=[group for group in near if len(set(data.labels[group].tolist())) > 1],
        test_copies=[number for number, text in enumerate(test_texts) if key(text) in keys],
        test_twins=[number for number, group in enumerate(groups[rows:].tolist()) if group in known],
        suspects=suspects.tolist(),
        probabilities=probabilities,
    )


def label_errors(labels: Int64, probabilities: Float64) -> Int64:
    """Rows whose label looks wrong by confident learning (Northcutt, Jiang and Chuang 2021), the most certain first.

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


def out_of_fold(data: Labelled, groups: Int64, seed: int) -> Float64:
    """TF-IDF's probabilities of each row, learned from rows that hold no twin of it."""
    table = np.zeros((len(data.labels), len(data.classes)))
    with progress.bar("looking for label errors", FOLDS, "folds") as bar:
        for train, held in folds(data.labels, groups, FOLDS, seed):
            texts = [data.texts[row] for row in train], [data.texts[row] for row in held]
            table[held] = tfidf_logistic(texts[0], data.labels[train], texts[1], n_classes=len(data.classes))
            bar.advance()
    return table


def render(found: Audit, data: Labelled) -> bytes:
    """A CSV of every row worth a look, groups together and suspects first; `finetune.corrections` reads it.

    `correction` is empty: fill in a label, or "drop".
    """
    reasons: dict[int, list[str]] = defaultdict(list)
    group_of: dict[int, int] = {}
    for group in found.near_conflicts:
        for row in group:
            group_of[row] = group[0]
            reasons[row].append("twins with another label")
    for row in found.suspects:
        reasons[row].append("label looks wrong")
    for group in found.near:
        for row in group:
            group_of.setdefault(row, group[0])
            if row not in reasons:
                reasons[row].append("has twins")
    place = {row: number for number, row in enumerate(found.suspects)}

    def order(row: int) -> tuple[int, int, int]:
        kind = 0 if "twins with another label" in reasons[row] else 1 if row in place else 2
        return kind, place.get(row, 0) if kind == 1 else group_of.get(row, row), row

    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in sorted(reasons, key=order):
        label, best = int(data.labels[row]), int(found.probabilities[row].argmax())
        suggested = data.classes[best] if row in place else ""
        number = f"{found.probabilities[row, label]:.3f}"
        about = "; ".join(reasons[row]), group_of.get(row, "")
        writer.writerow([data.ids[row], "", data.classes[label], suggested, number, *about, " ".join(data.raw[row].split())])
    return buffer.getvalue().encode()


def summary(found: Audit, test_rows: int) -> list[list[object]]:
    """Rows of a table: what, how many groups, how many rows."""

    def count(groups: list[list[int]]) -> list[object]:
        return [len(groups), sum(map(len, groups))]

    lines: list[list[object]] = [
        ["texts that occur more than once", *count(found.exact)],
        ["… of them with more than one label", *count(found.conflicts)],
        ["near-twins (those above among them)", *count(found.near)],
        ["… of them with more than one label", *count(found.near_conflicts)],
        ["labels that look wrong", "", len(found.suspects)],
    ]
    if test_rows:
        lines.append(["test rows with the same words here", "", len(found.test_copies)])
        lines.append(["test rows with a near-twin here (those above among them)", "", len(found.test_twins)])
    return lines


def of_run(path: Path, data: Labelled) -> Float64:
    """Out-of-fold probabilities of a run's `predictions.json`, for the same rows.

    Raises:
        DataError: when they are of other rows.
    """
    known = read_json(path)
    if known["ids"] != data.ids or known["classes"] != data.classes:
        raise DataError(f"{path}: these predictions are of other rows; audit the file the run was trained on.")
    table = np.zeros((len(data.labels), len(data.classes)))
    table[np.array(known["rows"])] = known["probabilities"]
    return table


def _groups_of_many(keys: Sequence[object]) -> list[list[int]]:
    """Rows that share a key, for keys of more than one row."""
    members: dict[object, list[int]] = defaultdict(list)
    for row, name in enumerate(keys):
        members[name].append(row)
    return [group for group in members.values() if len(group) > 1]
