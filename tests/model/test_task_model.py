"""An encoder under a head: outputs, pairs, pooling, freezing and removing layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_encoders import shake, small
from torch.nn import functional as F

from bongsu.errors import RecipeError
from bongsu.model.encoder import Encoder
from bongsu.model.heads import CNNConfig, PairConfig, PairHead, TokenConfig, mean_pooled
from bongsu.model.task_model import TaskModel

HEAD = CNNConfig(n_outputs=3, kernel_sizes=(2, 3, 5), filters=7)


@pytest.mark.parametrize("preset", ["classic", "modern"])
@pytest.mark.parametrize("length", [1, 4, 5, 8])
def test_logits_of_a_text_do_not_depend_on_its_batch(preset: str, length: int) -> None:
    model = TaskModel(Encoder(small(preset)), HEAD).eval()
    text = torch.randint(1, 50, (1, length))
    other = torch.randint(1, 50, (1, 12))
    with torch.no_grad():
        alone, together = model(text), model(torch.cat([other, F.pad(text, (0, 12 - length))]))
    torch.testing.assert_close(together[1:], alone, rtol=1e-5, atol=1e-5)


def trained(model: TaskModel) -> set[str]:
    """Parts whose weights get a gradient."""
    model.zero_grad()
    model(torch.randint(1, 50, (4, 9))).logsumexp(-1).sum().backward()
    return {name for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("preset", ["classic", "modern"])
def test_freezing(preset: str) -> None:
    model = TaskModel(Encoder(small(preset, dropout=0.5)), HEAD).train()
    everything = trained(model)
    assert everything == {name for name, _ in model.named_parameters()}

    model.freeze()
    head = {name for name in everything if name.startswith("head.")}
    assert trained(model) == head
    ids = torch.randint(1, 50, (2, 9))
    hidden = model.train().encoder(ids)
    assert hidden.grad_fn is None
    assert torch.equal(hidden, model.encoder(ids))  # no dropout in what is frozen
    assert not torch.equal(model(ids), model(ids))  # but in the head

    model.freeze(unfreeze_last=1)
    last = {name for name in everything if name.startswith(("encoder.layers.2.", "encoder.final_norm."))}
    assert trained(model) == head | last
    model.train()
    assert [layer.training for layer in model.encoder.layers] == [False, False, True]
    with pytest.raises(RecipeError, match="has 3"):
        model.freeze(unfreeze_last=4)


def test_removing_last_layers_leaves_the_first_ones_output() -> None:
    encoder = Encoder(small()).eval()
    ids = torch.randint(1, 50, (2, 9))
    with torch.no_grad():
        expected = encoder.final_norm(encoder.forward_layers(ids)[0])
        model = TaskModel(encoder, HEAD).eval()
        model.remove_last(2)
        torch.testing.assert_close(model.encoder(ids), expected)
    assert model.encoder.config.n_layers == len(model.encoder.layers) == 1
    with pytest.raises(RecipeError, match="no layer"):
        model.remove_last(1)


def test_a_head_for_tokens_answers_for_each_of_them() -> None:
    model = TaskModel(Encoder(small()), TokenConfig(4)).eval()
    shake(model)
    text, padded = torch.randint(1, 50, (1, 6)), torch.zeros(2, 9, dtype=torch.long)
    padded[0], padded[1, :6] = torch.randint(1, 50, (9,)), text
    with torch.no_grad():
        alone, together = model(text), model(padded)
    assert together.shape == (2, 9, 4)
    torch.testing.assert_close(together[1:, :6], alone, rtol=1e-5, atol=1e-5)


def test_the_second_text_of_a_pair_is_told_by_a_vector_that_is_learned() -> None:
    encoder = Encoder(small()).eval()
    model = TaskModel(encoder, HEAD, pairs=True).eval()
    ids, text_ids = torch.randint(1, 50, (2, 8)), torch.tensor([[0] * 4 + [1] * 4, [0] * 8])
    torch.testing.assert_close(model(ids, text_ids), TaskModel.forward(model, ids))  # it begins at zero
    model(ids, text_ids).sum().backward()
    assert model.second_text.grad is not None
    assert bool((model.second_text.grad != 0).any())
    with torch.no_grad():
        model.second_text.normal_()
        first, second = model.hidden(ids, text_ids)[0], model.hidden(ids)[0]
        moved = encoder(ids, added=text_ids[..., None] * model.second_text)
    torch.testing.assert_close(first, moved)
    torch.testing.assert_close(first[1], second[1])  # a row without a second text
    assert not torch.allclose(first[0], second[0])
    assert "second_text" not in dict(TaskModel(encoder, HEAD).named_parameters())


@pytest.mark.parametrize("preset", ["classic", "modern"])
def test_texts_of_a_pair_read_apart_have_the_vectors_that_each_has_alone(preset: str) -> None:
    encoder = Encoder(small(preset)).eval()
    shake(encoder)
    model = TaskModel(encoder, PairConfig(2), pairs=True).eval()
    assert "second_text" not in dict(model.named_parameters())
    lengths = [(4, 5), (1, 3), (6, 0), (0, 2)]
    ids, text_ids = torch.zeros(4, 9, dtype=torch.long), torch.zeros(4, 9, dtype=torch.long)
    for row, (first, second) in enumerate(lengths):
        ids[row, : first + second] = torch.randint(1, 50, (first + second,))
        text_ids[row, first : first + second] = 1
    with torch.no_grad():
        hidden, valid = model.hidden(ids, text_ids)
        for row, (first, second) in enumerate(lengths):
            assert valid[row].sum() == first + second
            for start, length in ((0, first), (first, second)):
                if length:
                    alone = encoder(ids[row : row + 1, start : start + length])[0]
                    torch.testing.assert_close(hidden[row, start : start + length], alone, rtol=1e-5, atol=1e-5)


def test_a_comparison_is_linear_in_products_differences_and_the_cosine() -> None:
    head = PairHead(4, PairConfig(3)).eval()
    shake(head)
    hidden, valid = torch.randn(2, 6, 4), torch.tensor([[True] * 5 + [False], [True] * 6])
    text_ids = torch.tensor([[0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 0, 1]])
    with torch.no_grad():
        found = head(hidden, valid, text_ids).numpy()
    weight, bias = head.linear.weight.detach().numpy(), head.linear.bias.detach().numpy()
    for row, (first, second) in enumerate(((slice(0, 2), slice(2, 5)), (slice(0, 5), slice(5, 6)))):
        u, v = (hidden[row, part].numpy().mean(axis=0) for part in (first, second))
        cosine = u @ v / np.sqrt((u @ u) * (v @ v))
        expected = weight @ np.concatenate([u, v, abs(u - v), u * v, [cosine]]) + bias
        np.testing.assert_allclose(found[row], expected, rtol=1e-4, atol=1e-5)
    nothing = head(hidden, torch.zeros_like(valid), text_ids)
    torch.testing.assert_close(nothing, head.linear.bias.expand(2, 3))  # no division by a length of zero


def test_pooling_is_the_mean_of_the_tokens_that_are_there() -> None:
    hidden, lengths = torch.randn(3, 5, 4), [5, 2, 0]
    valid = torch.arange(5) < torch.tensor(lengths)[:, None]
    pooled = mean_pooled(hidden, valid).numpy()
    for row, length in enumerate(lengths):
        expected = hidden[row, :length].numpy().mean(axis=0) if length else np.zeros(4)
        np.testing.assert_allclose(pooled[row], expected, rtol=1e-5, atol=1e-6)
