"""AdamW (Loshchilov and Hutter 2019), with weight decay only where it belongs."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from bongsu.recipe import Optimization


def parameter_groups(module: nn.Module, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups: matrices decay; norms, biases and embeddings do not. Frozen parameters are left out."""
    embeddings = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for parameter in module.parameters():
        if parameter.requires_grad:
            (plain if parameter.ndim < 2 or id(parameter) in embeddings else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay, "peak": learning_rate},
        {"params": plain, "weight_decay": 0.0, "peak": learning_rate},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(groups: list[dict[str, Any]], settings: Optimization, device: torch.device) -> torch.optim.Optimizer:
    """AdamW over groups that carry their own `peak` learning rate."""
    return torch.optim.AdamW(
        groups,
        lr=settings.learning_rate,
        betas=settings.betas,
        eps=settings.epsilon,
        fused=device.type in ("cpu", "cuda"),
    )
