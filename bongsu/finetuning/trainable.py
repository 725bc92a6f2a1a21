"""Fine-tuning as a `Trainable`, for any kind of task."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from bongsu.arrays import Array, Int64
from bongsu.finetuning.augmentation import augment
from bongsu.inference.torch_backend import TorchBackend, pad_rows
from bongsu.model.task_model import TaskModel
from bongsu.recipe import Finetune
from bongsu.tasks.registry import AnyTask
from bongsu.tasks.task import Calibration, Example, Outputs
from bongsu.tokens.inputs import Encoded
from bongsu.tokens.random import mix, permute
from bongsu.training.averaging import Averaged, exponential
from bongsu.training.log import Outcome
from bongsu.training.optimizers import ParameterGroup, parameter_groups

_WINDOW = 16  # batches whose rows are sorted by length as one


class TaskBatch(NamedTuple):
    """A batch of training."""

    input_ids: Int64
    """[B, L], padded with [PAD]."""
    text_ids: Int64 | None
    """[B, L], of pairs: 1 for the tokens of the second text."""
    targets: Array
    """As the task collates them."""


@dataclass
class FineTuning:
    """A model and its training examples, for `training.loop.train`."""

    task: AnyTask
    task_model: TaskModel
    tokenizer: Tokenizer
    training: Sequence[Example[Any]]
    development: Sequence[Example[Any]]
    """The split for early stopping; may be empty."""
    settings: Finetune
    seed: int
    model: nn.Module = field(init=False)
    """The module to train and save: the model, with averaged weights, if any."""

    def __post_init__(self) -> None:
        self.model = Averaged(self.task_model, exponential(self.settings.ema)) if self.settings.ema else self.task_model
        self.rows = self.task.encode(self.tokenizer, self.training)
        self.targets = [self.task.target(row, self.training[row.example]) for row in self.rows]
        self._criterion: Callable[[Tensor, Tensor], Tensor] = self.task.criterion(self.targets)
        self._order = lru_cache(maxsize=2)(self._epoch_order)

    @property
    def best(self) -> TaskModel:
        """The model to evaluate and to keep."""
        return self.model.average if isinstance(self.model, Averaged) else self.task_model

    @property
    def batches_per_epoch(self) -> int:
        return math.ceil(len(self.rows) / self.settings.batch_size)

    def batch(self, n: int) -> TaskBatch:
        """Return batch `n`: rows of similar length, in an order drawn anew each epoch."""
        epoch, index = divmod(n, self.batches_per_epoch)
        numbers = self._order(epoch)[index].tolist()
        rows = [self._shown(number, epoch) for number in numbers]
        input_ids, text_ids = pad_rows(rows, self.task_model.encoder.config.pad_id)
        return TaskBatch(input_ids, text_ids, self.task.collate([self.targets[n] for n in numbers], input_ids.shape[1]))

    def loss(self, batch: TaskBatch) -> Outcome:
        device = next(self.task_model.parameters()).device
        input_ids, targets = (torch.from_numpy(array).to(device) for array in (batch.input_ids, batch.targets))
        text_ids = None if batch.text_ids is None else torch.from_numpy(batch.text_ids).to(device)
        outputs = self.task_model(input_ids, text_ids).float()
        correct, count = self.task.hits(outputs.detach(), targets)
        tokens = int((batch.input_ids != self.task_model.encoder.config.pad_id).sum())
        return Outcome(self._criterion(outputs, targets), correct, count, tokens)

    def evaluate(self) -> dict[str, float]:
        """Return the task's metrics on the development split; NaN without one."""
        if not self.development:
            return {metric.name: math.nan for metric in self.task.metrics}
        neutral = Calibration()
        outputs = predict(self.task, self.best, self.tokenizer, self.development)
        return self.task.score(self.development, self.task.probabilities(outputs, neutral), neutral)

    def groups(self) -> list[ParameterGroup]:
        """Return parameter groups: the head and the encoder at their own rates, each layer at `layer_decay` of the next."""
        settings, encoder = self.settings, self.task_model.encoder
        rate = settings.encoder_learning_rate
        head = parameter_groups(self.task_model.head, settings.learning_rate, settings.weight_decay)
        if hasattr(self.task_model, "second_text"):
            head.append({"params": [self.task_model.second_text], "weight_decay": 0.0, "peak": rate, "matrices": False})
        if settings.layer_decay == 1.0:
            return [*parameter_groups(encoder, rate, settings.weight_decay), *head]
        parts = encoder.modules_top_down()
        depths = [0, *range(len(encoder.layers)), len(encoder.layers)]
        return [
            *(
                group
                for part, depth in zip(parts, depths, strict=True)
                for group in parameter_groups(part, rate * settings.layer_decay**depth, settings.weight_decay)
            ),
            *head,
        ]

    def after_step(self) -> None:
        """Bound the head's norms, and update the average."""
        self.task_model.head.after_step()
        if isinstance(self.model, Averaged):
            self.model.update()

    def _shown(self, number: int, epoch: int) -> Encoded:
        """Return a row as it is shown in an epoch."""
        row = self.rows[number]
        if self.settings.augmentation == "none":
            return row
        example = self.training[row.example]
        text = augment(example.inputs[0], self.settings.augmented, self.seed, number, epoch)
        if text == example.inputs[0]:
            return row
        [changed] = self.task.encode(self.tokenizer, [replace(example, inputs=(text, *example.inputs[1:]))])
        return changed

    def _epoch_order(self, epoch: int) -> list[Int64]:
        count, size = len(self.rows), self.settings.batch_size
        order = permute(np.arange(count), count, mix(self.seed, epoch))
        lengths = np.array([len(self.rows[row].ids) for row in order])
        window = np.arange(count) // (size * _WINDOW)
        order = order[np.lexsort((lengths, window))]
        batches = [order[start : start + size] for start in range(0, count, size)]
        return [batches[index] for index in permute(np.arange(len(batches)), len(batches), mix(self.seed, epoch, 1))]


def predict(task: AnyTask, model: TaskModel, tokenizer: Tokenizer, examples: Sequence[Example[Any]]) -> Outputs:
    """Return a model's outputs for examples, not yet calibrated."""
    rows = task.encode(tokenizer, examples)
    return task.gather(rows, TorchBackend(model).run(rows), len(examples))
