"""A Transformer encoder of the BERT family (Vaswani et al. 2017; Devlin et al. 2019), in two presets.

`classic`: pre-norm layers with biases (Xiong et al. 2020), sinusoidal positions added to embeddings scaled by √d.
`modern`: ModernBERT's layer (Warner et al. 2024) with global attention everywhere: rotary positions, a gated
feed-forward layer, no biases. Its tensors have the names they have in `transformers.ModernBertModel`.

Both take any activation. Read `attention.py` first, then this file from top to bottom.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bongsu import recipe
from bongsu.errors import DataError
from bongsu.model.attention import Rotation, SelfAttention, attention_mask, gather_positions, rotation
from bongsu.model.dropout import Dropout

ACTIVATIONS: dict[recipe.Activation, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,  # by erf: on a CPU the approximation by tanh takes three times as long
    "swish": F.silu,
    "geglu": F.gelu,
    "swiglu": F.silu,
}


@dataclass(frozen=True)
class EncoderConfig:
    """The shape of an encoder; with a seed it determines every weight before training."""

    vocab_size: int
    preset: Literal["classic", "modern"]
    d_model: int
    n_layers: int
    n_heads: int
    d_ff: int
    activation: recipe.Activation
    dropout: float
    max_length: int
    pad_id: int = 0
    norm_eps: float = 1e-5
    rope_theta: float = 10000.0

    @property
    def gated(self) -> bool:
        """Whether the feed-forward layer is gated (Shazeer 2020)."""
        return self.activation in recipe.GATED

    @classmethod
    def from_recipe(cls, model: recipe.Model, vocab_size: int) -> EncoderConfig:
        return cls(
            vocab_size=vocab_size,
            preset=model.preset,
            d_model=model.d_model,
            n_layers=model.n_layers,
            n_heads=model.n_heads,
            d_ff=model.resolved_d_ff,
            activation=model.resolved_activation,
            dropout=model.dropout,
            max_length=model.max_length,
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> EncoderConfig:
        """Build from the values of `to_dict`. Raises TypeError when a key is missing or unknown."""
        return cls(**values)

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


class ClassicEmbeddings(nn.Module):
    """Token embeddings × √d plus sinusoidal positions."""

    positions: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.scale = math.sqrt(config.d_model)
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.d_model)
        self.drop = Dropout(config.dropout)
        self.register_buffer("positions", sinusoids(config.max_length, config.d_model), persistent=False)

    def forward(self, input_ids: Tensor, positions: Tensor) -> Tensor:
        """[B, L] token ids and positions -> [B, L, d_model]."""
        return self.drop(self.tok_embeddings(input_ids) * self.scale + self.positions[positions])  # type: ignore[no-any-return]


class ModernEmbeddings(nn.Module):
    """Token embeddings, normalised. Positions come in with attention."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.d_model)
        self.norm = nn.LayerNorm(config.d_model, eps=config.norm_eps, bias=False)
        self.drop = Dropout(config.dropout)

    def forward(self, input_ids: Tensor, positions: Tensor) -> Tensor:
        """[B, L] token ids -> [B, L, d_model]."""
        return self.drop(self.norm(self.tok_embeddings(input_ids)))  # type: ignore[no-any-return]


def sinusoids(positions: int, d_model: int) -> Tensor:
    """Return sines in even dimensions and cosines in odd ones, [positions, d_model].

    Wavelengths go from 2π to 10000 · 2π (Vaswani et al. 2017, section 3.5)."""
    speeds = 10000.0 ** -(torch.arange(0, d_model, 2, dtype=torch.float32, device="cpu") / d_model)
    angles = torch.arange(positions, dtype=torch.float32, device="cpu")[:, None] * speeds  # [positions, d_model / 2]
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)


class FeedForward(nn.Module):
    """Wo(act(Wi x)), or gated Wo(act(a) · b) with a and b the halves of Wi x (Shazeer 2020)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        bias = config.preset == "classic"
        self.gated = config.gated
        self.activation = ACTIVATIONS[config.activation]
        self.Wi = nn.Linear(config.d_model, config.d_ff * (2 if self.gated else 1), bias=bias)
        self.drop = Dropout(config.dropout)
        self.Wo = nn.Linear(config.d_ff, config.d_model, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """[..., d_model] -> [..., d_model]."""
        inner = self.Wi(x)  # [..., d_ff] or, gated, [..., 2 d_ff]
        if self.gated:
            signal, gate = inner.chunk(2, dim=-1)
            inner = self.activation(signal) * gate  # [..., d_ff]
        else:
            inner = self.activation(inner)
        return self.Wo(self.drop(inner))  # type: ignore[no-any-return]


class EncoderLayer(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x))."""

    def __init__(self, config: EncoderConfig, first: bool) -> None:
        super().__init__()
        classic = config.preset == "classic"
        # ModernBERT's embeddings are normalised already, so its first layer does not do it again.
        self.attn_norm = nn.Identity() if first and not classic else layer_norm(config)
        self.attn = SelfAttention(config.d_model, config.n_heads, config.dropout, bias=classic)
        self.mlp_norm = layer_norm(config)
        self.mlp = FeedForward(config)
        self.drop = Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor, turn: Rotation | None, query_positions: Tensor | None = None) -> Tensor:
        """[B, L, d_model] -> [B, L, d_model], or [M, d_model] at M `query_positions`.

        Keys and values are needed of every token, all that follows attention only of those queried.
        """
        x = gather_positions(query_positions, x) + self.drop(self.attn(self.attn_norm(x), mask, turn, query_positions))
        return x + self.drop(self.mlp(self.mlp_norm(x)))  # type: ignore[no-any-return]


def layer_norm(config: EncoderConfig) -> nn.LayerNorm:
    return nn.LayerNorm(config.d_model, eps=config.norm_eps, bias=config.preset == "classic")


class Encoder(nn.Module):
    """Embeddings, `n_layers` layers and a final LayerNorm."""

    cosines: Tensor
    sines: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = (ClassicEmbeddings if config.preset == "classic" else ModernEmbeddings)(config)
        self.layers = nn.ModuleList(EncoderLayer(config, first=index == 0) for index in range(config.n_layers))
        self.final_norm = layer_norm(config)
        self.narrow_residual = False
        """Whether under autocast what is added from layer to layer is kept in autocast's type, for less traffic on a GPU."""
        if config.preset == "modern":
            cosines, sines = rotation(config.max_length, config.d_model // config.n_heads, config.rope_theta)
            self.register_buffer("cosines", cosines, persistent=False)
            self.register_buffer("sines", sines, persistent=False)

    def forward(
        self,
        input_ids: Tensor,
        segment_ids: Tensor | None = None,
        positions: Tensor | None = None,
        query_positions: Tensor | None = None,
        added: Tensor | None = None,
    ) -> Tensor:
        """Return vectors of tokens in context.

        Args:
            input_ids: [B, L] int64.
            segment_ids: [B, L] int64, which sentence of a packed row a token belongs to, counted from 1, and 0 for
                padding; a token sees its own sentence only. By default a row is one sentence, padded with `pad_id`.
            positions: [B, L] int64, the place of a token in its sentence. By default counted from the row's start.
            query_positions: [M] int64, positions in the flattened B·L. What follows the last layer's attention is computed for
                these alone: the same numbers for less work, when only masked tokens are predicted.
            added: [B, L, d_model], added to the embedded tokens, such as which of two texts a token belongs to.

        Returns:
            [B, L, d_model], or [M, d_model] with `query_positions`. What stands at padding has no meaning.
        """
        x, mask, turn = self.embed(input_ids, segment_ids, positions)
        if added is not None:
            x = x + added
        *before, last = self.layers
        for layer in before:
            x = layer(x, mask, turn)
        return self.final_norm(last(x, mask, turn, query_positions))  # type: ignore[no-any-return]

    def forward_layers(
        self, input_ids: Tensor, segment_ids: Tensor | None = None, positions: Tensor | None = None
    ) -> list[Tensor]:
        """Return the output of every layer, first to last, each [B, L, d_model]; the last one normalised as by `forward`."""
        x, mask, turn = self.embed(input_ids, segment_ids, positions)
        outputs = []
        for layer in self.layers:
            x = layer(x, mask, turn)
            outputs.append(x)
        return [*outputs[:-1], self.final_norm(x)]

    def modules_top_down(self) -> list[nn.Module]:
        """Return the final norm, then each layer from the last to the first, then the embeddings."""
        return [self.final_norm, *reversed(self.layers), self.embeddings]

    def keep_layers(self, n: int) -> None:
        """Remove all but the first n layers; the final norm stays."""
        self.layers = self.layers[:n]
        self.config = replace(self.config, n_layers=n)

    def set_dropout(self, share: float) -> None:
        """Set the dropout, whatever the encoder was trained with."""
        for part in self.modules():
            if isinstance(part, nn.Dropout):
                part.p = share
            elif isinstance(part, SelfAttention):
                part.dropout = share

    def embed(
        self, input_ids: Tensor, segment_ids: Tensor | None, positions: Tensor | None
    ) -> tuple[Tensor, Tensor, Rotation | None]:
        """Return the input of the layers: embedded tokens [B, L, d_model], and the mask and rotation that all share.

        Raises:
            DataError: when rows are longer than `max_length` and no positions are given.
        """
        if segment_ids is None:
            segment_ids = (input_ids != self.config.pad_id).long()
        if positions is None:
            length = input_ids.shape[1]
            if length > self.config.max_length:
                raise DataError(
                    f"input of {length} tokens: this encoder has positions for {self.config.max_length}; cut the text, "
                    "or train an encoder with a larger model.max_length."
                )
            positions = torch.arange(length, device=input_ids.device)[None]  # [1, L]
        x = self.embeddings(input_ids, positions)

        # Autocast casts matrix products only: the mask and the rotation must come in its type, or they drag all to float32.
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        if self.narrow_residual:
            x = x.to(dtype)
        turn = None
        if self.config.preset == "modern":
            cosines, sines = (table[positions][:, :, None, None].to(dtype) for table in (self.cosines, self.sines))
            turn = cosines, sines  # each [B, L, 1, 1, D]
        return x, attention_mask(segment_ids, dtype), turn
