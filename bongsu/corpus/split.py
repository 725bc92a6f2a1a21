"""Train or validation, by a hash of the text's key: stable when text is added, and copies of a text stay on one side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xxhash import xxh3_64_intdigest

from bongsu.arrays import Bool, UInt64
from bongsu.corpus.cleaning import exact_keys

SPLITS = ("train", "validation")


def hash_keys(texts: Sequence[str]) -> UInt64:
    """Return a 64-bit hash of each text's exact key, [texts] uint64, the same on every machine."""
    return np.fromiter(map(xxh3_64_intdigest, exact_keys(texts)), dtype=np.uint64, count=len(texts))


def in_validation(hashes: UInt64, share: float) -> Bool:
    """Return which texts are held out, [texts] bool: those whose hash is in the lowest `share` of all hashes."""
    return hashes < np.uint64(int(share * 2**64))
