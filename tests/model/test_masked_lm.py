"""The output layer of masked-language modelling."""

from __future__ import annotations

import torch
from tiny_encoders import shake, small
from torch.nn import functional as F

from bongsu.model.masked_lm import MaskedLanguageModel


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
