"""Near-duplicates in a sliding window: MinHash and locality-sensitive hashing (Broder 1997; Indyk & Motwani 1998)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bongsu.corpus.cleaning import dedup_key
from bongsu.corpus.dedup import sketch
from bongsu.watch.messages import GIST

if TYPE_CHECKING:
    from datasketch import MinHash

_PERMUTATIONS = 64


class Window:
    """Joins a text to an alike one among the latest `size`; memory is about 4 kB a text."""

    def __init__(self, size: int, threshold: float = 0.7) -> None:
        from datasketch import MinHashLSH

        self._size, self._threshold = size, threshold
        self._index = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS)
        self._sketches: dict[str, MinHash] = {}

    def join(self, identity: str, text: str) -> str:
        """Return the id of the remembered text most like this one (estimated Jaccard similarity of character 5-shingles at
        least the threshold), else `identity`, which is remembered."""
        mine = sketch(dedup_key(text[:GIST]), _PERMUTATIONS)
        alike = [(mine.jaccard(self._sketches[other]), other) for other in self._index.query(mine)]
        if alike and max(alike)[0] >= self._threshold:
            return str(max(alike)[1])
        if identity not in self._sketches:
            self._index.insert(identity, mine, check_duplication=False)
            self._sketches[identity] = mine
            while len(self._sketches) > self._size:
                self.forget(next(iter(self._sketches)))
        return identity

    def forget(self, identity: str) -> None:
        """Take a text out of the window, if it is in it."""
        if self._sketches.pop(identity, None) is not None:
            self._index.remove(identity)
