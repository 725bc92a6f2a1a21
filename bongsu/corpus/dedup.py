"""Duplicates: exact ones in bounded memory, near ones by MinHash (Broder 1997).

Exact de-duplication hashes each text's key to 64 bits, on disk. The hashes are gone through in partitions of a few million, so
that memory does not grow with the corpus.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt
from datasketch import MinHash, MinHashLSH

from bongsu.corpus.cleaning import key

PARTITION = 4_000_000
_SHINGLE = 5
_PERMUTATIONS = 128


def hash_key(text: str) -> int:
    """64 bits of a text's key, the same on every machine."""
    return int.from_bytes(blake2b(key(text).encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def first_occurrences(path: Path, count: int, keep_path: Path) -> npt.NDArray[np.bool_]:
    """Which rows are the first with their hash.

    Args:
        path: a file of `count` uint64 hashes.
        keep_path: where the answer is put, memory-mapped: [count] bool.
    """
    keep = np.lib.format.open_memmap(keep_path, mode="w+", dtype=np.bool_, shape=(count,))
    if count == 0:
        return keep
    hashes = np.memmap(path, dtype=np.uint64, mode="r", shape=(count,))
    partitions = -(-count // PARTITION)
    for partition in range(partitions):
        rows = np.concatenate(
            [
                start + np.flatnonzero(hashes[start : start + PARTITION] % np.uint64(partitions) == partition)
                for start in range(0, count, PARTITION)
            ]
        )
        _, first = np.unique(hashes[rows], return_index=True)
        keep[rows[first]] = True
    return keep


class NearDuplicates:
    """Remembers texts and says whether one like it was seen before. About 1 kB a text."""

    def __init__(self, threshold: float) -> None:
        self._index = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS)
        self._count = 0

    def seen(self, text: str) -> bool:
        """Whether a near-duplicate was seen before; if not, the text is remembered."""
        sketch = _sketch(key(text))
        if self._index.query(sketch):
            return True
        self._index.insert(str(self._count), sketch)
        self._count += 1
        return False


def near_groups(texts: Iterable[str], threshold: float = 0.8) -> npt.NDArray[np.int64]:
    """A group number for each text: near-twins, directly or by way of others, share one. [texts] int64."""
    keys = [key(text) for text in texts]
    unique = {name: number for number, name in enumerate(dict.fromkeys(keys))}
    parent = list(range(len(unique)))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    index = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS)
    for name, number in unique.items():
        sketch = _sketch(name)
        for other in index.query(sketch):
            parent[root(number)] = root(int(other))
        index.insert(str(number), sketch)
    return np.array([root(unique[name]) for name in keys], dtype=np.int64)


def _sketch(name: str) -> MinHash:
    shingles = {name[start : start + _SHINGLE].encode() for start in range(max(1, len(name) - _SHINGLE + 1))}
    sketch = MinHash(num_perm=_PERMUTATIONS, seed=1)
    sketch.update_batch(shingles)
    return sketch
