"""A comparison of two texts: one output for both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bongsu.model.heads.linear import LinearConfig


@dataclass(frozen=True)
class PairConfig(LinearConfig):
    """The shape of a comparison."""

    kind: ClassVar[str] = "pair"


class PairHead(nn.Module):
    """A linear layer on u, v, |u - v|, u · v and their cosine, u and v being the means of each text's tokens.

    The features are those of InferSent (Conneau et al. 2017, section 3.1) and Sentence-BERT (Reimers and Gurevych 2019).
    """

    def __init__(self, d_model: int, config: PairConfig) -> None:
        super().__init__()
        self.config = config
        self.drop = nn.Dropout(config.dropout)
        self.linear = nn.Linear(4 * d_model + 1, config.n_outputs)

    def forward(self, hidden: Tensor, valid: Tensor, text_ids: Tensor | None = None) -> Tensor:
        """Return outputs [B, n_outputs].

        Args:
            hidden: [B, L, d_model].
            valid: [B, L] bool, False at padding.
            text_ids: [B, L] int64, 0 for the tokens of the first text and 1 for those of the second; by default
                there is no second.
        """
        second = torch.zeros_like(valid) if text_ids is None else text_ids == 1
        u, v = mean_pooled(hidden, valid & ~second), mean_pooled(hidden, valid & second)
        cosine = F.cosine_similarity(u, v, dim=-1, eps=1e-6)[:, None]
        return self.linear(torch.cat([self.drop(torch.cat([u, v, (u - v).abs(), u * v], dim=-1)), cosine], dim=-1))  # type: ignore[no-any-return]

    def after_step(self) -> None:
        """Bound nothing."""


def mean_pooled(hidden: Tensor, valid: Tensor) -> Tensor:
    """Return the mean vector of each text's tokens: hidden [B, L, d_model] and valid [B, L] bool -> [B, d_model].

    The mean of no tokens is zero.
    """
    counted = valid[..., None].to(hidden.dtype)
    return (hidden * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1.0)
