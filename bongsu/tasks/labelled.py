"""Labelled texts: read, cleaned, encoded, and split so that near-twins stay together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold

from bongsu.corpus.cleaning import Cleaner
from bongsu.corpus.dedup import near_groups
from bongsu.corpus.readers import Problems, read_rows
from bongsu.errors import DataError, RecipeError
from bongsu.recipe import Cleaning, Finetune, Source

Int64 = npt.NDArray[np.int64]


@dataclass
class Labelled:
    """Rows of a labelled file; without a label column `labels` is empty."""

    ids: list[str]
    texts: list[str]
    """As the model reads them: cleaned, context in front."""
    raw: list[str]
    """As they stand in the file."""
    labels: Int64
    """[rows] int64, an index into `classes`."""
    classes: list[str]


def read_labelled(settings: Finetune, path: str, where: dict[str, str], classes: Sequence[str] | None = None) -> Labelled:
    """Reads a labelled file.

    Args:
        classes: the classes of the training file, for a test file; by default those found, sorted, with `positive` last.

    Raises:
        DataError: when a column is missing, a class has too few rows, or a label is not among `classes`.
    """
    columns = [settings.text, settings.label, *settings.context]
    rows = list(_rows(settings, path, where, columns))
    if not rows:
        raise DataError(f"{path}: no labelled row could be read.")
    found = sorted({row[settings.label] for _, row in rows})
    if classes is None:
        classes = _classes(settings, found, path)
    unknown = [label for label in found if label not in classes]
    if unknown:
        raise DataError(f"{path}: label {unknown[0]!r} in column {settings.label!r} is not one of {', '.join(classes)}.")
    index = {name: number for number, name in enumerate(classes)}
    cleaner = Cleaner(settings.cleaning)
    raw = [row[settings.text] for _, row in rows]
    return Labelled(
        ids=[row.get(settings.id) or str(number) for number, (_, row) in enumerate(rows)],
        texts=[as_read(cleaner, row[settings.text], [row[name] for name in settings.context]) for _, row in rows],
        raw=raw,
        labels=np.array([index[row[settings.label]] for _, row in rows], dtype=np.int64),
        classes=list(classes),
    )


def check_columns(settings: Finetune) -> None:
    """Looks at the first row of the labelled files, so that a missing column is found before hours of pre-training.

    Raises:
        DataError: naming the columns there are.
    """
    columns = [settings.text, settings.label, *settings.context]
    for path, where in ((settings.train, settings.where), (settings.test, settings.test_where)):
        if path is not None:
            next(read_rows(Source(path=path, text=settings.text, where=where), Problems(1000), columns), None)


def read_unlabelled(
    path: str, text: str, context: Sequence[str], id_column: str, cleaning: Cleaning
) -> tuple[list[str], list[str], list[str]]:
    """Ids, texts as the model reads them, and texts as they stand in the file."""
    cleaner = Cleaner(cleaning)
    ids, texts, raw = [], [], []
    for number, (_, row) in enumerate(read_rows(Source(path=path, text=text), Problems(1000), [text, *context])):
        ids.append(row.get(id_column) or str(number))
        raw.append(row[text])
        texts.append(as_read(cleaner, row[text], [row[name] for name in context]))
    return ids, texts, raw


def as_read(cleaner: Cleaner, text: str, context: Sequence[str] = ()) -> str:
    """The text the model reads: cleaned, with context such as a keyword in front, never dropped altogether."""
    front = [unquote(value).strip() for value in context if value and value.strip()]
    cleaned = cleaner.clean(text) or text.strip()
    return " | ".join([*front, cleaned])


def folds(labels: Int64, groups: Int64, count: int, seed: int) -> list[tuple[Int64, Int64]]:
    """`count` pairs of (rows to train on, rows to measure on): stratified, groups never split.

    Raises:
        DataError: when a class has fewer rows than folds.
    """
    smallest = int(np.bincount(labels).min())
    if smallest < count:
        raise DataError(f"finetune.folds: the smallest class has {smallest} rows, too few for {count} folds.")
    if (different := len(np.unique(groups))) < count:
        raise DataError(f"finetune.folds: without near-twins there are {different} texts, too few for {count} folds.")
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed % 2**32)
    return [(train.astype(np.int64), test.astype(np.int64)) for train, test in splitter.split(labels, labels, groups)]


def hold_out(labels: Int64, groups: Int64, share: float, seed: int) -> tuple[Int64, Int64]:
    """Rows to train on and about `share` of the rows held out: stratified, groups never split."""
    parts = min(20, int(np.bincount(labels).min()), len(np.unique(groups)))
    if parts < 2:
        raise DataError("A class has fewer than two rows, or all rows are near-twins; nothing can be held out.")
    taken = min(parts - 1, max(1, round(share * parts)))
    held = np.sort(np.concatenate([test for _, test in folds(labels, groups, parts, seed)[:taken]]))
    return np.setdiff1d(np.arange(len(labels)), held), held


def groups_of(texts: list[str]) -> Int64:
    """Near-twins share a number. [rows] int64."""
    return near_groups(texts).astype(np.int64)


def _rows(settings: Finetune, path: str, where: dict[str, str], columns: list[str]) -> list[tuple[str, dict[str, str]]]:
    problems = Problems(1000)
    rows = []
    for place, row in read_rows(Source(path=path, text=settings.text, where=where), problems, columns):
        label = (row[settings.label] or "").strip()
        if not label or not row[settings.text].strip():
            problems.skip(place, "no label" if not label else "no text")
            continue
        rows.append((place, {**row, settings.label: label}))
    return rows


def _classes(settings: Finetune, found: list[str], path: str) -> list[str]:
    if len(found) < 2:
        raise DataError(f"{path}: column {settings.label!r} holds one label only ({found[0]!r}); two or more are needed.")
    if len(found) > 1000:
        raise DataError(f"{path}: column {settings.label!r} holds {len(found)} different values; is it the label?")
    if settings.positive is not None:
        if settings.positive not in found or len(found) != 2:
            raise RecipeError(f"finetune.positive: {settings.positive!r}; the labels of {path} are {', '.join(found)}.")
        found = [label for label in found if label != settings.positive] + [settings.positive]
    return found
