"""Training through `torch.compile` is the same training."""

from __future__ import annotations

import shutil
from functools import partial

import numpy as np
import pytest
import torch

from bongsu.errors import RecipeError
from bongsu.model.encoder import EncoderConfig
from bongsu.model.initialization import initialize
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.pretraining.masked_lm import MaskedLanguageModelling
from bongsu.recipe import Model
from bongsu.tokens.batches import Batch
from bongsu.training.devices import compiles

pytestmark = pytest.mark.slow

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_it_is_for_long_runs_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bongsu.training.devices.has_triton", lambda: True)
    assert compiles("auto", GPU, 100_000)
    assert not compiles("auto", GPU, 100)
    assert not compiles("auto", CPU, 100_000)
    assert not compiles("off", GPU, 100_000)


def test_without_a_compiler_it_is_left_out_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bongsu.training.devices.has_triton", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert not compiles("auto", GPU, 100_000)
    for device, needed in ((GPU, "Triton"), (CPU, "C\\+\\+")):
        with pytest.raises(RecipeError, match=needed):
            compiles("on", device, 100_000)


def test_the_same_loss_and_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    # The graph is taken and differentiated as always; the kernels, which are not ours, are not compiled.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    model = MaskedLanguageModel(EncoderConfig.from_recipe(Model(d_model=16, n_layers=1, n_heads=2, max_length=16), 50))
    initialize(model, 0)
    draw = np.random.default_rng(0)
    batch = Batch(
        input_ids=draw.integers(3, 50, (4, 16)),
        segment_ids=np.repeat([[1, 2]], 4, axis=0).repeat(8, axis=1),
        positions=np.tile(np.arange(8), (4, 2)),
        query_positions=np.arange(0, 64, 7),
        targets=draw.integers(3, 50, 10),
    )
    found = []
    for compiled in (False, True):
        task = MaskedLanguageModelling(model, None, [], torch.zeros(0), 1e-3, 0.0, compiled=compiled)  # type: ignore[arg-type]
        model.zero_grad()
        loss = task.loss(batch).loss
        loss.backward()
        found.append(
            [loss.detach(), *(parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None)]
        )
        assert set(task.model.state_dict()) == set(model.state_dict())  # checkpoints know nothing of it
    for plain, fast in zip(*found, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-6)
