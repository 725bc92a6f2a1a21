"""Train or validation, by a hash of the text's key: stable when text is added, and twins never fall on both sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xxhash import xxh3_64_intdigest

from bongsu.arrays import Bool, UInt64
from bongsu.corpus.cleaning import solid_keys

SPLITS = ("train", "validation")


def hash_keys(texts: Sequence[str]) -> UInt64:
    """64 bits of each text's key, blanks left out, the same on every machine. [texts] uint64."""
    return np.fromiter(map(xxh3_64_intdigest, solid_keys(texts)), dtype=np.uint64, count=len(texts))


def in_validation(hashes: UInt64, share: float) -> Bool:
    """Which texts are held out: those whose hash is in the lowest `share` of all hashes. [texts] bool."""
    return hashes < np.uint64(int(share * 2**64))
