"""The sentence CNN against loops in numpy, and the head for tokens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_encoders import shake
from torch import nn

from bongsu import recipe
from bongsu.model.heads import CNNConfig, SentenceCNN, TokenConfig, TokenHead, build_head, head_config

HEAD = CNNConfig(n_outputs=3, kernel_sizes=(2, 3, 5), filters=7)


def cnn_by_hand(head: SentenceCNN, text: np.ndarray) -> np.ndarray:
    """Kim (2014) for one text [n, d], with loops."""
    widest = max(head.config.kernel_sizes)
    text = np.concatenate([text, np.zeros((max(0, widest - len(text)), text.shape[1]), np.float32)])
    features = []
    for convolution in head.convolutions:
        assert isinstance(convolution, nn.Conv1d)
        assert convolution.bias is not None
        kernel, bias = convolution.weight.detach().numpy(), convolution.bias.detach().numpy()  # [filters, d, k]
        for number in range(len(kernel)):
            k = kernel.shape[2]
            places = [
                max(0.0, float((kernel[number].T * text[start : start + k]).sum() + bias[number]))
                for start in range(len(text) - k + 1)
            ]
            features.append(max(places))
    logits: np.ndarray = head.linear.weight.detach().numpy() @ np.array(features) + head.linear.bias.detach().numpy()
    return logits


@settings(max_examples=30)
@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=4), spare=st.integers(0, 6))
def test_cnn_is_kims_whatever_padding_follows(lengths: list[int], spare: int) -> None:
    head = SentenceCNN(6, HEAD).eval()
    shake(head)
    total = max(1, max(lengths) + spare)
    hidden = torch.randn(len(lengths), total, 6) * 3
    valid = torch.arange(total) < torch.tensor(lengths)[:, None]
    with torch.no_grad():
        logits = head(hidden, valid)
    for row, length in enumerate(lengths):
        expected = cnn_by_hand(head, hidden[row, :length].numpy())
        np.testing.assert_allclose(logits[row].numpy(), expected, rtol=1e-4, atol=1e-4)


def test_max_norm_shortens_only_what_is_too_long() -> None:
    head = SentenceCNN(6, HEAD)
    with torch.no_grad():
        head.linear.weight.normal_()
        head.linear.weight.mul_(torch.tensor([[0.1], [1.0], [10.0]]) / head.linear.weight.norm(dim=1, keepdim=True))
    before = head.linear.weight.detach().clone()
    head.after_step()
    after = head.linear.weight.detach()
    torch.testing.assert_close(after[:2], before[:2])
    torch.testing.assert_close(after[2], before[2] * 0.3)

    free = SentenceCNN(6, replace(HEAD, max_norm=None))
    free.linear.weight.data.fill_(10.0)
    free.after_step()
    assert (free.linear.weight == 10).all()


@pytest.mark.parametrize("config", [HEAD, TokenConfig(5, 0.25)])
def test_a_config_makes_its_head_and_comes_back(config: CNNConfig | TokenConfig) -> None:
    values = {"kind": config.kind, **config.to_dict()}
    assert head_config(values) == config
    assert build_head(6, config).config == config
    with pytest.raises(KeyError):
        head_config({**values, "kind": "other"})
    with pytest.raises(TypeError):
        head_config({**values, "filtres": 3})


def test_cnn_config_from_recipe_and_its_shortest_row() -> None:
    config = CNNConfig.from_recipe(recipe.CNN(filters=9), n_outputs=4)
    assert (config.n_outputs, config.filters, config.kernel_sizes) == (4, 9, (2, 3, 4))
    assert [each.shortest for each in (config, HEAD, replace(HEAD, kernel_sizes=(1,)))] == [4, 5, 2]


def test_every_token_goes_through_one_linear_layer_whatever_stands_beside_it() -> None:
    head = TokenHead(6, TokenConfig(4, dropout=0.5)).eval()
    shake(head)
    hidden, valid = torch.randn(2, 5, 6), torch.ones(2, 5, dtype=torch.bool)
    with torch.no_grad():
        outputs = head(hidden, valid)
    weight, bias = head.linear.weight.detach().numpy(), head.linear.bias.detach().numpy()
    np.testing.assert_allclose(outputs.numpy(), hidden.numpy() @ weight.T + bias, rtol=1e-5, atol=1e-5)
    before = head.linear.weight.detach().clone()
    head.after_step()  # nothing is bounded
    assert torch.equal(head.linear.weight, before)
    head.train()
    assert not torch.equal(head(hidden, valid), head(hidden, valid))
