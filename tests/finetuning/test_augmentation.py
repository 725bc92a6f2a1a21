"""Changed copies: what may change, and that they are the same whenever they are made."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from bongsu.finetuning.augmentation import SIGNS, aeda, changed_words, eda, replaced_tokens, shown
from bongsu.model.encoder import EncoderConfig
from bongsu.model.initialization import initialize
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.tokens.special import MASK_ID

words = st.lists(st.text("abc가", min_size=1, max_size=4), min_size=1, max_size=12).map(" ".join)


@given(words, st.integers(0, 99))
def test_aeda_only_puts_signs_in(text: str, seed: int) -> None:
    changed = aeda(text, random.Random(seed)).split(" ")
    assert [word for word in changed if word not in SIGNS] == text.split(" ")
    assert 1 <= len(changed) - len(text.split(" ")) <= max(1, len(text.split(" ")) // 3)


@given(words, st.integers(0, 99))
def test_eda_only_moves_and_leaves_out(text: str, seed: int) -> None:
    changed = eda(text, random.Random(seed)).split(" ")
    assert changed
    assert not Counter(changed) - Counter(text.split(" "))


def test_copies_are_pure_and_differ_by_epoch() -> None:
    encode = lambda text: np.array([ord(letter) for letter in text])  # noqa: E731
    show = changed_words("aeda", ["one two three four five six seven"], encode, seed=1)
    assert np.array_equal(show(0, 3), show(0, 3))
    assert not np.array_equal(show(0, 3), show(0, 4))


def test_shares_are_as_asked() -> None:
    ids = [np.full(20, 9)] * 300
    bare, changed = (lambda row, epoch: np.full(10, 9)), (lambda row, epoch: np.full(5, 9))
    show = shown(ids, seed=2, forms=[(0.2, bare), (0.5, changed)], token_dropout=0.1)
    texts = [show(row, epoch) for row in range(300) for epoch in range(10)]
    lengths = Counter(len(text) for text in texts)
    assert abs(lengths[10] / 3000 - 0.2) < 0.03
    assert abs(lengths[5] / 3000 - 0.4) < 0.03
    masked = np.concatenate(texts) == MASK_ID
    assert abs(masked.mean() - 0.1) < 0.01
    assert np.array_equal(show(5, 7), show(5, 7))
    plain = shown(ids, seed=2)
    assert np.array_equal(plain(0, 0), ids[0])


def test_replaced_tokens_come_from_the_model() -> None:
    model = MaskedLanguageModel(EncoderConfig(40, "modern", 16, 2, 2, 32, "geglu", 0.0, 64))
    initialize(model, 0)
    with torch.no_grad():
        model.output_bias[17] = 50.0  # what this model always says
    generator = np.random.default_rng(0)
    ids = [generator.integers(3, 40, length) for length in generator.integers(1, 60, 80)]
    made = replaced_tokens(model, ids, seed=5, copies=2)
    changed = total = 0
    for text, copies in zip(ids, made, strict=True):
        for copy in copies:
            assert len(copy) == len(text)
            assert set(copy[copy != text].tolist()) <= {17}
            changed += int((copy != text).sum())
            total += len(text)
    assert 0.11 < changed / total < 0.18
    again = replaced_tokens(model, ids, seed=5, copies=2)
    for copies, same in zip(made, again, strict=True):
        assert all(np.array_equal(one, other) for one, other in zip(copies, same, strict=True))
