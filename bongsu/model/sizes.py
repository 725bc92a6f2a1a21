"""How large an encoder is and how much work it does, from its configuration alone."""

from __future__ import annotations

from bongsu.model.encoder import EncoderConfig


def parameter_count(config: EncoderConfig) -> int:
    """Return the parameters of the masked language model: the encoder's and the output layer's bias (its matrix is tied)."""
    d, ff = config.d_model, config.d_ff
    inner = 2 * ff if config.gated else ff
    layer = 3 * d * d + d * d + inner * d + ff * d + 2 * d  # Wqkv, attention's Wo, Wi, Wo, two norms
    total = config.vocab_size * d + config.n_layers * layer + d + config.vocab_size  # embedding, layers, final norm, bias
    if config.preset == "modern":
        return total  # the norm of the embeddings makes up for the one its first layer lacks
    return total + config.n_layers * (3 * d + d + inner + d + 2 * d) + d  # biases of the four matrices and of the norms


def flops_per_token(config: EncoderConfig, row_length: int, queried: float = 1.0) -> float:
    """Return the floating-point operations of the masked language model's matrix products, forward, for one token of a row.

    A multiplication and an addition count as two. Attention counts whole rows, as it is computed. Training costs three
    times as much: the backward pass makes two products of each.

    Args:
        row_length: L, tokens a row.
        queried: the share of tokens at `query_positions` (`Encoder.forward`): what follows the last layer's attention, and the
            output layer, are computed for them alone.
    """
    d, ff = config.d_model, config.d_ff
    attention = 2 * 3 * d * d + 2 * 2 * row_length * d  # Wqkv; scores and weighted sum of values
    after = 2 * d * d + 2 * d * (2 * ff if config.gated else ff) + 2 * ff * d  # attention's Wo, Wi, Wo
    output = 2 * d * config.vocab_size
    return config.n_layers * attention + (config.n_layers - 1 + queried) * after + queried * output
