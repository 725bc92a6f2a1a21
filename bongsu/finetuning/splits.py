"""Who is trained on and who is measured: near-twins of a text never stand on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import LeaveOneGroupOut, StratifiedGroupKFold

from bongsu.corpus.cleaning import key
from bongsu.corpus.dedup import near_groups
from bongsu.errors import DataError
from bongsu.finetuning.data import Labelled
from bongsu.recipe import Finetune

Int64 = npt.NDArray[np.int64]
Split = tuple[Int64, Int64]
"""Rows to train on and rows to measure on."""


def groups_of(texts: Sequence[str]) -> Int64:
    """Near-twins share a number. [rows] int64."""
    return _groups(tuple(texts)).copy()


@lru_cache(maxsize=4)
def _groups(texts: tuple[str, ...]) -> Int64:
    return near_groups(texts).astype(np.int64)


def protocol_splits(settings: Finetune, data: Labelled, groups: Int64, seed: int) -> list[Split]:
    """The rows of each fold, as the recipe wants them measured."""
    if settings.leave_out:
        return leave_out(data.labels, data.values, groups, settings.folds, seed)
    if settings.folds:
        return folds(data.labels, groups, settings.folds, seed)
    return [hold_out(data.labels, groups, settings.holdout, seed)]


def folds(labels: Int64, groups: Int64, count: int, seed: int) -> list[Split]:
    """`count` pairs of (rows to train on, rows to measure on): stratified, groups never split.

    Raises:
        DataError: when a class has fewer rows than folds.
    """
    smallest = int(np.bincount(labels).min())
    if smallest < count:
        raise DataError(f"finetune.folds: the smallest class has {smallest} rows, too few for {count} folds.")
    if (different := len(np.unique(groups))) < count:
        raise DataError(f"finetune.folds: without near-twins there are {different} texts, too few for {count} folds.")
    return list(_folds(labels.astype(np.int64).tobytes(), groups.astype(np.int64).tobytes(), count, seed % 2**32))


@lru_cache(maxsize=32)
def _folds(labels: bytes, groups: bytes, count: int, seed: int) -> tuple[Split, ...]:
    """Remembered: of thousands of groups they take seconds, and the trials of a search ask for the same ones."""
    of_class, of_group = (np.frombuffer(values, dtype=np.int64) for values in (labels, groups))
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    parts = splitter.split(of_class, of_class, of_group)
    return tuple((train.astype(np.int64), test.astype(np.int64)) for train, test in parts)


def hold_out(labels: Int64, groups: Int64, share: float, seed: int) -> Split:
    """Rows to train on and about `share` of the rows held out: stratified, groups never split."""
    parts = min(20, int(np.bincount(labels).min()), len(np.unique(groups)))
    if parts < 2:
        raise DataError("A class has fewer than two rows, or all rows are near-twins; nothing can be held out.")
    taken = min(parts - 1, max(1, round(share * parts)))
    held = np.sort(np.concatenate([test for _, test in folds(labels, groups, parts, seed)[:taken]]))
    return np.setdiff1d(np.arange(len(labels)), held), held


def leave_out(labels: Int64, values: Sequence[str], groups: Int64, count: int, seed: int) -> list[Split]:
    """Folds that each leave out whole values of a column, such as an event: how good is it on what it never saw?

    Near-twins of the rows measured on are taken out of the rows trained on.

    Args:
        count: how many folds; with as many as there are values, or more, each fold leaves out one.

    Raises:
        DataError: when the column holds one value only.
    """
    names, owner = np.unique(np.array(values), return_inverse=True)
    if len(names) < 2:
        raise DataError("finetune.leave_out: the column holds one value only; nothing can be left out.")
    if len(names) <= count:
        parts = LeaveOneGroupOut().split(labels, labels, owner)
    else:
        parts = iter(folds(labels, owner.astype(np.int64), count, seed))
    return [(train[~np.isin(groups[train], groups[held])].astype(np.int64), held.astype(np.int64)) for train, held in parts]


def distinct(texts: Sequence[str], labels: Int64, rows: Int64) -> Split:
    """Of rows whose texts are the same the first, with the label of the majority; a tie leaves the text out.

    Args:
        texts, labels: of all rows.
        rows: the rows to choose among.

    Returns:
        The rows kept [M] and their labels [M].
    """
    copies: dict[str, list[int]] = {}
    for row in rows.tolist():
        copies.setdefault(key(texts[row]), []).append(row)
    kept, agreed = [], []
    for members in copies.values():
        votes = np.sort(np.bincount(labels[members]))
        if len(votes) > 1 and votes[-1] == votes[-2]:
            continue
        kept.append(members[0])
        agreed.append(int(np.bincount(labels[members]).argmax()))
    return np.array(kept, dtype=np.int64), np.array(agreed, dtype=np.int64)
