"""A small task with dropout, whose batch n is a pure function of n."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bongsu.recipe import Optimization
from bongsu.training.checkpoints import State
from bongsu.training.log import Outcome
from bongsu.training.loop import Plan, train
from bongsu.training.optimizers import ParameterGroup, parameter_groups


class Toy:
    """A regression from 8 numbers to one."""

    def __init__(self, dropout: float = 0.2, size: int = 16, on_batch: Callable[[int], None] = lambda n: None) -> None:
        torch.manual_seed(0)
        self.model: nn.Module = nn.Sequential(
            nn.Linear(8, 12), nn.LayerNorm(12), nn.ReLU(), nn.Dropout(dropout), nn.Linear(12, 1)
        )
        self.size, self.on_batch = size, on_batch
        self.values: list[float] = []
        """What `evaluate` gives, one after another; when empty it measures."""

    def batch(self, n: int) -> tuple[Tensor, Tensor]:
        self.on_batch(n)
        generator = torch.Generator().manual_seed(n)
        inputs = torch.randn(self.size, 8, generator=generator)
        return inputs, inputs.sum(1, keepdim=True)

    def loss(self, batch: tuple[Tensor, Tensor]) -> Outcome:
        inputs, wanted = batch
        loss = F.mse_loss(self.model(inputs), wanted)
        return Outcome(loss, torch.tensor(0.0), torch.tensor(1.0), len(inputs))

    def evaluate(self) -> dict[str, float]:
        assert not self.model.training
        if self.values:
            return {"loss": self.values.pop(0)}
        inputs = torch.randn(64, 8, generator=torch.Generator().manual_seed(10**6))
        return {"loss": float(F.mse_loss(self.model(inputs), inputs.sum(1, keepdim=True)))}

    def groups(self) -> list[ParameterGroup]:
        return parameter_groups(self.model, 0.01, 0.1)

    def after_step(self) -> None:
        pass


def settings(**changes: Any) -> Optimization:
    defaults = {"learning_rate": 0.01, "device": "cpu", "precision": "float32", "log_every": 5, "checkpoint_minutes": 60.0}
    return Optimization.model_validate({**defaults, **changes})


def plan(steps: int, **changes: Any) -> Plan:
    return Plan(**{"steps": steps, "evaluate_every": 10, "monitor": "loss", "title": "toy", **changes})


def run(folder: Path, steps: int, task: Toy | None = None, **changes: Any) -> tuple[Toy, State]:
    """Trains a toy; changes go to the settings."""
    task = task or Toy()
    return task, train(task, plan(steps), settings(**changes), folder)
