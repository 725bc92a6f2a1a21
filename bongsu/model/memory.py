"""Estimate of the memory of training from the configuration alone, without a trial or a device.

    weights, gradients, AdamW's two moments     16 bytes a parameter (4 each, float32)
    weights cast for matrix products             h bytes an element of a matrix
    activations kept for the backward pass       see `activation_bytes`
    output layer                                 (12 + 2h) bytes a logit: logits, log-softmax, their gradients

with h the bytes of a number in matrix products: 2 for bfloat16, 4 for float32. What autograd keeps is known exactly (a test
counts it); allocators round up and fragment, and kernels want room to work, for which a tenth is added.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bongsu.model.encoder import EncoderConfig
from bongsu.model.sizes import parameter_count

MARGIN = 1.10
PROCESS_BYTES = {"cpu": 0.7e9, "cuda": 0.8e9}
"""What a training process takes before any model: Python and PyTorch, or a CUDA context with its libraries."""


@dataclass(frozen=True)
class Load:
    """The size of a training step."""

    positions: int
    """Tokens of a batch, padding included."""
    row_length: int
    queried: int
    """Positions whose last layer is computed in full: the masked ones."""
    logits: int
    """Numbers the output layer gives."""
    trained_layers: int | None = None
    """The last n layers only, with all below (and the embedding) frozen; by default everything is trained."""


def training_bytes(config: EncoderConfig, load: Load, bytes_a_number: int, device: str, head_parameters: int = 0) -> float:
    """Return the peak memory of a training process in bytes.

    Args:
        bytes_a_number: h, in matrix products.
        device: "cuda" has attention that never writes its scores; anything else keeps them.
    """
    whole, outside = parameter_count(config), parameter_count(replace(config, n_layers=0))
    layers = config.n_layers if load.trained_layers is None else load.trained_layers
    trained = whole if load.trained_layers is None else layers * (whole - outside) // config.n_layers
    state = 16 * (trained + head_parameters) + 4 * (whole - trained)
    casts = (bytes_a_number if bytes_a_number < 4 else 0) * (whole + head_parameters)
    activations = activation_bytes(config, load, bytes_a_number, device, layers)
    output = (12 + 2 * bytes_a_number) * load.logits
    return MARGIN * (state + casts + activations + output) + PROCESS_BYTES["cuda" if device == "cuda" else "cpu"]


def activation_bytes(config: EncoderConfig, load: Load, bytes_a_number: int, device: str, layers: int) -> float:
    """Return what autograd keeps of the last `layers` layers and the final norm, in bytes.

    Of every position of a layer, with d = d_model, f = d_ff, h bytes a number:
        attention   4d + 8      what goes into the norm, its mean and deviation (float32)
                    4hd         what goes into Wqkv, and q, k, v
                    hHL         attention weights of H heads over L positions, unless fused (+ 2hHL with dropout)
    and of every position that goes on (in the last layer those queried):
        after it    hd          what goes into Wo
                    4d + 8, hd  as above, and what goes into Wi
                    hf·n        n = 1 ReLU (2 with dropout); 2 GELU, swish (input and output);
                                4 gated (both halves, the activation, the product)
                    hd·2 + hf   with dropout: its masks (one byte each where fused)
    """
    d, ff, h = config.d_model, config.d_ff, bytes_a_number
    norm = 4 * d + 8
    fused = device == "cuda"
    mask = (1 if fused else h) if config.dropout else 0
    scores = 0 if fused else h * config.n_heads * load.row_length * (3 if config.dropout else 1)
    attention = norm + 4 * h * d + scores
    inner = 4 if config.gated else 1 if config.activation == "relu" and not config.dropout else 2
    after = h * d + norm + h * d + h * ff * inner + mask * (2 * d + ff)
    if layers == 0:
        return 0.0
    embedding = (norm if config.preset == "modern" else 0) + mask * d if layers == config.n_layers else 0
    rest = load.queried * (after + norm + h * d)  # the last layer, the final norm, what goes into the output layer
    return float(load.positions * (embedding + layers * attention + (layers - 1) * after) + rest)
