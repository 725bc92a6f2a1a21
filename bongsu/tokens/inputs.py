"""From a message to what a model reads: the same in training, in prediction and in a server, so nothing here needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote

import numpy as np
from tokenizers import Encoding, Tokenizer

from bongsu.arrays import Int64
from bongsu.corpus.cleaning import Cleaner
from bongsu.errors import panics_as_errors
from bongsu.tokens.special import PAD_ID, UNK_ID

_UNREADABLE = "The tokenizer cannot read this text"
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
    unit_tokens: Int64 | None = None
    """[units], of kinds that answer for words or characters: the token that covers the first character of each; -1 where the
    text was cut before it."""
    example: int = 0
    """Which example the row is of."""


def cleaned(cleaner: Cleaner, texts: Sequence[str]) -> list[str]:
    """Return texts as the rules of cleaning rewrite them, however long they are; of one that they leave nothing of, itself."""
    rewritten = cleaner.rewrite_all(texts)
    return [new if new.strip() else old.replace("\0", "").strip() for new, old in zip(rewritten, texts, strict=True)]


def in_context(text: str, context: Sequence[str]) -> str:
    """Return a cleaned text with its context in front."""
    front = [unquote(value).strip() for value in context if value and value.strip()]
    return " | ".join([*front, text])


@panics_as_errors(_UNREADABLE)
def encode(tokenizer: Tokenizer, texts: list[str], max_length: int) -> list[Int64]:
    """Return the ids of each text, at most `max_length`, with what the tokenizer puts around it.

    A text without any token becomes one [UNK].

    Raises:
        LibraryPanicError: when the tokenizer gives up on a text, as one with a backtracking regular expression may.
    """
    encodings = tokenizer.encode_batch_fast(texts)
    for row, encoding in enumerate(encodings):
        if len(encoding) > max_length:
            encodings[row] = encode_one(tokenizer, texts[row], max_length)
    return [np.array(encoding.ids or [UNK_ID], dtype=np.int64) for encoding in encodings]


@panics_as_errors(_UNREADABLE)
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


@panics_as_errors(_UNREADABLE)
def encode_pair(tokenizer: Tokenizer, first: str, second: str, max_length: int) -> Encoded:
    """Return two texts as one row of at most `max_length` tokens; the longer one is cut first.

    The tokenizer's own separator stands between them, if it has one. Offsets are those of each text.
    """
    special = tokenizer.num_special_tokens_to_add(is_pair=True)
    parts = tokenizer.encode_batch([first, second], add_special_tokens=False)
    room = max(2, max_length - special)
    lengths = [len(part) for part in parts]
    while sum(lengths) > room:
        lengths[0 if lengths[0] > lengths[1] else 1] -= 1
    for part, length in zip(parts, lengths, strict=True):
        part.truncate(length)
    return _joined(tokenizer.post_process(parts[0], parts[1]))


@panics_as_errors(_UNREADABLE)
def encode_windows(tokenizer: Tokenizer, first: str, second: str, max_length: int, stride: int) -> list[Encoded]:
    """Return two texts as rows of at most `max_length` tokens, each with all of the first and a window of the second.

    Two windows share `stride` tokens. The first text is cut where it would leave no room.
    """
    special = tokenizer.num_special_tokens_to_add(is_pair=True)
    one, other = tokenizer.encode_batch([first if special else f"{first} |", second], add_special_tokens=False)
    one.truncate(max(1, min(len(one), (max_length - special) // 2)))
    room = max(1, max_length - special - len(one))
    other.truncate(room, stride=min(stride, room - 1))
    return [_joined(tokenizer.post_process(one, window)) for window in (other, *other.overflowing)]


def _joined(encoding: Encoding) -> Encoded:
    """Return an encoded pair; offsets are (-1, -1) for tokens that are not of the second text."""
    sequence = np.array([-1 if each is None else each for each in encoding.sequence_ids], dtype=np.int64)
    types = np.array(encoding.type_ids, dtype=np.int64)
    text_ids = types if types.any() else (sequence == 1).astype(np.int64)
    offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
    offsets[sequence != 1] = -1
    ids = np.array(encoding.ids or [UNK_ID], dtype=np.int64)
    if not encoding.ids:
        return Encoded(ids, np.zeros(1, dtype=np.int64), np.full((1, 2), -1, dtype=np.int64))
    return Encoded(ids, text_ids, offsets)
