"""Dropout with cheap masks: how often, how much, and whose chance."""

from __future__ import annotations

import pytest
import torch

from bongsu.model.dropout import Dropout, dropout


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_numbers_are_dropped_as_often_as_they_should_and_the_rest_scaled(share: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.ones(300, 7, 101, dtype=dtype, requires_grad=True)
    y = dropout(x, share)
    dropped = (y == 0).float().mean().item()
    assert dropped == pytest.approx(share, abs=0.005)
    assert y.dtype == dtype
    assert y[y != 0].unique().numel() == 1
    assert y.float().mean().item() == pytest.approx(1, abs=0.012)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient, y.detach())  # of ones: what is dropped learns nothing, the rest is scaled


def test_every_place_has_its_own_chance() -> None:
    torch.manual_seed(0)
    kept = torch.stack([dropout(torch.ones(37), 0.5) > 0 for _ in range(4000)]).double()
    together = torch.corrcoef(kept.T).fill_diagonal_(0)
    assert together.abs().max() < 0.08  # five standard deviations of 4,000 draws
    assert (kept.mean(dim=0) - 0.5).abs().max() < 0.04


def test_the_seed_decides_and_measuring_drops_nothing() -> None:
    x, module = torch.randn(5, 13), Dropout(0.3)
    torch.manual_seed(3)
    one, other = module(x), module(x)
    torch.manual_seed(3)
    assert torch.equal(one, module(x))
    assert not torch.equal(one, other)
    assert torch.equal(module.eval()(x), x)
    assert torch.equal(dropout(x, 0.0), x)
    assert (dropout(x, 1.0) == 0).all()
