"""How good a classifier is on parts of the rows: by the writing of the text, and by the values of a context column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from bongsu.arrays import Int64
from bongsu.corpus.cleaning import is_written_in
from bongsu.evaluation.metrics import wilson
from bongsu.reporting.korean import translate

_MOST_VALUES = 12
_FEWEST_ROWS = 5
"""A value with fewer rows says nothing of its own, and is counted among the others."""


def by_writing(texts: Sequence[str], labels: Int64, decided: Int64, baseline: Int64, language: str) -> dict[str, Any]:
    """Return a row for each writing: Hangul (three in ten letters), Latin letters (half), other; none when there is but one.

    Args:
        labels, decided, baseline: classes [N], of the rows, the model and the baseline.
        language: of the table's title, "en" or "ko".
    """
    writing = [
        "Korean" if is_written_in(text, "hangul") else "Latin letters" if is_written_in(text, "latin") else "other writing"
        for text in texts
    ]
    rows = _rows(writing, [name for name, _ in Counter(writing).most_common()], labels, decided, baseline)
    return {"title": translate("By writing", language), "rows": rows if len(rows) > 1 else []}


def by_context(
    column: str, values: Sequence[str], labels: Int64, decided: Int64, baseline: Int64, language: str
) -> dict[str, Any]:
    """Return a row for each of the most frequent values of a column, and one for all others; arguments as of `by_writing`."""
    named = [value.strip() or "(empty)" for value in values]
    frequent = [name for name, count in Counter(named).most_common(_MOST_VALUES) if count >= _FEWEST_ROWS]
    kept = [name if name in frequent else "other values" for name in named]
    rows = _rows(kept, [*frequent, "other values"], labels, decided, baseline)
    return {"title": translate("By {column}", language, column=column), "rows": rows if frequent and len(rows) > 1 else []}


def _rows(groups: Sequence[str], names: Sequence[str], labels: Int64, decided: Int64, baseline: Int64) -> list[dict[str, Any]]:
    """Accuracy of both models, and of two classes what was missed and what was a false alarm, in each group that has rows."""
    member = np.array(groups)
    rows = []
    for name in names:
        mine = member == name
        if not (count := int(mine.sum())):
            continue
        truth, answer = labels[mine], decided[mine]
        right = int((truth == answer).sum())
        rows.append(
            {
                "name": name,
                "rows": count,
                "accuracy": right / count,
                "interval": wilson(right, count),
                "baseline": float((baseline[mine] == truth).mean()),
                "positives": int((truth == 1).sum()),
                "missed": int(((truth == 1) & (answer == 0)).sum()),
                "alarms": int(((truth == 0) & (answer == 1)).sum()),
            }
        )
    return rows
