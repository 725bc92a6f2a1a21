"""Heads on an encoder: one output for a whole text (`cnn`), or one for each of its tokens (`token`)."""

from __future__ import annotations

from typing import Any

from bongsu.model.heads.cnn import CNNConfig, SentenceCNN
from bongsu.model.heads.token import TokenConfig, TokenHead

__all__ = ["CNNConfig", "Head", "HeadConfig", "SentenceCNN", "TokenConfig", "TokenHead", "build_head", "head_config"]

HeadConfig = CNNConfig | TokenConfig
Head = SentenceCNN | TokenHead


def build_head(d_model: int, config: HeadConfig) -> Head:
    """Return the head of a configuration, with fresh weights."""
    return SentenceCNN(d_model, config) if isinstance(config, CNNConfig) else TokenHead(d_model, config)


def head_config(values: dict[str, Any]) -> HeadConfig:
    """Return the configuration that `{"kind": config.kind, **config.to_dict()}` was written from.

    Raises:
        KeyError, TypeError: when the kind or a key is unknown or missing.
    """
    kinds: dict[str, type[HeadConfig]] = {CNNConfig.kind: CNNConfig, TokenConfig.kind: TokenConfig}
    rest = dict(values)
    return kinds[rest.pop("kind")].from_dict(rest)
