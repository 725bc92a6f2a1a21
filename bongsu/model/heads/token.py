"""A linear layer on every token: tags of words, starts and ends of answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from bongsu.model.heads.linear import LinearConfig


@dataclass(frozen=True)
class TokenConfig(LinearConfig):
    """The shape of a token layer."""

    kind: ClassVar[str] = "token"


class TokenHead(nn.Module):
    """Dropout and a linear layer, the same for every token (Devlin et al. 2019, sections 4.2 and 5.3)."""

    def __init__(self, d_model: int, config: TokenConfig) -> None:
        super().__init__()
        self.config = config
        self.drop = nn.Dropout(config.dropout)
        self.linear = nn.Linear(d_model, config.n_outputs)

    def forward(self, hidden: Tensor, valid: Tensor, text_ids: Tensor | None = None) -> Tensor:
        """Return outputs [B, L, n_outputs] of hidden [B, L, d_model]; those at padding (`valid` False) have no meaning."""
        return self.linear(self.drop(hidden))  # type: ignore[no-any-return]

    def after_step(self) -> None:
        """Bound nothing."""
