"""From a message to what a model reads: the same in training, in prediction and in a server, so nothing here needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from bongsu.corpus.cleaning import Cleaner
from bongsu.tokens.bpe import PAD_ID, UNK_ID

Int64 = npt.NDArray[np.int64]
LENGTH_STEP = 8  # lengths are rounded up to this, so that few shapes occur


def as_read(cleaner: Cleaner, text: str, context: Sequence[str] = ()) -> str:
    """The text the model reads: cleaned, with context such as a keyword in front."""
    return in_context(cleaned(cleaner, text), context)


def cleaned(cleaner: Cleaner, text: str) -> str:
    """The text as cleaning leaves it, never dropped altogether."""
    return cleaner.clean(text) or text.strip()


def in_context(text: str, context: Sequence[str]) -> str:
    """A cleaned text with its context in front."""
    front = [unquote(value).strip() for value in context if value and value.strip()]
    return " | ".join([*front, text])


def encode(tokenizer: Tokenizer, texts: list[str], max_length: int) -> list[Int64]:
    """Ids of each text, at most `max_length`; a text without any becomes one [UNK]."""
    encodings = tokenizer.encode_batch_fast(texts)
    return [np.array(encoding.ids[:max_length] or [UNK_ID], dtype=np.int64) for encoding in encodings]


def pad(ids: Sequence[Int64], step: int = LENGTH_STEP) -> Int64:
    """One row a text, [B, L] int64, filled with [PAD]: L is that of the longest, rounded up to a multiple of `step`."""
    length = -(-max(len(row) for row in ids) // step) * step
    table = np.full((len(ids), length), PAD_ID, dtype=np.int64)
    for number, row in enumerate(ids):
        table[number, : len(row)] = row
    return table
