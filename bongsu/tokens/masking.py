"""Masking of tokens (Devlin et al. 2019, section 3.1).

15 % of the tokens are to be predicted: 80 % of them are replaced by [MASK], 10 % by a random token, 10 % are left alone. Masks
are a hash of (seed, epoch, sentence, position): drawn anew every epoch (Liu et al. 2019, section 4.1), independent of how
sentences are batched, and reproducible without being saved.
"""

from __future__ import annotations

import numpy as np

from bongsu.arrays import Bool, Float64, Int64, UInt64
from bongsu.tokens.random import mix, uniform
from bongsu.tokens.special import MASK_ID, SPECIAL

_COUNT, _CHOICE, _FATE, _TOKEN, _WHOLE = range(5)  # what a draw is for


def mask_tokens(
    tokens: Int64,
    sentence: Int64,
    keys: UInt64,
    rate: float,
    vocab_size: int,
    word_starts: Bool | None = None,
) -> tuple[Int64, Bool]:
    """Mask a run of sentences.

    Args:
        tokens: [tokens] int64, the sentences one after another.
        sentence: [tokens] int64, which sentence each token belongs to: 0, 0, 0, 1, 1, ...
        keys: [sentences] uint64, the random key of each sentence.
        rate: share of the tokens to predict. A sentence of n tokens has `rate * n` of them, rounded up or down at random so
            that the share is exact on average.
        word_starts: [vocab_size] bool: mask whole words (Cui et al. 2021); None masks tokens.

    Returns:
        The tokens the encoder sees, [tokens] int64, and which of them are to be predicted, [tokens] bool.
    """
    lengths = np.bincount(sentence, minlength=len(keys))
    position = np.arange(len(tokens)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    wanted = np.floor(rate * lengths + uniform(mix(keys, _COUNT))).astype(np.int64)
    maskable = tokens >= len(SPECIAL)
    # The unit a token is masked with: itself, or the token its word begins with (an index into `tokens`).
    unit = np.arange(len(tokens))
    if word_starts is not None:
        unit = np.maximum.accumulate(np.where(word_starts[tokens] | (position == 0), unit, 0))
    order = uniform(mix(keys[sentence], _CHOICE, position[unit]))
    order[~maskable] = 2.0  # behind everything that may be masked
    ranked = np.lexsort((position, order, sentence))
    chosen = np.zeros(len(tokens), dtype=bool)
    chosen[ranked] = position < wanted[sentence]  # `ranked` is grouped by sentence, so `position` counts ranks
    chosen &= maskable
    if word_starts is not None:
        chosen = _whole_units(chosen, unit, uniform(mix(keys[sentence], _WHOLE, position[unit])))

    token_key = mix(keys[sentence], _FATE, position)
    fate = uniform(token_key)
    any_token = len(SPECIAL) + (mix(token_key, _TOKEN) % np.uint64(vocab_size - len(SPECIAL))).astype(np.int64)
    replaced = np.where(fate < 0.8, MASK_ID, np.where(fate < 0.9, any_token, tokens))
    return np.where(chosen, replaced, tokens), chosen


def _whole_units(chosen: Bool, unit: Int64, draw: Float64) -> Bool:
    """Complete or drop the word that the quota ends in, at random, so that the share stays exact on average."""
    size = np.bincount(unit)
    taken = np.bincount(unit, weights=chosen)
    return np.asarray(taken[unit] > draw * size[unit], dtype=bool)
