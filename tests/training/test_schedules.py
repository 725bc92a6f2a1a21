"""Schedules against values worked out by hand and against torch's own schedulers."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import lr_scheduler

from bongsu.recipe import Optimization, Schedule
from bongsu.training.schedules import learning_rate_factor

SCHEDULES = get_args(Schedule)


def factor(schedule: str, step: int, total: int, **changes: Any) -> float:
    return learning_rate_factor(Optimization.model_validate({"schedule": schedule, "warmup": 0.0, **changes}), step, total)


@pytest.mark.parametrize(
    ("schedule", "changes", "expected"),
    [
        # at steps 0, 4, 9 (the last of warm-up), 10, 55 (half of the rest), 99 (the last of 100)
        ("constant", {}, [0.1, 0.5, 1.0, 1.0, 1.0, 1.0]),
        ("linear", {}, [0.1, 0.5, 1.0, 1.0, 0.5, 1 / 90]),
        ("linear", {"final": 0.2}, [0.1, 0.5, 1.0, 1.0, 0.6, 0.2 + 0.8 / 90]),
        ("cosine", {}, [0.1, 0.5, 1.0, 1.0, 0.5, 0.000304586]),  # (1 + cos(89/90 pi)) / 2
        ("cosine", {"final": 0.1}, [0.1, 0.5, 1.0, 1.0, 0.55, 0.100274128]),
        ("cosine_restarts", {"cycles": 2}, [0.1, 0.5, 1.0, 1.0, 1.0, 0.001217975]),  # (1 + cos(44/45 pi)) / 2
        ("exponential", {"final": 0.01}, [0.1, 0.5, 1.0, 1.0, 0.1, 0.010525]),  # 0.01 ** (89/90)
        ("exponential", {}, [0.1, 0.5, 1.0, 1.0, 0.01, 0.000110775]),
        ("wsd", {"decay": 0.5}, [0.1, 0.5, 1.0, 1.0, 0.9, 0.02]),
        ("wsd", {"decay": 0.5, "final": 0.5}, [0.1, 0.5, 1.0, 1.0, 0.95, 0.51]),
    ],
)
def test_by_hand(schedule: str, changes: dict[str, Any], expected: list[float]) -> None:
    found = [factor(schedule, step, 100, warmup=0.1, **changes) for step in (0, 4, 9, 10, 55, 99)]
    assert found == pytest.approx(expected, abs=1e-6)


def torch_factors(make: Any, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    factors = []
    for _ in range(steps):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return factors


@pytest.mark.parametrize("final", [0.0, 0.1])
def test_against_torch(final: float) -> None:
    def ours(schedule: str, **changes: Any) -> list[float]:
        return [factor(schedule, step, 60, final=final, **changes) for step in range(60)]

    assert ours("linear") == pytest.approx(
        torch_factors(lambda optimizer: lr_scheduler.LinearLR(optimizer, 1.0, final, 60), 60), abs=1e-9
    )
    assert ours("cosine") == pytest.approx(
        torch_factors(lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 60, final), 60), abs=1e-9
    )
    gamma = max(final, 1e-4) ** (1 / 60)
    assert ours("exponential") == pytest.approx(
        torch_factors(lambda optimizer: lr_scheduler.ExponentialLR(optimizer, gamma), 60), abs=1e-9
    )


@pytest.mark.parametrize("length", [1, 2, 7, 20, 49, 100])
@pytest.mark.parametrize("cycles", [1, 3, 7, 49])  # 1 / 49 * 49 is not 1 in floating point
def test_restarts_against_torch(length: int, cycles: int) -> None:
    total = length * cycles
    ours = [factor("cosine_restarts", step, total, cycles=cycles, final=0.1) for step in range(total)]
    theirs = torch_factors(lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, length, eta_min=0.1), total)
    assert ours == pytest.approx(theirs, abs=1e-9)


def test_warm_up_against_torch() -> None:
    theirs = torch_factors(lambda optimizer: lr_scheduler.LinearLR(optimizer, 0.1, 1.0, 9), 20)
    assert [factor("constant", step, 20, warmup=0.5) for step in range(20)] == pytest.approx(theirs, abs=1e-9)


@given(
    schedule=st.sampled_from(SCHEDULES),
    total=st.integers(1, 500),
    data=st.data(),
    warmup=st.floats(0, 1),
    decay=st.floats(0, 1),
    final=st.floats(0, 1),
    cycles=st.integers(1, 9),
)
def test_factors_lie_between_0_and_1_and_do_not_jump_down(
    schedule: str, total: int, data: st.DataObject, warmup: float, decay: float, final: float, cycles: int
) -> None:
    step = data.draw(st.integers(0, total))
    changes = {"warmup": warmup, "decay": decay, "final": final, "cycles": cycles}
    value = factor(schedule, step, total, **changes)
    assert 0.0 <= value <= 1.0
    rising = round(warmup * total)
    if 0 < rising < total:
        assert factor(schedule, rising - 1, total, **changes) == 1.0
        assert factor(schedule, rising, total, **changes) == 1.0
