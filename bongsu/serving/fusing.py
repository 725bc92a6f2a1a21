"""A model as ONNX Runtime computes it fastest: the same numbers from fewer, larger nodes.

On short texts starting a node costs as much as its work. So rotation and attention become one node each (operators of ONNX
Runtime itself, domain com.microsoft), and the convolutions of the sentence CNN one matrix product, which int8 can take over.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bongsu.model.attention import Rotation, SelfAttention, only
from bongsu.model.encoder import Encoder
from bongsu.model.heads import Classifier, MaskedLanguageModel, SentenceCNN

Model = TypeVar("Model", Classifier, MaskedLanguageModel)
_DOMAIN = "com.microsoft"


def fused(model: Model) -> Model:
    """A copy for the exporter; it cannot be run in torch."""
    model = copy.deepcopy(model)
    for layer in model.encoder.layers:
        layer.attn = _FusedAttention(layer.attn, model.encoder)
    if isinstance(model, Classifier):
        model.head = _FusedCNN(model.head)
    return model


class _FusedAttention(nn.Module):
    """`SelfAttention` with ONNX Runtime's operators for rotation and for everything between the projections."""

    cosines: Tensor
    sines: Tensor
    start: Tensor

    def __init__(self, attention: SelfAttention, encoder: Encoder) -> None:
        super().__init__()
        self.attention = attention
        self.rotary = encoder.config.preset == "modern"
        if self.rotary:
            half = encoder.cosines.shape[1] // 2  # ours repeat the angles for the second half of the dimensions
            self.register_buffer("cosines", encoder.cosines[:, :half].contiguous())
            self.register_buffer("sines", encoder.sines[:, half:].contiguous())
            self.register_buffer("start", torch.zeros(1, dtype=torch.int64))

    def forward(self, x: Tensor, mask: Tensor, turn: Rotation | None, read: Tensor | None) -> Tensor:
        """As `SelfAttention.forward`, of rows whose positions count from their start."""
        q, k, v = self.attention.Wqkv(x).chunk(3, dim=-1)  # each [B, L, d_model]
        if self.rotary:
            q, k = (self._node("RotaryEmbedding", [part, self.start, self.cosines, self.sines]) for part in (q, k))
        return self.attention.Wo(  # type: ignore[no-any-return]
            only(read, self._node("MultiHeadAttention", [q, k, v, None, None, mask]))
        )

    def _node(self, name: str, inputs: list[Tensor | None]) -> Tensor:
        """A node whose result has the shape of its first input."""
        x = inputs[0]
        assert x is not None
        heads = {"num_heads": self.attention.n_heads}
        return torch.onnx.ops.symbolic(f"{_DOMAIN}::{name}", inputs, heads, dtype=x.dtype, shape=x.shape, version=1)


class _FusedCNN(SentenceCNN):
    """The sentence CNN with all kernels as one matrix: narrow ones are continued with zeros to the width of the widest."""

    sizes: Tensor

    def __init__(self, head: SentenceCNN) -> None:
        super().__init__(head.convolutions[0].in_channels, head.config)
        self.load_state_dict(head.state_dict())
        widest = max(head.config.kernel_sizes)
        kernels = torch.cat([F.pad(one.weight, (0, widest - one.kernel_size[0])) for one in head.convolutions])
        self.product = nn.Linear(kernels[0].numel(), len(kernels))
        self.product.weight = nn.Parameter(kernels.transpose(1, 2).flatten(1))  # [K · filters, widest · d_model]
        self.product.bias = nn.Parameter(torch.cat([one.bias for one in head.convolutions]))
        self.register_buffer("sizes", torch.tensor(head.config.kernel_sizes))

    def convolve(self, hidden: Tensor, valid: Tensor) -> Tensor:
        length, widest = hidden.shape[1], max(self.config.kernel_sizes)
        hidden = F.pad(hidden, (0, 0, 0, widest - 1))
        windows = torch.cat([hidden[:, start : start + length] for start in range(widest)], dim=-1)
        y = self.product(windows).unflatten(-1, (len(self.sizes), -1))  # [B, L, K, filters]
        lengths = valid.sum(dim=1)[:, None, None].clamp(min=widest)
        beyond = torch.arange(length)[:, None] > lengths - self.sizes  # [B, L, K]: kernels that end outside the text
        return F.relu(y.masked_fill(beyond[..., None], -torch.inf).amax(dim=1)).flatten(1)
