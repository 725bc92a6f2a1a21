"""Estimates of the memory of pre-training, and suggestions of a batch that fits."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from bongsu.model.encoder import EncoderConfig
from bongsu.model.memory import Load, training_bytes
from bongsu.recipe import Optimization, Pretrain
from bongsu.tokens.packing import BatchShape
from bongsu.training.devices import memory_bytes, resolve_precision


def pretraining_bytes(config: EncoderConfig, shape: BatchShape, settings: Pretrain, device: str) -> float:
    """Return the estimated peak memory in bytes (`bongsu.model.memory`)."""
    load = Load(shape.positions, shape.row_length, shape.masked, shape.masked * config.vocab_size)
    return training_bytes(config, load, bytes_per_number(settings, device), device)


def bytes_per_number(settings: Optimization, device: str) -> int:
    """Return the bytes of a number in matrix products: 2 for bfloat16, 4 for float32."""
    if device == "cuda" and not torch.cuda.is_available():  # an estimate for another machine
        return 4 if settings.precision == "float32" else 2
    return 2 if resolve_precision(settings.precision, torch.device(device)) == "bfloat16" else 4


def suggest_batch_size(config: EncoderConfig, shape: BatchShape, settings: Pretrain, device: torch.device, section: str) -> str:
    """Return advice for running out of memory: a smaller batch with more accumulation, so that steps stay the same.

    Args:
        section: of the recipe, "pretrain" or "adapt".
    """
    room = memory_bytes(device)
    takes = pretraining_bytes(config, shape, settings, device.type)
    estimate = f"By estimate a batch of {shape.sentences} sentences takes {_gib(takes)}, and {device} has {_gib(room)}."
    parts = 2
    while shape.rows // parts:
        smaller = replace(shape, rows=math.ceil(shape.rows / parts), masked=math.ceil(shape.masked / parts))
        needed = pretraining_bytes(config, smaller, settings, device.type)
        if needed <= 0.9 * min(room, takes):
            if settings.batch_tokens:
                batch = f"{section}.batch_tokens={math.ceil(settings.batch_tokens / parts)}"
            else:
                batch = f"{section}.batch_sentences={math.ceil(shape.sentences / parts)}"
            return (
                f"{estimate} This would fit, with {_gib(needed)} and the same number of sentences a step: "
                f"--set {batch} --set {section}.accumulate={settings.accumulate * parts}"
            )
        parts *= 2
    return f"{estimate} A smaller batch would not help: the model itself is too large. Lower model.d_model or model.n_layers."


def _gib(size: float) -> str:
    return f"{size / 2**30:.2f} GiB"
