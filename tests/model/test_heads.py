"""The output layer, the sentence CNN against loops in numpy, and freezing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_encoders import shake, small
from torch.nn import functional as F

from bongsu import recipe
from bongsu.errors import RecipeError
from bongsu.model.encoder import Encoder
from bongsu.model.heads import CNNConfig, SentenceCNN, TokenConfig, TokenHead
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.model.task_model import TaskModel, mean_pooled

HEAD = CNNConfig(n_outputs=3, kernel_sizes=(2, 3, 5), filters=7)


def test_output_layer_is_the_embedding_and_learns_from_both_sides() -> None:
    model = MaskedLanguageModel(small())
    shake(model)
    ids, read, targets = torch.randint(1, 50, (2, 8)), torch.tensor([1, 9, 12]), torch.tensor([4, 5, 6])
    table = model.encoder.embeddings.tok_embeddings.weight
    assert sum(parameter.shape == table.shape for parameter in model.parameters()) == 1

    F.cross_entropy(model(ids, query_positions=read), targets).backward()
    as_input = model.encoder(ids, query_positions=read) @ table.detach().T + model.output_bias
    (from_input,) = torch.autograd.grad(F.cross_entropy(as_input, targets), table)
    as_output = model.encoder(ids, query_positions=read).detach() @ table.T + model.output_bias
    (from_output,) = torch.autograd.grad(F.cross_entropy(as_output, targets), table)
    assert table.grad is not None
    torch.testing.assert_close(table.grad, from_input + from_output, rtol=1e-4, atol=1e-5)


def cnn_by_hand(head: SentenceCNN, text: np.ndarray) -> np.ndarray:
    """Kim (2014) for one text [n, d], with loops."""
    widest = max(head.config.kernel_sizes)
    text = np.concatenate([text, np.zeros((max(0, widest - len(text)), text.shape[1]), np.float32)])
    features = []
    for convolution in head.convolutions:
        kernel, bias = convolution.weight.detach().numpy(), convolution.bias.detach().numpy()  # [filters, d, k]
        for number in range(len(kernel)):
            k = kernel.shape[2]
            places = [
                max(0.0, float((kernel[number].T * text[start : start + k]).sum() + bias[number]))
                for start in range(len(text) - k + 1)
            ]
            features.append(max(places))
    return head.linear.weight.detach().numpy() @ np.array(features) + head.linear.bias.detach().numpy()


@settings(max_examples=30, deadline=None)
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


@pytest.mark.parametrize("preset", ["classic", "modern"])
@pytest.mark.parametrize("length", [1, 4, 5, 8])
def test_logits_of_a_text_do_not_depend_on_its_batch(preset: str, length: int) -> None:
    classifier = TaskModel(Encoder(small(preset)), HEAD).eval()
    text = torch.randint(1, 50, (1, length))
    other = torch.randint(1, 50, (1, 12))
    with torch.no_grad():
        alone, batch = classifier(text), classifier(torch.cat([other, F.pad(text, (0, 12 - length))]))
    torch.testing.assert_close(batch[1:], alone, rtol=1e-5, atol=1e-5)


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


def trained(classifier: TaskModel) -> set[str]:
    """Parts whose weights get a gradient."""
    classifier.zero_grad()
    classifier(torch.randint(1, 50, (4, 9))).logsumexp(-1).sum().backward()
    return {name for name, parameter in classifier.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("preset", ["classic", "modern"])
def test_freezing(preset: str) -> None:
    classifier = TaskModel(Encoder(small(preset, dropout=0.5)), HEAD).train()
    everything = trained(classifier)
    assert everything == {name for name, _ in classifier.named_parameters()}

    classifier.freeze()
    head = {name for name in everything if name.startswith("head.")}
    assert trained(classifier) == head
    ids = torch.randint(1, 50, (2, 9))
    hidden = classifier.train().encoder(ids)
    assert hidden.grad_fn is None
    assert torch.equal(hidden, classifier.encoder(ids))  # no dropout in what is frozen
    assert not torch.equal(classifier(ids), classifier(ids))  # but in the head

    classifier.freeze(unfreeze_last=1)
    last = {name for name in everything if name.startswith(("encoder.layers.2.", "encoder.final_norm."))}
    assert trained(classifier) == head | last
    classifier.train()
    assert [layer.training for layer in classifier.encoder.layers] == [False, False, True]
    with pytest.raises(RecipeError, match="has 3"):
        classifier.freeze(unfreeze_last=4)


def test_removing_last_layers_leaves_the_first_ones_output() -> None:
    encoder = Encoder(small()).eval()
    ids = torch.randint(1, 50, (2, 9))
    with torch.no_grad():
        expected = encoder.final_norm(encoder.forward_layers(ids)[0])
        classifier = TaskModel(encoder, HEAD).eval()
        classifier.remove_last(2)
        torch.testing.assert_close(classifier.encoder(ids), expected)
    assert classifier.encoder.config.n_layers == len(classifier.encoder.layers) == 1
    with pytest.raises(RecipeError, match="no layer"):
        classifier.remove_last(1)


def test_cnn_config_from_recipe_and_back() -> None:
    config = CNNConfig.from_recipe(recipe.CNN(filters=9), n_outputs=4)
    assert (config.n_outputs, config.filters, config.kernel_sizes) == (4, 9, (2, 3, 4))
    assert CNNConfig.from_dict(config.to_dict()) == config


def test_a_token_layer_answers_for_every_token_whatever_padding_follows() -> None:
    model = TaskModel(Encoder(small()), TokenConfig(5)).eval()
    assert isinstance(model.head, TokenHead)
    text = torch.randint(1, 50, (1, 6))
    with torch.no_grad():
        alone, padded = model(text), model(F.pad(text, (0, 4)))
        hidden, valid = model.hidden(F.pad(text, (0, 4)))
    assert alone.shape == (1, 6, 5)
    torch.testing.assert_close(padded[:, :6], alone, rtol=1e-5, atol=1e-5)
    expected = hidden[0, :6] @ model.head.linear.weight.T + model.head.linear.bias
    torch.testing.assert_close(alone[0], expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(mean_pooled(hidden, valid)[0], hidden[0, :6].mean(dim=0), rtol=1e-5, atol=1e-6)


def test_the_second_text_of_a_pair_is_told_by_a_learned_vector() -> None:
    model = TaskModel(Encoder(small()), HEAD, pairs=True).eval()
    ids, texts = torch.randint(1, 50, (2, 8)), torch.tensor([[0] * 4 + [1] * 4] * 2)
    with torch.no_grad():
        torch.testing.assert_close(model(ids, texts), model(ids))  # it begins as zero
        model.second_text.normal_()
        embedded = model.encoder.embeddings(ids, torch.arange(8)[None])
        expected = model.encoder(ids, added=texts[..., None] * model.second_text)
        assert not torch.equal(model(ids, texts), model(ids))
        torch.testing.assert_close(model.hidden(ids, texts)[0], expected)
    assert embedded.shape == expected.shape
    model(ids, texts).sum().backward()
    assert model.second_text.grad is not None
