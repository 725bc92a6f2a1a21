"""Averages of weights against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bongsu.training.averaging import Averaged, exponential, mean_from


def history(model: Averaged[nn.Linear], steps: int) -> np.ndarray:
    """Gives the model new weights `steps` times; returns them all, [steps, 6]."""
    seen = []
    for step in range(steps):
        with torch.no_grad():
            model.live.weight.copy_(torch.randn(2, 3, generator=torch.Generator().manual_seed(step)))
        model.update()
        seen.append(model.live.weight.detach().numpy().ravel().copy())
    return np.array(seen)


def test_the_plain_mean_begins_after_its_start() -> None:
    for steps, expected in ((3, slice(2, 3)), (5, slice(4, 5)), (6, slice(5, 6)), (12, slice(5, 12))):
        model = Averaged(nn.Linear(3, 2, bias=False), mean_from(5))
        weights = history(model, steps)
        np.testing.assert_allclose(model.average.weight.numpy().ravel(), weights[expected].mean(axis=0), rtol=1e-5, atol=1e-6)
        assert torch.equal(model.live.weight.detach().ravel(), torch.from_numpy(weights[-1]))


def test_all_weights_at_once_are_averaged_to_the_same_bits_as_each_alone() -> None:
    live = nn.Sequential(nn.Linear(7, 5), nn.Linear(5, 3))
    model = Averaged(live, exponential(0.9))
    alone = [parameter.detach().clone() for parameter in live.parameters()]
    for step in range(1, 30):
        with torch.no_grad():
            for parameter in live.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(step)))
        model.update()
        for kept, new in zip(alone, live.parameters(), strict=True):
            kept.lerp_(new.detach(), exponential(0.9)(step))
    assert all(torch.equal(one, other) for one, other in zip(alone, model.average.parameters(), strict=True))


def test_the_exponential_mean_by_hand() -> None:
    model = Averaged(nn.Linear(3, 2, bias=False), exponential(0.5))
    wanted = model.average.weight.numpy().ravel().astype(np.float64)
    for step, weights in enumerate(history(model, 30), start=1):
        decay = min(0.5, (1 + step) / (10 + step))
        wanted = decay * wanted + (1 - decay) * weights
    assert model.average.weight.numpy().ravel() == pytest.approx(wanted, rel=1e-5, abs=1e-6)
    assert not any(parameter.requires_grad for parameter in model.average.parameters())
