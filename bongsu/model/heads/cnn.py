"""The sentence CNN (Kim 2014): one output for a whole text."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bongsu import recipe


@dataclass(frozen=True)
class CNNConfig:
    """The shape of a sentence CNN; `max_norm` None sets no bound."""

    kind: ClassVar[str] = "cnn"

    n_outputs: int
    kernel_sizes: tuple[int, ...] = (2, 3, 4)
    filters: int = 100
    dropout: float = 0.5
    max_norm: float | None = 3.0

    @classmethod
    def from_recipe(cls, head: recipe.CNN, n_outputs: int) -> CNNConfig:
        return cls(n_outputs, tuple(head.kernel_sizes), head.filters, head.dropout, head.max_norm)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CNNConfig:
        """Build from the values of `to_dict`. Raises TypeError when a key is missing or unknown."""
        config = cls(**values)
        return replace(config, kernel_sizes=tuple(config.kernel_sizes))

    def to_dict(self) -> dict[str, object]:
        return asdict(self)

    @property
    def shortest(self) -> int:
        """The fewest tokens a row of an exported graph has: as many as the widest kernel."""
        return max(2, *self.kernel_sizes)


class SentenceCNN(nn.Module):
    """Convolutions of several widths over a text, the maximum of each over time, and a linear layer (Kim 2014).

    A text is the run of tokens at the start of its row. One shorter than the widest kernel is continued with zeros up to
    that width. Nothing else of the padding enters a convolution or a maximum, so the outputs of a text do not depend on
    the batch it is in.
    """

    def __init__(self, d_model: int, config: CNNConfig) -> None:
        super().__init__()
        self.config = config
        self.convolutions = nn.ModuleList(nn.Conv1d(d_model, config.filters, k) for k in config.kernel_sizes)
        self.drop = nn.Dropout(config.dropout)
        self.linear = nn.Linear(config.filters * len(config.kernel_sizes), config.n_outputs)

    def forward(self, hidden: Tensor, valid: Tensor, text_ids: Tensor | None = None) -> Tensor:
        """Return outputs [B, n_outputs] of hidden [B, L, d_model] and valid [B, L] bool, False at padding."""
        return self.linear(self.drop(self.convolve(hidden.masked_fill(~valid[..., None], 0), valid)))  # type: ignore[no-any-return]

    def convolve(self, hidden: Tensor, valid: Tensor) -> Tensor:
        """Return the maximum of each filter over a text, [B, K · filters] for K widths; hidden is 0 at padding."""
        widest = max(self.config.kernel_sizes)
        x = hidden.transpose(1, 2)  # [B, d_model, L]
        x = F.pad(x, (0, max(0, widest - x.shape[-1])))  # [B, d_model, T], T = max(L, widest)
        lengths = valid.sum(dim=1, keepdim=True).clamp(min=widest)  # [B, 1]
        maxima = []
        for k, convolution in zip(self.config.kernel_sizes, self.convolutions, strict=True):
            y = convolution(x)  # [B, filters, T - k + 1]: one column for each place the kernel starts at
            starts = torch.arange(y.shape[-1], device=y.device)
            beyond = starts > lengths - k  # [B, T - k + 1]: kernels that end outside the text
            y = y.masked_fill(beyond[:, None], -torch.inf)
            maxima.append(F.relu(y.amax(dim=-1)))  # [B, filters]; ReLU after the maximum is the same and less work
        return torch.cat(maxima, dim=1)

    @torch.no_grad()
    def after_step(self) -> None:
        """Scale each class's weights down to an L2 norm of at most `max_norm` (Kim 2014, 3.1)."""
        if self.config.max_norm is not None:
            self.linear.weight.copy_(torch.renorm(self.linear.weight, p=2, dim=0, maxnorm=self.config.max_norm))
