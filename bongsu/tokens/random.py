"""Counter-based random numbers, which depend on their purpose and not on the order of draws.

Every draw is a hash of (seed, epoch, sentence, position), so that batch n is always the same: nothing has to be saved for
resuming, and the number of workers does not matter. The hash is the finaliser of SplitMix64
(Steele et al. 2014), which passes the usual batteries of tests.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bongsu.arrays import Float64, Int64, UInt64

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(*parts: ArrayLike) -> UInt64:
    """Hash whole numbers, broadcast against one another, to uint64 that look independent and uniform."""
    state = np.uint64(0)
    with np.errstate(over="ignore"):
        for part in parts:
            state = _stir(state, np.asarray(part).astype(np.uint64))  # type: ignore[assignment]
    return np.asarray(state, dtype=np.uint64)


def uniform(hashes: UInt64) -> Float64:
    """Turn hashes into numbers in [0, 1) with 53 bits."""
    return (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permute(index: Int64, size: int, key: ArrayLike) -> Int64:
    """Return where each index in [0, size) goes under a seeded permutation, without holding the permutation.

    A Feistel network over the next even number of bits, walked until it falls inside (Black and Rogaway 2002), so a corpus
    of a billion sentences is shuffled in no memory. `key` may differ from index to index.
    """
    if size <= 1:
        return np.zeros_like(index)
    half = np.uint64(max(1, ((size - 1).bit_length() + 1) // 2))
    low = (np.uint64(1) << half) - np.uint64(1)
    keys = [np.broadcast_to(mix(key, turn), index.shape) for turn in range(4)]
    value = index.astype(np.uint64)
    walking = np.ones(index.shape, dtype=bool)
    while walking.any():
        left, right = value[walking] >> half, value[walking] & low
        with np.errstate(over="ignore"):
            for turn in range(4):
                left, right = right, left ^ (_stir(keys[turn][walking], right) & low)  # mix(key, turn, right)
        value[walking] = (left << half) | right
        walking = value >= size
    return value.astype(np.int64)


def _stir(state: UInt64 | np.uint64, value: UInt64) -> UInt64:
    return _finalise(np.asarray((state ^ value) + _GOLDEN, dtype=np.uint64))


def _finalise(x: UInt64) -> UInt64:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
