"""Train and test splits that keep near-duplicates of a text on one side."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

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


def protocol_splits(
    validation: Validation, strata: Int64, values: Sequence[str], groups: Int64, seed: int, names: Sequence[str] = ()
) -> list[Split]:
    """Return the rows of each fold, or the one split of a hold-out.

    Args:
        strata: [rows], what folds are to have the same shares of.
        values: of each row the value of the column that `leave_out` names.
        groups: [rows], near-duplicates share a number.
        names: of the strata, for messages.

    Raises:
        DataError: when the rows do not allow such folds, naming the class.
    """
    if validation.leave_out:
        return leave_out(strata, values, groups, validation.folds, seed)
    if validation.folds:
        try:
            return folds(strata, groups, validation.folds, seed, names)
        except DataError as error:
            raise DataError(f"validation.folds: {error}") from None
    return [hold_out(strata, groups, validation.holdout, seed, names)]


def folds(
    labels: Int64, groups: Int64, count: int, seed: int, names: Sequence[str] = (), every_label: bool = True
) -> list[Split]:
    """Return `count` pairs of (rows to train on, rows to measure on): stratified, groups never split, none empty.

    Args:
        labels: [rows].
        names: of the labels, for messages.
        every_label: whether every fold has to have rows of every label on both sides.

    Raises:
        DataError: when a label has fewer rows or groups than there are folds (`every_label`), or there are fewer groups.
    """
    if (different := len(np.unique(groups))) < count:
        raise DataError(f"without near-duplicates there are {different} texts, too few for {count} folds.")
    if every_label:
        label, rows, texts = _rarest(labels, groups)
        if texts < count:
            same = f", {texts} without near-duplicates" if texts < rows else ""
            raise DataError(f"{_name(label, names)} has {rows} rows{same}; too few for {count} folds.")
    parts = _folds(labels.astype(np.int64).tobytes(), groups.astype(np.int64).tobytes(), count, seed % 2**32)
    wanted = set(labels.tolist()) if every_label else set()
    for fold, (_, held) in enumerate(parts):
        if missing := sorted(wanted - set(labels[held].tolist())):
            raise DataError(
                f"fold {fold + 1} of {count} cannot have rows of {_name(missing[0], names)}, since "
                "near-duplicates stay in one fold; use fewer folds."
            )
    return list(parts)


def _rarest(labels: Int64, groups: Int64) -> tuple[int, int, int]:
    """Return the label that has the fewest groups, with its rows and groups."""
    pairs = np.unique(np.stack([labels, groups]), axis=1)[0]
    present, texts = np.unique(pairs, return_counts=True)
    label = int(present[texts.argmin()])
    return label, int(np.count_nonzero(labels == label)), int(texts.min())


def _name(label: int, names: Sequence[str]) -> str:
    return f"class {names[label]!r}" if names else f"class number {label}"


@lru_cache(maxsize=32)
def _folds(labels: bytes, groups: bytes, count: int, seed: int) -> tuple[Split, ...]:
    """Return folds; cached, since they take seconds for thousands of groups, and the trials of a search share them."""
    of_class, of_group = (np.frombuffer(values, dtype=np.int64) for values in (labels, groups))
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a class with fewer rows than folds: what matters is checked
        parts = [held for _, held in splitter.split(of_class, of_class, of_group)]
    present = len(set(of_class.tolist()))
    if any(len(set(of_class[held].tolist())) < present for held in parts):
        parts = _balanced_folds(of_class, of_group, count)
    every = np.arange(len(of_class))
    return tuple((np.setdiff1d(every, held), held.astype(np.int64)) for held in parts)


def _balanced_folds(labels: Int64, groups: Int64, count: int) -> list[Int64]:
    """Assign groups to folds, the largest of the rarest label first, each to the fold with the fewest rows of that label.

    Unlike in scikit-learn's splitter, which balances shares alone, no fold is empty or lacks a label that has enough groups.
    """
    names, owner = np.unique(groups, return_inverse=True)
    present, number = np.unique(labels, return_inverse=True)
    sizes = np.zeros((len(names), len(present)), dtype=np.int64)
    np.add.at(sizes, (owner, number), 1)
    fold_of = np.full(len(names), -1)
    held = np.zeros((count, len(present)), dtype=np.int64)
    for label in np.argsort((sizes > 0).sum(axis=0), kind="stable").tolist():
        waiting = np.flatnonzero((sizes[:, label] > 0) & (fold_of < 0))
        for group in waiting[np.argsort(-sizes[waiting, label], kind="stable")].tolist():
            fold = min(range(count), key=lambda each: (held[each, label], held[each].sum()))
            fold_of[group] = fold
            held[fold] += sizes[group]
    return [np.flatnonzero(fold_of[owner] == fold) for fold in range(count)]


def hold_out(labels: Int64, groups: Int64, share: float, seed: int, names: Sequence[str] = ()) -> Split:
    """Return rows to train on and about `share` of the rows held out: stratified, groups never split.

    Raises:
        DataError: when all rows of a label are near-duplicates of each other, naming it.
    """
    label, rows, texts = _rarest(labels, groups)
    if texts < 2:
        same = " that are near-duplicates of each other" if rows > 1 else ""
        raise DataError(f"{_name(label, names)} has {rows} row{'s' * (rows > 1)}{same}; nothing of it can be held out.")
    parts = min(20, texts)
    taken = min(parts - 1, max(1, round(share * parts)))
    held = np.sort(np.concatenate([test for _, test in folds(labels, groups, parts, seed, names)[:taken]]))
    return np.setdiff1d(np.arange(len(labels)), held), held


def leave_out(labels: Int64, values: Sequence[str], groups: Int64, count: int, seed: int) -> list[Split]:
    """Return folds that each leave out whole values of a column, such as an event, to measure on unseen ones.

    Near-duplicates of the test rows are removed from the training rows.

    Args:
        count: how many folds; with as many as there are values, or more, each fold leaves out one.

    Raises:
        DataError: when the column holds one value only.
    """
    names, owner = np.unique(np.array(values), return_inverse=True)
    if len(names) < 2:
        raise DataError("validation.leave_out: the column holds one value only; nothing can be left out.")
    if len(names) <= count:
        parts = [(np.flatnonzero(owner != number), np.flatnonzero(owner == number)) for number in range(len(names))]
    else:
        parts = list(folds(labels, owner.astype(np.int64), count, seed, every_label=False))
    return [(train[~np.isin(groups[train], groups[held])].astype(np.int64), held.astype(np.int64)) for train, held in parts]
