"""Explanations against hiding words by hand, and robustness against counting."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from bongsu.evaluation.robustness import CHANGES, flips, typing_error
from bongsu.finetuning.trainable import probabilities
from bongsu.inference.explain import as_shares, explain
from bongsu.model.encoder import Encoder, EncoderConfig
from bongsu.model.heads import Classifier, CNNConfig
from bongsu.model.initialization import initialize
from bongsu.tokens.special import MASK_ID


@pytest.fixture
def model(tokenizer: Tokenizer) -> Classifier:
    made = Classifier(
        Encoder(EncoderConfig(tokenizer.get_vocab_size(), "modern", 16, 1, 2, 32, "geglu", 0.0, 64)), CNNConfig(2, (1, 2), 8)
    )
    initialize(made, 4)
    with torch.no_grad():
        made.head.linear.weight.normal_(generator=torch.Generator().manual_seed(4))
    return made


@pytest.mark.parametrize("text", ["bada gufe  [LINK] don't", "바다에 불이 났다", "a", "", "🔥🔥 fire"])
def test_a_words_weight_is_what_hiding_it_takes_away(model: Classifier, tokenizer: Tokenizer, text: str) -> None:
    seen: list[str] = []

    def classify(ids: Sequence[np.ndarray], texts: Sequence[str]) -> np.ndarray:
        seen.extend(texts)
        return probabilities(model, ids)

    words = explain(classify, tokenizer, text, 64, of=1)
    assert [shown.split() for shown in seen[1:]] == [
        text.split()[:number] + text.split()[number + 1 :] for number in range(len(words))
    ]
    assert [word.text for word in words] == text.split()
    whole = tokenizer.encode(text)
    for number, word in enumerate(words):
        before = tokenizer.encode(" ".join(text.split()[:number]))
        if "  " in text:
            continue  # counted in tokens only where single blanks part the words
        first = len(before.ids)
        last = len(tokenizer.encode(" ".join(text.split()[: number + 1])).ids)
        hidden = np.array(whole.ids)
        hidden[first:last] = MASK_ID
        table = probabilities(model, [np.array(whole.ids), hidden])[:, 1]
        assert word.weight == pytest.approx(table[0] - table[1], abs=1e-6)


def test_words_that_are_not_read_weigh_nothing(model: Classifier, tokenizer: Tokenizer) -> None:
    words = explain(lambda ids, _: probabilities(model, ids), tokenizer, "bada gufe rimo kota", 1, of=1)
    assert [word.weight for word in words[1:]] == pytest.approx([0, 0, 0], abs=1e-9)
    shares = as_shares(words)
    assert max(float(str(share["share"])) for share in shares) in (0.0, 1.0)


@given(st.text("abcdéf @#:/", max_size=40), st.integers(0, 50))
def test_a_typing_error_only_swaps_two_letters(text: str, seed: int) -> None:
    changed = typing_error(text, random.Random(seed))
    assert sorted(changed) == sorted(text)
    different = [place for place, (old, new) in enumerate(zip(text, changed, strict=True)) if old != new]
    assert len(different) in (0, 2)


def test_links_stay_whole() -> None:
    text = "see http://t.co/abcdef @someone"
    assert {typing_error(text, random.Random(number)) for number in range(9)} == {text}


def test_flips_are_counted() -> None:
    texts = ["fire", "Fire", "see http://t.co/x"]
    shouting = lambda many: np.array([int(text.isupper()) for text in many])  # noqa: E731
    found = flips(texts, shouting, seed=0)
    assert found.keys() == CHANGES.keys()
    assert found["in capitals"] == {"texts": 3, "flipped": 3}
    assert found["in small letters"] == {"texts": 1, "flipped": 0}
    assert found["links taken away"] == {"texts": 1, "flipped": 0}
