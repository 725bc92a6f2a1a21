"""Rows to train on and rows to measure on: near-duplicates of a text never stand on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from sklearn.model_selection import LeaveOneGroupOut, StratifiedGroupKFold

from bongsu.arrays import Int64
from bongsu.corpus.dedup import near_groups
from bongsu.errors import DataError
from bongsu.recipe import Validation

Split = tuple[Int64, Int64]
"""Rows to train on and rows to measure on."""


def near_duplicate_groups(texts: Sequence[str]) -> Int64:
    """Return a number for each text, [rows] int64; near-duplicates share one."""
    return _groups(tuple(texts)).copy()


@lru_cache(maxsize=4)
def _groups(texts: tuple[str, ...]) -> Int64:
    return near_groups(texts).astype(np.int64)


def protocol_splits(validation: Validation, strata: Int64, values: Sequence[str], groups: Int64, seed: int) -> list[Split]:
    """Return the rows of each fold, or the one split of a hold-out.

    Args:
        strata: [rows], what folds are to have the same shares of.
        values: of each row the value of the column that `leave_out` names.
        groups: [rows], near-duplicates share a number.
    """
    if validation.leave_out:
        return leave_out(strata, values, groups, validation.folds, seed)
    if validation.folds:
        return folds(strata, groups, validation.folds, seed)
    return [hold_out(strata, groups, validation.holdout, seed)]


def folds(labels: Int64, groups: Int64, count: int, seed: int) -> list[Split]:
    """`count` pairs of (rows to train on, rows to measure on): stratified, groups never split.

    Raises:
        DataError: when a class has fewer rows than folds.
    """
    smallest = int(np.bincount(labels).min())
    if smallest < count:
        raise DataError(f"validation.folds: the smallest class has {smallest} rows, too few for {count} folds.")
    if (different := len(np.unique(groups))) < count:
        raise DataError(f"validation.folds: without near-duplicates there are {different} texts, too few for {count} folds.")
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
        raise DataError("A class has fewer than two rows, or all rows are near-duplicates; nothing can be held out.")
    taken = min(parts - 1, max(1, round(share * parts)))
    held = np.sort(np.concatenate([test for _, test in folds(labels, groups, parts, seed)[:taken]]))
    return np.setdiff1d(np.arange(len(labels)), held), held


def leave_out(labels: Int64, values: Sequence[str], groups: Int64, count: int, seed: int) -> list[Split]:
    """Folds that each leave out whole values of a column, such as an event: how good is it on what it never saw?

    Near-duplicates of the rows measured on are taken out of the rows trained on.

    Args:
        count: how many folds; with as many as there are values, or more, each fold leaves out one.

    Raises:
        DataError: when the column holds one value only.
    """
    names, owner = np.unique(np.array(values), return_inverse=True)
    if len(names) < 2:
        raise DataError("validation.leave_out: the column holds one value only; nothing can be left out.")
    if len(names) <= count:
        parts = LeaveOneGroupOut().split(labels, labels, owner)
    else:
        parts = iter(folds(labels, owner.astype(np.int64), count, seed))
    return [(train[~np.isin(groups[train], groups[held])].astype(np.int64), held.astype(np.int64)) for train, held in parts]
