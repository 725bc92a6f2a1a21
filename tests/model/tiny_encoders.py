"""Small encoders and packed rows for the tests of the model room."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from bongsu.model.encoder import EncoderConfig


def small(preset: str = "modern", **changes: Any) -> EncoderConfig:
    values: dict[str, Any] = {
        "vocab_size": 50,
        "preset": preset,
        "d_model": 16,
        "n_layers": 3,
        "n_heads": 4,
        "d_ff": 24,
        "activation": "relu" if preset == "classic" else "geglu",
        "dropout": 0.0,
        "max_length": 32,
    }
    return EncoderConfig(**{**values, **changes})


def pack(sentences: list[list[int]], length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One row: input_ids, segment_ids and positions, each [1, length]."""
    spare = length - sum(map(len, sentences))
    ids = [*itertools.chain(*sentences), *[0] * spare]
    segments = [n for n, sentence in enumerate(sentences, 1) for _ in sentence] + [0] * spare
    positions = [place for sentence in sentences for place in range(len(sentence))] + [0] * spare
    return torch.tensor([ids]), torch.tensor([segments]), torch.tensor([positions])


def shake(module: torch.nn.Module) -> None:
    """Random weights everywhere, so that a forgotten bias or norm shows."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
