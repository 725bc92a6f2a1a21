"""Weights before training: a pure function of a model's shape and a seed, the same on every device.

Values are drawn on the CPU, where a seed gives the same numbers everywhere, and copied to the parameters.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from bongsu.model.encoder import Encoder, EncoderConfig
from bongsu.model.heads import PairHead, SentenceCNN, TokenHead
from bongsu.model.masked_lm import MaskedLanguageModel


@torch.no_grad()
def initialize(model: nn.Module, seed: int) -> None:
    """Draw all weights of a model, an encoder or a head anew.

    [PAD] gets a vector like any other token: no token attends to padding, so it is never looked at as input.
    """
    generator = Generator().manual_seed(seed)
    for part in model.modules():
        if isinstance(part, Encoder):
            _initialize_encoder(part, generator)
        elif isinstance(part, SentenceCNN | PairHead | TokenHead):
            _initialize_head(part, generator)
        elif isinstance(part, MaskedLanguageModel):
            part.output_bias.zero_()


def _initialize_encoder(encoder: Encoder, generator: Generator) -> None:
    draw = classic if encoder.config.preset == "classic" else modern
    for name, parameter in encoder.named_parameters():
        if name.endswith("norm.weight"):
            parameter.fill_(1.0)
        elif name.endswith("bias"):
            parameter.zero_()
        else:
            parameter.copy_(draw(name, torch.empty(parameter.shape), encoder.config, generator))


def _initialize_head(head: SentenceCNN | PairHead | TokenHead, generator: Generator) -> None:
    """Xavier-uniform convolutions under a last layer of zeros: all classes begin alike.

    A pre-trained encoder's vectors are long and their maxima longer, so that drawn weights begin with logits of four and more,
    sure of themselves by luck, and the first epoch goes into unlearning them.
    """
    for parameter in head.parameters():
        if parameter.ndim < 2 or parameter is head.linear.weight:
            parameter.zero_()
        else:
            parameter.copy_(nn.init.xavier_uniform_(torch.empty(parameter.shape), generator=generator))


def classic(name: str, matrix: Tensor, config: EncoderConfig, generator: Generator) -> Tensor:
    """Glorot & Bengio (2010): embeddings N(0, 1/d), which the factor √d brings to variance 1, the others Xavier-uniform."""
    if name == "embeddings.tok_embeddings.weight":
        return matrix.normal_(0.0, config.d_model**-0.5, generator=generator)
    return nn.init.xavier_uniform_(matrix, generator=generator)


def modern(name: str, matrix: Tensor, config: EncoderConfig, generator: Generator) -> Tensor:
    """Draw as ModernBERT does, from a normal distribution cut off at two standard deviations.

    What is added to the residual stream is drawn smaller, so that its variance does not grow with depth (Radford et al. 2019).
    """
    std = 0.02 / (2 * config.n_layers) ** 0.5 if name.endswith("Wo.weight") else 0.02
    return nn.init.trunc_normal_(matrix, std=std, a=-2 * std, b=2 * std, generator=generator)
