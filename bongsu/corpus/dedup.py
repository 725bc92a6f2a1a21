"""Duplicates: exact ones in bounded memory, near ones by MinHash (Broder 1997).

Exact de-duplication works on 64-bit hashes of the texts' keys, on disk: they are partitioned by their top bits, so
that equal ones meet, and each partition is small enough to sort in memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from bongsu.arrays import Bool, Int64, UInt32
from bongsu.corpus.cleaning import dedup_key

if TYPE_CHECKING:
    from datasketch import MinHash, MinHashLSH  # imports scipy, which takes most of a second

PARTITION = 1_000_000
_SHINGLE = 5
_PERMUTATIONS = 128
_ROW = np.dtype([("hash", np.uint64), ("row", np.int64)])


def first_occurrences(path: Path, count: int, keep_path: Path, partition: int = PARTITION) -> Bool:
    """Find the rows that are the first with their hash.

    Memory is about 100 bytes x `partition`, whatever the count; temporary files take 17 bytes a row.

    Args:
        path: a file of `count` uint64 hashes.
        keep_path: the file of the result.
        partition: about how many hashes are sorted at a time.

    Returns:
        [count] bool, memory-mapped from `keep_path`.
    """
    keep = np.lib.format.open_memmap(keep_path, mode="w+", dtype=np.bool_, shape=(count,))
    if count == 0:
        return keep
    bits = max(0, (count - 1) // partition).bit_length()
    with tempfile.TemporaryDirectory(prefix="hashes-", dir=path.parent) as folder:
        parts = [Path(folder) / str(number) for number in range(1 << bits)]
        _partition(path, parts, bits, partition)
        for part in parts:
            if part.exists():
                rows = np.fromfile(part, dtype=_ROW)
                _, first = np.unique(rows["hash"], return_index=True)  # the first, for rows are in order
                keep[rows["row"][first]] = True
                part.unlink()
    return keep


def _partition(path: Path, parts: list[Path], bits: int, chunk: int) -> None:
    """Append each hash, with its row, to the partition of its top bits."""
    start = 0
    with open(path, "rb") as file:
        while len(hashes := np.fromfile(file, dtype=np.uint64, count=chunk)):
            rows = np.empty(len(hashes), dtype=_ROW)
            rows["hash"], rows["row"] = hashes, np.arange(start, start + len(hashes))
            start += len(hashes)
            owner = (hashes >> np.uint64(32) >> np.uint64(32 - bits)).astype(np.int64)  # two shifts, for one by 64 is undefined
            order = np.argsort(owner, kind="stable")
            ends = np.cumsum(np.bincount(owner, minlength=len(parts)))
            for part, mine in zip(parts, np.split(order, ends[:-1]), strict=True):
                if len(mine):
                    with open(part, "ab") as out:
                        rows[mine].tofile(out)


class NearDuplicates:
    """An index of seen texts that finds near-duplicates: about 0.15 ms a text, 6 kB of memory a text."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._index = _index(threshold)
        self._values: list[UInt32] = []

    def seen(self, text: str) -> bool:
        """Return whether a near-duplicate was seen before; add the text if not."""
        mine = sketch(dedup_key(text))
        values = mine.hashvalues.astype(np.uint32)
        for other in self._index.query(mine):  # the index has false candidates
            if np.mean(values == self._values[other]) >= self._threshold:
                return True
        self._index.insert(len(self._values), mine, check_duplication=False)
        self._values.append(values)
        return False


def sketch(name: str, permutations: int = _PERMUTATIONS) -> MinHash:
    """Return the MinHash of a text's key, over its set of character 5-shingles."""
    made = _empty_sketch(permutations).copy()
    made.update_batch([shingle.encode("utf-8", "surrogatepass") for shingle in _shingles(name)])
    return made


def near_groups(texts: Sequence[str], threshold: float = 0.8) -> Int64:
    """Return a group number for each text; near-duplicates, directly or through others, share one.

    Near-duplicates are texts with equal keys, or, of the pairs that MinHash finds, those whose keys' sets of character
    5-shingles have a Jaccard similarity of at least `threshold`.

    Returns:
        [texts] int64, the number of a group being the place of its first key among the distinct ones.
    """
    keys = [dedup_key(text) for text in texts]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(keys))}
    names = list(numbers)
    parent = list(range(len(names)))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    index = _index(threshold)
    for number, name in enumerate(names):
        hashed = sketch(name)
        for other in index.query(hashed):
            mine, theirs = root(number), root(other)
            if mine != theirs and _jaccard(name, names[other]) >= threshold:
                parent[max(mine, theirs)] = min(mine, theirs)
        index.insert(number, hashed, check_duplication=False)
    return np.array([root(numbers[name]) for name in keys], dtype=np.int64)


def _shingles(name: str) -> set[str]:
    return {name[start : start + _SHINGLE] for start in range(max(1, len(name) - _SHINGLE + 1))}


def _jaccard(one: str, other: str) -> float:
    a, b = _shingles(one), _shingles(other)
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)


def _index(threshold: float) -> MinHashLSH:
    """Return an index tuned for few misses: a false candidate costs only a comparison, since every candidate is checked."""
    from datasketch import MinHashLSH

    return MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS, weights=(0.1, 0.9))


@cache
def _empty_sketch(permutations: int) -> MinHash:
    """Return an empty sketch; cached, since drawing the permutations costs more than a sketch."""
    from datasketch import MinHash

    return MinHash(num_perm=permutations, seed=1, hashfunc=crc32)
