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


def test_muon_takes_the_matrices_and_adamw_the_rest() -> None:
    """Each parameter moves as under torch's own Muon or AdamW alone, and a learning rate set in the groups reaches both."""
    torch.manual_seed(0)
    module, alone = Small(), Small()
    alone.load_state_dict(module.state_dict())
    module.convolution.requires_grad_(False)
    alone.convolution.requires_grad_(False)
    settings = Optimization(optimizer="muon", learning_rate=0.1)
    optimizer = build_optimizer(parameter_groups(module, 0.1, 0.5), settings, torch.device("cpu"))
    matrices = [alone.linear.weight]
    rest = [p for p in alone.parameters() if p.requires_grad and p is not alone.linear.weight]
    muon = torch.optim.Muon(matrices, lr=0.05, weight_decay=0.5, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(rest, lr=0.05, betas=settings.betas, eps=settings.epsilon, weight_decay=0.0, fused=True)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] / 2
    for _ in range(3):
        for mine, other in zip(module.parameters(), alone.parameters(), strict=True):
            if mine.requires_grad:
                mine.grad = torch.randn_like(mine)
                other.grad = mine.grad.clone()
        optimizer.step()
        muon.step()
        adamw.step()
    for mine, other in zip(module.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=0)
    assert set(optimizer.state) == {p for p in module.parameters() if p.requires_grad}


def test_muons_step_is_nearly_orthogonal() -> None:
    """Of the size AdamW's have: singular values near 0.2 √(longer side) · learning rate, whatever the gradient's are."""
    torch.manual_seed(0)
    layer = nn.Linear(32, 64, bias=False)
    before = layer.weight.detach().clone()
    optimizer = build_optimizer(
        parameter_groups(layer, 0.1, 0.0), Optimization(optimizer="muon", learning_rate=0.1), torch.device("cpu")
    )
    layer.weight.grad = torch.randn(64, 32) @ torch.diag(torch.logspace(0, 2, 32))
    optimizer.step()
    sizes = torch.linalg.svdvals(layer.weight.detach() - before) / (0.1 * 0.2 * 64**0.5)
    assert 0.5 < sizes.min() <= sizes.max() < 1.4
