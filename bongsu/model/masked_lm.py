"""An encoder with the output layer of masked-language modelling."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bongsu.model.encoder import Encoder, EncoderConfig


class MaskedLanguageModel(nn.Module):
    """An encoder and an output layer whose matrix is the embedding (Press and Wolf 2017), with nothing between them."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.output_bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(
        self,
        input_ids: Tensor,
        segment_ids: Tensor | None = None,
        positions: Tensor | None = None,
        query_positions: Tensor | None = None,
    ) -> Tensor:
        """Return logits over the vocabulary.

        Args:
            input_ids, segment_ids, positions, query_positions: as of `Encoder.forward`.

        Returns:
            [M, vocab_size], or [B, L, vocab_size] without `query_positions`.
        """
        return self.logits(self.encoder(input_ids, segment_ids, positions, query_positions))

    def logits(self, hidden: Tensor) -> Tensor:
        """Return logits over the vocabulary of vectors of the encoder, [..., d_model] -> [..., vocab_size]."""
        return F.linear(hidden, self.encoder.embeddings.tok_embeddings.weight, self.output_bias)
