"""Explanations by occlusion: how much a probability drops when a word is hidden (Zeiler and Fergus 2014)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from bongsu.arrays import Float32
from bongsu.tasks.task import Example
from bongsu.tokens.inputs import Encoded, encode_one
from bongsu.tokens.special import UNK_ID, special_tokens

Score = Callable[[Sequence[Encoded], Sequence[Example[Any]]], Float32]
"""Rows of a model's input, and the examples they are of -> probabilities [rows, outputs]."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text as the model reads it."""

    text: str
    weight: float
    """How much lower the probability is when the word is [MASK] (for TF-IDF: removed); negative for a word against it."""


def explain(score: Score, tokenizer: Tokenizer, example: Example[Any], max_length: int, output: int) -> list[Word]:
    """Return the words of an example's first text, in order, with their weights for one output.

    Words past `max_length` tokens have weight 0. Costs one pass for each word that is read.
    """
    text = example.inputs[0]
    encoding = encode_one(tokenizer, text, max_length)
    ids = np.array(encoding.ids or [UNK_ID], dtype=np.int64)
    words = list(re.finditer(r"\S+", text))
    starts = np.array([word.start() for word in words])
    # A token belongs to the word that its last character is in: byte-level tokens start with the blank before them. What
    # the tokenizer puts around a text ends at 0, and belongs to none.
    owner = np.array([np.searchsorted(starts, end - 1, side="right") - 1 for _, end in encoding.offsets])
    read = int(owner.max(initial=-1)) + 1
    mask = special_tokens(tokenizer).mask
    rows = [Encoded(ids), *(Encoded(np.where(owner == number, mask, ids)) for number in range(read))]
    without = [
        replace(example, inputs=(f"{text[: word.start()]} {text[word.end() :]}", *example.inputs[1:])) for word in words[:read]
    ]
    table = score([row._replace(example=number) for number, row in enumerate(rows)], [example, *without])[:, output]
    weights = [*(table[0] - table[1:]).tolist(), *[0.0] * (len(words) - read)]
    return [Word(word[0], weight) for word, weight in zip(words, weights, strict=True)]
