"""Which words drove a decision, by occlusion: what the probability loses when a word is hidden (Zeiler and Fergus 2014)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from bongsu.tokens.inputs import encode_one
from bongsu.tokens.special import UNK_ID, special_tokens

Int64 = npt.NDArray[np.int64]
Classify = Callable[[Sequence[Int64], Sequence[str]], npt.NDArray[Any]]
"""Texts as token ids, and as they are read -> class probabilities [texts, classes]."""


class Word(NamedTuple):
    """A word of a text as the model reads it."""

    text: str
    weight: float
    """How much lower the class's probability is when the word is [MASK] (to TF-IDF: away); negative for a word against it."""


def explain(classify: Classify, tokenizer: Tokenizer, text: str, max_length: int, of: int) -> list[Word]:
    """The words of a text, in order, with their weights for class `of`; words past `max_length` have weight 0.

    Args:
        text: as the model reads it.
    """
    encoding = encode_one(tokenizer, text, max_length)
    ids = np.array(encoding.ids or [UNK_ID], dtype=np.int64)
    words = list(re.finditer(r"\S+", text))
    starts = np.array([word.start() for word in words])
    # A token belongs to the word that its last character is in: byte-level tokens take the blank before them along. What
    # stands around a text ends at 0, and belongs to none.
    owner = np.array([np.searchsorted(starts, end - 1, side="right") - 1 for _, end in encoding.offsets])
    read = int(owner.max(initial=-1)) + 1
    mask = special_tokens(tokenizer).mask
    hidden = [np.where(owner == number, mask, ids) for number in range(read)]
    without = [f"{text[: word.start()]} {text[word.end() :]}" for word in words[:read]]
    table = classify([ids, *hidden], [text, *without])[:, of]
    weights = [*(table[0] - table[1:]).tolist(), *[0.0] * (len(words) - read)]
    return [Word(word[0], weight) for word, weight in zip(words, weights, strict=True)]


def as_shares(words: Sequence[Word]) -> list[dict[str, object]]:
    """For the report: each word with its weight, and its size as a share of the largest in the text."""
    largest = max((abs(word.weight) for word in words), default=0.0) or 1.0
    return [{"text": word.text, "weight": word.weight, "share": abs(word.weight) / largest} for word in words]
