"""Weights before training: distributions, and the seed as the only source of chance."""

from __future__ import annotations

import pytest
import torch
from tiny_encoders import small

from bongsu.model.encoder import Encoder
from bongsu.model.heads import CNNConfig, TokenConfig
from bongsu.model.initialization import initialize
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.model.task_model import TaskModel


@pytest.mark.parametrize("preset", ["classic", "modern"])
def test_a_seed_gives_the_same_weights_whatever_happened_before(preset: str) -> None:
    def weights(seed: int) -> dict[str, torch.Tensor]:
        model = MaskedLanguageModel(small(preset))
        classifier = TaskModel(model.encoder, CNNConfig(2))
        initialize(model, seed)
        initialize(classifier.head, seed)
        return classifier.state_dict() | model.state_dict()

    one = weights(1)
    torch.randn(7)
    again, other = weights(1), weights(2)
    assert all(torch.equal(one[name], again[name]) for name in one)
    drawn = [name for name in one if one[name].ndim > 1 and name != "head.linear.weight"]
    assert not any(torch.equal(one[name], other[name]) for name in drawn)


@pytest.mark.parametrize("head", [CNNConfig(3), TokenConfig(3)])
def test_before_training_all_classes_are_equally_likely(head: CNNConfig | TokenConfig) -> None:
    model = TaskModel(Encoder(small()), head).eval()
    initialize(model.head, 0)
    probabilities = model(torch.randint(1, 50, (4, 9))).softmax(dim=-1)
    torch.testing.assert_close(probabilities, torch.full_like(probabilities, 1 / 3))


def test_modern_is_drawn_as_modernbert_is() -> None:
    encoder = Encoder(small(d_model=128, d_ff=256, vocab_size=500, n_layers=2))
    initialize(encoder, 0)
    cut = 0.8796  # standard deviation of a normal cut off at 2, as a share of the whole one's
    for name, parameter in encoder.named_parameters():
        if parameter.ndim == 1:
            assert (parameter == 1).all(), name
        else:
            std = 0.02 / (2 * 2) ** 0.5 if name.endswith("Wo.weight") else 0.02
            assert parameter.std().item() == pytest.approx(cut * std, rel=0.03), name
            assert parameter.abs().max().item() <= 2 * std


def test_classic_is_xavier_with_embeddings_of_unit_variance() -> None:
    encoder = Encoder(small("classic", d_model=128, d_ff=256, vocab_size=500))
    initialize(encoder, 0)
    for name, parameter in encoder.named_parameters():
        if name == "embeddings.tok_embeddings.weight":
            assert (parameter * 128**0.5).std().item() == pytest.approx(1, rel=0.03)
        elif parameter.ndim > 1:
            assert parameter.std().item() == pytest.approx((2 / sum(parameter.shape)) ** 0.5, rel=0.03), name
        else:
            assert (parameter == float(name.endswith("norm.weight"))).all(), name
