"""What keeps a few thousand labels from being learned by heart: mixing, agreeing with oneself, thawing slowly."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def mixed(features: Tensor, targets: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Mix-up of hidden vectors (Verma et al. 2019): each text with another of the batch, by a share from Beta(alpha, alpha).

    Args:
        features: [B, F].
        targets: [B, C], distributions over the classes.
    """
    share = torch.distributions.Beta(alpha, alpha).sample().to(features.device)
    other = torch.randperm(len(features), device=features.device)
    return torch.lerp(features[other], features, share), torch.lerp(targets[other], targets, share)


def disagreement(one: Tensor, other: Tensor) -> Tensor:
    """The mean of both Kullback-Leibler divergences between two passes over the same texts (R-Drop, Liang et al. 2021).

    Args:
        one, other: logits [B, C].

    Returns:
        A scalar, in nats.
    """
    p, q = F.log_softmax(one, dim=-1), F.log_softmax(other, dim=-1)
    there = F.kl_div(p, q, log_target=True, reduction="batchmean")
    back = F.kl_div(q, p, log_target=True, reduction="batchmean")
    return (there + back) / 2


def thawed_from(epoch: float, n_layers: int, unfreeze_epochs: float) -> int:
    """The first layer that is trained at a moment: all layers join from the top, evenly spread over `unfreeze_epochs`.

    The embeddings join with layer 0. At the beginning the head is alone (n_layers).
    """
    if epoch >= unfreeze_epochs:
        return 0
    return n_layers - math.floor(epoch / unfreeze_epochs * n_layers)
