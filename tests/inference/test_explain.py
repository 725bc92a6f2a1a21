"""Explanations against hiding words by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from bongsu.inference.explain import explain
from bongsu.inference.torch_backend import TorchBackend
from bongsu.model.encoder import Encoder, EncoderConfig
from bongsu.model.heads import CNNConfig
from bongsu.model.initialization import initialize
from bongsu.model.task_model import TaskModel
from bongsu.tasks.task import Example
from bongsu.tokens.inputs import Encoded
from bongsu.tokens.special import MASK_ID


@pytest.fixture
def backend(tokenizer: Tokenizer) -> TorchBackend:
    config = EncoderConfig(tokenizer.get_vocab_size(), "modern", 16, 1, 2, 32, "geglu", 0.0, 64)
    model = TaskModel(Encoder(config), CNNConfig(2, (1, 2), 8))
    initialize(model, 4)
    with torch.no_grad():
        model.head.linear.weight.normal_(generator=torch.Generator().manual_seed(4))
    return TorchBackend(model)


def example(text: str) -> Example[None]:
    return Example("", (text,), (text,), text, None)


@pytest.mark.parametrize("text", ["bada gufe  [LINK] don't", "바다에 불이 났다", "a", "", "🔥🔥 fire"])
def test_a_words_weight_is_what_hiding_it_takes_away(backend: TorchBackend, tokenizer: Tokenizer, text: str) -> None:
    seen: list[str] = []

    def score(rows: Sequence[Encoded], examples: Sequence[Example[Any]]) -> np.ndarray:
        seen.extend(each.inputs[0] for each in examples)
        return np.stack(backend.run(rows))

    words = explain(score, tokenizer, example(text), 64, output=1)
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
        table = np.stack(backend.run([Encoded(np.array(whole.ids)), Encoded(hidden)]))[:, 1]
        assert word.weight == pytest.approx(table[0] - table[1], abs=1e-5)


def test_words_that_are_not_read_weigh_nothing(backend: TorchBackend, tokenizer: Tokenizer) -> None:
    text = example("bada gufe rimo kota")
    words = explain(lambda rows, _: np.stack(backend.run(rows)), tokenizer, text, 1, output=1)
    assert [word.weight for word in words[1:]] == pytest.approx([0, 0, 0], abs=1e-9)
