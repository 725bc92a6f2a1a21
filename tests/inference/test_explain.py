"""Explanations against hiding words by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from bongsu.evaluation.temperature import softmax
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


def example_of(text: str, *more: str) -> Example[None]:
    return Example("", (text, *more), (text, *more), text, None)


@pytest.mark.parametrize("output", [0, 1])
@pytest.mark.parametrize("text", ["bada gufe  [LINK] don't", "바다에 불이 났다", "a", "", "🔥🔥 fire"])
def test_a_words_weight_is_what_hiding_it_takes_away(
    backend: TorchBackend, tokenizer: Tokenizer, text: str, output: int
) -> None:
    seen: list[Example[Any]] = []

    def score(rows: Sequence[Encoded], examples: Sequence[Example[Any]]) -> np.ndarray:
        assert [row.example for row in rows] == list(range(len(examples)))
        seen.extend(examples)
        return softmax(np.stack(backend.run(rows)))

    words = explain(score, tokenizer, example_of(text, "second"), 64, output)
    assert [shown.inputs[0].split() for shown in seen[1:]] == [
        text.split()[:number] + text.split()[number + 1 :] for number in range(len(words))
    ]
    assert {shown.inputs[1] for shown in seen} == {"second"}
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
        table = softmax(np.stack(backend.run([Encoded(np.array(whole.ids)), Encoded(hidden)])))[:, output]
        assert word.weight == pytest.approx(table[0] - table[1], abs=1e-6)


def test_words_that_are_not_read_weigh_nothing(backend: TorchBackend, tokenizer: Tokenizer) -> None:
    passes: list[int] = []

    def score(rows: Sequence[Encoded], examples: Sequence[Example[Any]]) -> np.ndarray:
        passes.append(len(rows))
        return softmax(np.stack(backend.run(rows)))

    words = explain(score, tokenizer, example_of("bada gufe rimo kota"), 1, 1)
    assert [word.text for word in words] == ["bada", "gufe", "rimo", "kota"]
    assert words[0].weight != 0
    assert [word.weight for word in words[1:]] == [0, 0, 0]
    assert passes == [2]  # the text, and it without the one word that is read
