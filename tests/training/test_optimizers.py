"""Which parameters decay, and one step of AdamW by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from bongsu.recipe import Optimization
from bongsu.training.optimizers import build_optimizer, parameter_groups


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.linear = nn.Linear(4, 3)
        self.norm = nn.LayerNorm(3)
        self.convolution = nn.Conv1d(3, 2, 2)
        self.output = nn.Linear(4, 5)
        self.output.weight = self.embedding.weight  # tied


def test_norms_biases_and_embeddings_do_not_decay() -> None:
    module = Small()
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    decayed, plain = parameter_groups(module, 0.1, 0.5)
    assert {names[id(p)] for p in decayed["params"]} == {"linear.weight", "convolution.weight"}
    assert {names[id(p)] for p in plain["params"]} == {
        "embedding.weight", "linear.bias", "norm.weight", "norm.bias", "convolution.bias", "output.bias"
    }  # fmt: skip
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.5, 0.0)
    assert decayed["peak"] == plain["peak"] == 0.1


def test_frozen_parameters_and_empty_groups_are_left_out() -> None:
    module = Small()
    for parameter in (*module.linear.parameters(), *module.convolution.parameters()):
        parameter.requires_grad = False
    groups = parameter_groups(module, 0.1, 0.5)
    assert [len(group["params"]) for group in groups] == [4]
    assert groups[0]["weight_decay"] == 0.0
    # Each parameter is in one group once.
    parameters = [id(p) for group in parameter_groups(Small(), 1.0, 0.1) for p in group["params"]]
    assert len(parameters) == len(set(parameters)) == 8


def test_two_steps_of_adamw_by_hand() -> None:
    """Loshchilov and Hutter (2019), algorithm 2, in plain Python."""
    module = nn.Linear(1, 1)
    settings = Optimization(learning_rate=0.1, betas=(0.9, 0.98), epsilon=1e-6)
    optimizer = build_optimizer(parameter_groups(module, 0.1, 0.01), settings, torch.device("cpu"))
    values = {name: parameter.item() for name, parameter in module.named_parameters()}
    first = dict.fromkeys(values, 0.0)
    second = dict.fromkeys(values, 0.0)
    for step, gradients in enumerate([{"weight": 0.3, "bias": -2.0}, {"weight": -0.1, "bias": 0.7}], start=1):
        for name, gradient in gradients.items():
            getattr(module, name).grad = torch.full_like(getattr(module, name), gradient)
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.98 * second[name] + 0.02 * gradient**2
            decay = 0.01 if name == "weight" else 0.0
            update = first[name] / (1 - 0.9**step) / (math.sqrt(second[name] / (1 - 0.98**step)) + 1e-6)
            values[name] = values[name] * (1 - 0.1 * decay) - 0.1 * update
        optimizer.step()
    assert {name: parameter.item() for name, parameter in module.named_parameters()} == pytest.approx(values, rel=1e-5)
