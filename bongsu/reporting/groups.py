"""Accuracy of a classifier on groups of rows: by the script of the text, and by the values of a context column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bongsu.arrays import Int64
from bongsu.corpus.cleaning import is_written_in
from bongsu.evaluation.metrics import wilson
from bongsu.reporting.korean import translate

_MOST_VALUES = 12
_FEWEST_ROWS = 5
"""Values with fewer rows are counted together."""


@dataclass(frozen=True)
class Group:
    """Accuracy on a group of rows."""

    name: str
    rows: int
    accuracy: float
    interval: list[float]
    """95 % [low, high] of the accuracy."""
    baseline: float
    """Accuracy of the baseline."""
    positives: int
    """Rows of class 1; with `missed` and `alarms` of use where there are two classes."""
    missed: int
    alarms: int
    """False ones."""


@dataclass(frozen=True)
class Groups:
    """The groups of a column; empty when there is only one."""

    title: str
    rows: list[Group]


def by_writing(texts: Sequence[str], labels: Int64, decided: Int64, baseline: Int64, language: str) -> Groups:
    """Return a group for each script: Hangul (three in ten letters), Latin letters (half), other.

    Args:
        labels, decided, baseline: classes [N]: true ones, the model's and the baseline's.
        language: of the table's title, "en" or "ko".
    """
    writing = [
        "Korean" if is_written_in(text, "hangul") else "Latin letters" if is_written_in(text, "latin") else "other writing"
        for text in texts
    ]
    rows = _rows(writing, [name for name, _ in Counter(writing).most_common()], labels, decided, baseline)
    return Groups(translate("By writing", language), rows if len(rows) > 1 else [])


def by_context(column: str, values: Sequence[str], labels: Int64, decided: Int64, baseline: Int64, language: str) -> Groups:
    """Return a group for each of the most frequent values of a column, and one for all others; arguments as `by_writing`."""
    named = [value.strip() or "(empty)" for value in values]
    frequent = [name for name, count in Counter(named).most_common(_MOST_VALUES) if count >= _FEWEST_ROWS]
    kept = [name if name in frequent else "other values" for name in named]
    rows = _rows(kept, [*frequent, "other values"], labels, decided, baseline)
    return Groups(translate("By {column}", language, column=column), rows if frequent and len(rows) > 1 else [])


def _rows(groups: Sequence[str], names: Sequence[str], labels: Int64, decided: Int64, baseline: Int64) -> list[Group]:
    """Return the groups that have rows."""
    member = np.array(groups)
    rows = []
    for name in names:
        mine = member == name
        if not (count := int(mine.sum())):
            continue
        truth, answer = labels[mine], decided[mine]
        right = int((truth == answer).sum())
        rows.append(
            Group(
                name=name,
                rows=count,
                accuracy=right / count,
                interval=wilson(right, count),
                baseline=float((baseline[mine] == truth).mean()),
                positives=int((truth == 1).sum()),
                missed=int(((truth == 1) & (answer == 0)).sum()),
                alarms=int(((truth == 0) & (answer == 1)).sum()),
            )
        )
    return rows
