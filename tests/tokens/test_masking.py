"""Masks against the shares of Devlin et al. (2019) and against themselves in other company."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bongsu.tokens.masking import mask_tokens
from bongsu.tokens.random import mix, uniform
from bongsu.tokens.special import MASK_ID

VOCAB = 100


def many(seed: int, sentences: int = 20_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """tokens, owner, keys of sentences of 1 to 40 tokens."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 41, sentences)
    owner = np.repeat(np.arange(sentences), lengths)
    return generator.integers(3, VOCAB, len(owner)), owner, mix(seed, np.arange(sentences))


def near(count: float, total: float, share: float) -> bool:
    """Within four standard deviations of a binomial count."""
    return abs(count - share * total) < 4 * math.sqrt(total * share * (1 - share))


@pytest.mark.parametrize("rate", [0.15, 0.4])
def test_shares(rate: float) -> None:
    tokens, owner, keys = many(1)
    seen, chosen = mask_tokens(tokens, owner, keys, rate, VOCAB)
    assert abs(chosen.mean() - rate) < 0.002
    assert np.array_equal(seen[~chosen], tokens[~chosen])
    of = chosen.sum()
    masked = seen == MASK_ID
    assert near(masked.sum(), of, 0.8)
    changed = chosen & ~masked & (seen != tokens)
    # One random token in 97 is the token itself by chance.
    assert near(changed.sum(), of, 0.1 * (1 - 1 / (VOCAB - 3)))
    assert near((chosen & (seen == tokens)).sum(), of, 0.1 + 0.1 / (VOCAB - 3))


def test_random_tokens_are_uniform_and_never_special() -> None:
    tokens, owner, keys = many(2)
    tokens[:] = 3
    seen, chosen = mask_tokens(tokens, owner, keys, 0.5, VOCAB)
    replaced = seen[chosen & (seen != MASK_ID) & (seen != 3)]
    assert replaced.min() > MASK_ID
    assert stats.chisquare(np.bincount(replaced, minlength=VOCAB)[4:]).pvalue > 1e-4


def test_every_position_is_as_likely() -> None:
    keys = mix(3, np.arange(20_000))
    owner = np.repeat(np.arange(20_000), 10)
    _, chosen = mask_tokens(np.full(200_000, 5), owner, keys, 0.15, VOCAB)
    by_position = chosen.reshape(20_000, 10).sum(axis=0)
    assert stats.chisquare(by_position).pvalue > 1e-4


def test_the_count_is_the_share_rounded_up_or_down() -> None:
    tokens, owner, keys = many(4)
    _, chosen = mask_tokens(tokens, owner, keys, 0.15, VOCAB)
    counts, lengths = np.bincount(owner, chosen), np.bincount(owner)
    assert np.array_equal(counts, np.floor(0.15 * lengths + uniform(mix(keys, 0))))
    assert abs(counts[lengths == 1].mean() - 0.15) < 0.07  # even a sentence of one token has its share


def test_special_tokens_are_left_alone() -> None:
    tokens, owner, keys = many(5, 2000)
    tokens[::2] = np.arange(len(tokens[::2])) % 3
    seen, chosen = mask_tokens(tokens, owner, keys, 0.9, VOCAB)
    assert not chosen[tokens < 3].any()
    assert np.array_equal(seen[tokens < 3], tokens[tokens < 3])


@given(data=st.data(), whole=st.booleans())
def test_a_sentence_is_masked_alike_in_any_company(data: st.DataObject, whole: bool) -> None:
    starts = np.arange(VOCAB) % 3 == 0 if whole else None
    tokens, owner, keys = many(6, 30)
    seen, chosen = mask_tokens(tokens, owner, keys, 0.3, VOCAB, starts)
    order = data.draw(st.permutations(range(30)))[: data.draw(st.integers(1, 30))]
    parts = [tokens[owner == sentence] for sentence in order]
    among = np.repeat(np.arange(len(order)), [len(part) for part in parts])
    seen_there, chosen_there = mask_tokens(np.concatenate(parts), among, keys[order], 0.3, VOCAB, starts)
    for place, sentence in enumerate(order):
        assert np.array_equal(seen_there[among == place], seen[owner == sentence])
        assert np.array_equal(chosen_there[among == place], chosen[owner == sentence])


@pytest.mark.parametrize("rate", [0.15, 0.5])
def test_whole_words_are_masked_whole(rate: float) -> None:
    tokens, owner, keys = many(7)
    starts = np.arange(VOCAB) % 2 == 0  # words of two tokens on average, up to ten and more
    _, chosen = mask_tokens(tokens, owner, keys, rate, VOCAB, starts)
    begins = starts[tokens] | (np.diff(owner, prepend=-1) > 0)
    word = np.cumsum(begins) - 1
    share = np.bincount(word, chosen) / np.bincount(word)
    assert set(share) == {0.0, 1.0}
    assert abs(chosen.mean() - rate) < 0.004
