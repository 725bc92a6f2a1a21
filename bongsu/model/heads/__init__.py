"""Heads on an encoder: one output for a whole text (`cnn`), for two texts (`pair`), or for each token (`token`)."""

from __future__ import annotations

from typing import Any

from bongsu.model.heads.cnn import CNNConfig, SentenceCNN
from bongsu.model.heads.pair import PairConfig, PairHead, mean_pooled
from bongsu.model.heads.token import TokenConfig, TokenHead

__all__ = [
    "CNNConfig",
    "Head",
    "HeadConfig",
    "PairConfig",
    "PairHead",
    "SentenceCNN",
    "TokenConfig",
    "TokenHead",
    "build_head",
    "head_config",
    "mean_pooled",
]

HeadConfig = CNNConfig | PairConfig | TokenConfig
Head = SentenceCNN | PairHead | TokenHead


def build_head(d_model: int, config: HeadConfig) -> Head:
    """Return the head of a configuration, with fresh weights."""
    match config:
        case CNNConfig():
            return SentenceCNN(d_model, config)
        case PairConfig():
            return PairHead(d_model, config)
        case TokenConfig():
            return TokenHead(d_model, config)


def head_config(values: dict[str, Any]) -> HeadConfig:
    """Return the configuration that `{"kind": config.kind, **config.to_dict()}` was written from.

    Raises:
        KeyError, TypeError: when the kind or a key is unknown or missing.
    """
    kinds: dict[str, type[HeadConfig]] = {each.kind: each for each in (CNNConfig, PairConfig, TokenConfig)}
    rest = dict(values)
    return kinds[rest.pop("kind")].from_dict(rest)
