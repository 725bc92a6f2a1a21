"""The estimate of memory, against what autograd really keeps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from bongsu.model.encoder import EncoderConfig
from bongsu.model.heads import CNNConfig
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.model.memory import Load, activation_bytes, training_bytes
from bongsu.model.task_model import TaskModel

ROWS, LENGTH, MASKED = 9, 32, 40


def config(**changes: Any) -> EncoderConfig:
    shape: dict[str, Any] = {"preset": "modern", "d_model": 64, "n_layers": 3, "n_heads": 4, "d_ff": 192, "activation": "geglu"}
    return EncoderConfig(**{"vocab_size": 500, "dropout": 0.0, "max_length": LENGTH, **shape, **changes})


def kept(model: torch.nn.Module, bfloat16: bool, *inputs: Tensor | None) -> int:
    """Bytes autograd keeps for the backward pass, beside the parameters and their casts."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    shapes = {tuple(shape) for p in model.parameters() if p.ndim == 2 for shape in (p.shape, p.T.shape)}
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own and tuple(tensor.shape) not in shapes:
            storages[storage.data_ptr()] = storage.nbytes()
        held.append(tensor)  # so that no address is given twice
        return tensor

    held: list[Tensor] = []
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16),
    ):
        held.append(model(*inputs))
    return sum(storages.values())


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dropout": 0.1},
        {"activation": "swish", "d_ff": 256},
        {"preset": "classic", "activation": "relu"},
        {"preset": "classic", "activation": "relu", "dropout": 0.1, "n_layers": 5},
        {"preset": "classic", "activation": "gelu", "n_heads": 8},
    ],
)
def test_activations_are_those_autograd_keeps(changes: dict[str, Any], bfloat16: bool) -> None:
    shape = config(**changes)
    model = MaskedLanguageModel(shape)
    segments, positions = torch.ones(ROWS, LENGTH, dtype=torch.long), torch.arange(LENGTH).expand(ROWS, LENGTH)
    ids, read = torch.randint(3, 500, (ROWS, LENGTH)), torch.arange(MASKED)
    counted = kept(model, bfloat16, ids, segments, positions, read)
    load = Load(ROWS * LENGTH, LENGTH, MASKED, MASKED * 500)
    estimated = activation_bytes(shape, load, 2 if bfloat16 else 4, "cpu", shape.n_layers)
    assert estimated == pytest.approx(counted, rel=0.06)


def test_frozen_layers_keep_nothing() -> None:
    shape = config()
    ids = torch.randint(3, 500, (ROWS, LENGTH))
    load = Load(ROWS * LENGTH, LENGTH, ROWS * LENGTH, 0)
    by_layers = []
    for trained in (0, 1, 2):
        model = TaskModel(MaskedLanguageModel(shape).encoder, CNNConfig(n_outputs=2, filters=1, kernel_sizes=(1,)))
        model.freeze(trained)
        by_layers.append(kept(model, False, ids))
    estimated = [activation_bytes(shape, load, 4, "cpu", layers) for layers in (0, 1, 2)]
    assert estimated[0] == 0
    assert estimated[2] - estimated[1] == pytest.approx(by_layers[2] - by_layers[1], rel=0.02)


def test_parameters_cost_sixteen_bytes_when_trained_and_four_when_frozen() -> None:
    shape = config(vocab_size=50_000, d_model=256, d_ff=1024)
    tiny = Load(1, 1, 1, 0)
    parameters = sum(p.numel() for p in MaskedLanguageModel(shape).parameters())
    trained, frozen = (
        training_bytes(shape, Load(1, 1, 1, 0, layers), 4, "cpu") - training_bytes(config(n_layers=0), tiny, 4, "cpu")
        for layers in (None, 0)
    )
    assert trained == pytest.approx(1.1 * 16 * parameters, rel=0.03)
    assert frozen == pytest.approx(1.1 * 4 * parameters, rel=0.05)
