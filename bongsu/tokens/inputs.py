"""From a message to what a model reads: the same in training, in prediction and in a server, so nothing here needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer

from bongsu.corpus.cleaning import Cleaner
from bongsu.tokens.special import PAD_ID, UNK_ID

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
    """Ids of each text, at most `max_length`, with what the tokenizer puts around it; a text without any becomes one [UNK]."""
    encodings = tokenizer.encode_batch_fast(texts)
    for row, encoding in enumerate(encodings):
        if len(encoding) > max_length:
            encodings[row] = encode_one(tokenizer, texts[row], max_length)
    return [np.array(encoding.ids or [UNK_ID], dtype=np.int64) for encoding in encodings]


def encode_one(tokenizer: Tokenizer, text: str, max_length: int) -> Encoding:
    """A text's tokens with the places they stand at; what is put around a text stays when the text is cut."""
    encoding = tokenizer.encode(text, add_special_tokens=False)
    encoding.truncate(max(0, max_length - tokenizer.num_special_tokens_to_add(is_pair=False)))
    return tokenizer.post_process(encoding)


def pad(ids: Sequence[Int64], step: int = LENGTH_STEP, pad_id: int = PAD_ID) -> Int64:
    """One row a text, [B, L] int64, filled with `pad_id`: L is that of the longest, rounded up to a multiple of `step`."""
    length = -(-max(len(row) for row in ids) // step) * step
    table = np.full((len(ids), length), pad_id, dtype=np.int64)
    for number, row in enumerate(ids):
        table[number, : len(row)] = row
    return table
