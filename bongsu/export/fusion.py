"""A model as ONNX Runtime computes it fastest: the same numbers from fewer, larger nodes.

On short texts starting a node costs as much as its work. So rotation and attention become one node each (operators of ONNX
Runtime itself, domain com.microsoft), and the convolutions of the sentence CNN one matrix product, which int8 can take over.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bongsu.model.attention import Rotation, SelfAttention, gather_positions
from bongsu.model.encoder import Encoder, EncoderLayer
from bongsu.model.heads import SentenceCNN
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.model.task_model import TaskModel

Model = TypeVar("Model", TaskModel, MaskedLanguageModel)
_DOMAIN = "com.microsoft"


def fused(model: Model) -> Model:
    """Return a copy for the exporter; it cannot be run in torch."""
    model = copy.deepcopy(model)
    if isinstance(model.encoder, Encoder):  # those of `transformers` stay as they are
        for layer in model.encoder.layers:
            assert isinstance(layer, EncoderLayer)
            layer.attn = _FusedAttention(layer.attn, model.encoder)  # type: ignore[assignment]  # of the same call
    if isinstance(model, TaskModel) and isinstance(model.head, SentenceCNN):
        model.head = _FusedCNN(model.head, model.encoder.config.d_model)
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

    def forward(self, x: Tensor, mask: Tensor, turn: Rotation | None, query_positions: Tensor | None) -> Tensor:
        """Compute `SelfAttention.forward` of rows whose positions count from their start."""
        q, k, v = self.attention.Wqkv(x).chunk(3, dim=-1)  # each [B, L, d_model]
        if self.rotary:
            q, k = (self._node("RotaryEmbedding", [part, self.start, self.cosines, self.sines]) for part in (q, k))
        return self.attention.Wo(  # type: ignore[no-any-return]
            gather_positions(query_positions, self._node("MultiHeadAttention", [q, k, v, None, None, mask]))
        )

    def _node(self, name: str, inputs: list[Tensor | None]) -> Tensor:
        """Return a node whose result has the shape of its first input."""
        x = inputs[0]
        assert x is not None
        heads: dict[str, Any] = {"num_heads": self.attention.n_heads}
        return torch.onnx.ops.symbolic(f"{_DOMAIN}::{name}", inputs, heads, dtype=x.dtype, shape=x.shape, version=1)


class _FusedCNN(SentenceCNN):
    """The sentence CNN with all kernels as one matrix: narrow ones are continued with zeros to the width of the widest."""

    sizes: Tensor

    def __init__(self, head: SentenceCNN, d_model: int) -> None:
        super().__init__(d_model, head.config)
        state, sizes = head.state_dict(), head.config.kernel_sizes
        self.load_state_dict(state)
        padded = [F.pad(state[f"convolutions.{number}.weight"], (0, max(sizes) - k)) for number, k in enumerate(sizes)]
        kernels = torch.cat(padded).transpose(1, 2).flatten(1)  # [K · filters, widest · d_model]
        self.product = nn.Linear(kernels.shape[1], kernels.shape[0])
        self.product.weight = nn.Parameter(kernels)
        self.product.bias = nn.Parameter(torch.cat([state[f"convolutions.{number}.bias"] for number in range(len(sizes))]))
        self.register_buffer("sizes", torch.tensor(sizes))

    def convolve(self, hidden: Tensor, valid: Tensor) -> Tensor:
        length, widest = hidden.shape[1], max(self.config.kernel_sizes)
        hidden = F.pad(hidden, (0, 0, 0, widest - 1))
        windows = torch.cat([hidden[:, start : start + length] for start in range(widest)], dim=-1)
        y = self.product(windows).unflatten(-1, (len(self.sizes), -1))  # [B, L, K, filters]
        lengths = valid.sum(dim=1)[:, None, None].clamp(min=widest)
        beyond = torch.arange(length)[:, None] > lengths - self.sizes  # [B, L, K]: kernels that end outside the text
        return F.relu(y.masked_fill(beyond[..., None], -torch.inf).amax(dim=1)).flatten(1)
