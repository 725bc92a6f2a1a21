"""Of many texts those most like a task's own, by how likely their words are in each (Moore and Lewis 2010)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import CountVectorizer

Int64 = npt.NDArray[np.int64]


def most_like(texts: Sequence[str], own: Sequence[str], count: int) -> Int64:
    """The rows of the `count` texts whose words are the likeliest among `own` against among `texts`, in order; [count] int64.

    A text's score is the mean over its different words of log p(word | own) - log p(word | texts), each with one added to
    every count; texts without a word come last.
    """
    vectorizer = CountVectorizer(token_pattern=r"(?u)\b\w+\b", binary=True, dtype=np.float64)
    try:
        theirs, mine = vectorizer.fit_transform(texts), vectorizer.transform(own)
    except ValueError:  # scikit-learn's word for "no word in any text"
        return np.arange(min(count, len(texts)))

    def logs(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        shares: npt.NDArray[np.float64] = np.log((counts + 1.0) / (counts.sum() + len(counts)))
        return shares

    ratio = logs(np.asarray(mine.sum(axis=0)).ravel()) - logs(np.asarray(theirs.sum(axis=0)).ravel())
    words = np.asarray(theirs.sum(axis=1)).ravel()
    score = np.where(words > 0, (theirs @ ratio) / np.maximum(words, 1.0), -np.inf)
    return np.sort(np.argsort(-score, kind="stable")[:count]).astype(np.int64)
