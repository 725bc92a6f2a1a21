"""AdamW (Loshchilov and Hutter 2019), or Muon (Jordan 2024) for the matrices with AdamW for the rest."""

from __future__ import annotations

from typing import Any, TypedDict

import torch
from torch import nn

from bongsu.recipe import Optimization


class ParameterGroup(TypedDict):
    """A group of parameters as `torch.optim` takes it, with two keys of our own."""

    params: list[nn.Parameter]
    weight_decay: float
    peak: float
    """The learning rate at its highest."""
    matrices: bool
    """Whether Muon may update them."""


def parameter_groups(module: nn.Module, learning_rate: float, weight_decay: float) -> list[ParameterGroup]:
    """Return two groups: matrices with weight decay; norms, biases and embeddings without. Frozen parameters are left out."""
    embeddings = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for parameter in module.parameters():
        if parameter.requires_grad:
            (plain if parameter.ndim < 2 or id(parameter) in embeddings else decayed).append(parameter)
    groups: list[ParameterGroup] = [
        {"params": decayed, "weight_decay": weight_decay, "peak": learning_rate, "matrices": True},
        {"params": plain, "weight_decay": 0.0, "peak": learning_rate, "matrices": False},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(groups: list[ParameterGroup], settings: Optimization, device: torch.device) -> torch.optim.Optimizer:
    """Return the recipe's optimizer over groups that have their own `peak` learning rate."""
    orthogonal = [group for group in groups if settings.optimizer == "muon" and _orthogonal(group)]
    others = [group for group in groups if not any(group is one for one in orthogonal)]
    parts: list[torch.optim.Optimizer] = []
    if orthogonal:
        # Updates as large as AdamW's usually are, so that one learning rate serves both (Liu et al. 2025, section 2.2).
        muon = torch.optim.Muon(
            [dict(group) for group in orthogonal],
            lr=settings.learning_rate,
            momentum=settings.momentum,
            adjust_lr_fn="match_rms_adamw",
        )
        parts.append(muon)
    if others:
        fused = device.type in ("cpu", "cuda")
        rate, betas, epsilon = settings.learning_rate, settings.betas, settings.epsilon
        parts.append(torch.optim.AdamW([dict(group) for group in others], lr=rate, betas=betas, eps=epsilon, fused=fused))
    return parts[0] if len(parts) == 1 else CombinedOptimizer(parts)


class CombinedOptimizer(torch.optim.Optimizer):
    """Optimizers of different parameters as one: one list of groups, one state, one step."""

    def __init__(self, parts: list[torch.optim.Optimizer]) -> None:
        super().__init__([group for part in parts for group in part.param_groups], {})
        self.parts = parts
        for part in parts:
            part.state = self.state

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for part in self.parts:
            part.step()


def _orthogonal(group: ParameterGroup) -> bool:
    """Return whether a group is for Muon, which updates the matrices of hidden layers."""
    return group["matrices"] and all(parameter.ndim == 2 for parameter in group["params"])
