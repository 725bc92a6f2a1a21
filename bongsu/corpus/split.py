"""Train or validation, by a hash of the text's key: stable when text is added, and twins never fall on both sides."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from bongsu.corpus.cleaning import key

SPLITS = ("train", "validation")


def hash_keys(texts: Iterable[str]) -> npt.NDArray[np.uint64]:
    """64 bits of each text's key, the same on every machine. [texts] uint64."""
    digests = [blake2b(key(text).encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64, copy=False)


def in_validation(hashes: npt.NDArray[np.uint64], share: float) -> npt.NDArray[np.bool_]:
    """Which texts are held out: those whose hash is in the lowest `share` of all hashes. [texts] bool."""
    return hashes < np.uint64(int(share * 2**64))
