"""The kinds of task and their metrics."""

from __future__ import annotations

import pytest

from bongsu.recipe import Pair
from bongsu.tasks.pair import pair_task
from bongsu.tasks.registry import KINDS, METRICS
from bongsu.tasks.task import Metric

TASKS = [
    *(kind for name, kind in KINDS.items() if name != "pair"),
    type(pair_task(Pair(train="x"))),
    type(pair_task(Pair(train="x", target="number"))),
]


@pytest.mark.parametrize("task", TASKS)
def test_a_metric_is_better_in_the_same_direction_in_every_kind(task: type) -> None:
    metrics: tuple[Metric, ...] = task.metrics  # type: ignore[attr-defined]
    assert metrics
    for metric in metrics:
        assert METRICS[metric.name].higher_is_better == metric.higher_is_better


def test_losses_and_errors_are_better_low_and_all_else_high() -> None:
    low = {name for name, metric in METRICS.items() if not metric.higher_is_better}
    assert low == {name for name in METRICS if name in ("loss", "mae", "ece", "log_loss", "brier")}
    assert "loss" in low
