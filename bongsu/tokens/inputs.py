"""From a message to what a model reads: the same in training, in prediction and in a server, so nothing here needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote

import numpy as np
from tokenizers import Encoding, Tokenizer

from bongsu.arrays import Int64
from bongsu.corpus.cleaning import Cleaner
from bongsu.tokens.special import PAD_ID, UNK_ID

LENGTH_STEP = 8  # lengths are rounded up to this, so that few shapes occur


class Encoded(NamedTuple):
    """One row of a model's input: a text, a pair of texts, or a window of a long one."""

    ids: Int64
    """[L] token ids."""
    text_ids: Int64 | None = None
    """[L], of pairs: 0 for tokens of the first text and 1 for those of the second."""
    offsets: Int64 | None = None
    """[L, 2], where a token begins and ends in its text, in characters; (0, 0) for what the tokenizer adds. Kinds that
    answer for parts of a text keep it."""
    example: int = 0
    """Which example the row is of."""


def format_input(cleaner: Cleaner, text: str, context: Sequence[str] = ()) -> str:
    """Return the text the model reads: cleaned, with context such as a keyword in front."""
    return in_context(cleaned(cleaner, text), context)


def cleaned(cleaner: Cleaner, text: str) -> str:
    """Return the text as cleaning leaves it, never dropped altogether."""
    return cleaner.clean(text) or text.strip()


def in_context(text: str, context: Sequence[str]) -> str:
    """Return a cleaned text with its context in front."""
    front = [unquote(value).strip() for value in context if value and value.strip()]
    return " | ".join([*front, text])


def encode(tokenizer: Tokenizer, texts: list[str], max_length: int) -> list[Int64]:
    """Return the ids of each text, at most `max_length`, with what the tokenizer puts around it.

    A text without any token becomes one [UNK].
    """
    encodings = tokenizer.encode_batch_fast(texts)
    for row, encoding in enumerate(encodings):
        if len(encoding) > max_length:
            encodings[row] = encode_one(tokenizer, texts[row], max_length)
    return [np.array(encoding.ids or [UNK_ID], dtype=np.int64) for encoding in encodings]


def encode_one(tokenizer: Tokenizer, text: str, max_length: int) -> Encoding:
    """Return a text's tokens with the places they stand at; what is put around a text stays when the text is cut."""
    encoding = tokenizer.encode(text, add_special_tokens=False)
    encoding.truncate(max(0, max_length - tokenizer.num_special_tokens_to_add(is_pair=False)))
    return tokenizer.post_process(encoding)


def pad(ids: Sequence[Int64], step: int = LENGTH_STEP, pad_id: int = PAD_ID) -> Int64:
    """Return one row a text, [B, L] int64, filled with `pad_id`: L is the longest, rounded up to a multiple of `step`."""
    length = -(-max(len(row) for row in ids) // step) * step
    table = np.full((len(ids), length), pad_id, dtype=np.int64)
    for number, row in enumerate(ids):
        table[number, : len(row)] = row
    return table
