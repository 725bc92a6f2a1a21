"""Fine-tuning: the sentence CNN of Kim (2014) on the encoder, measured on rows it never saw.

Each fold is trained on its own rows, stopped early by a development split of those, and measured on the rest. After measuring,
the detector is trained once more on everything, for as many steps as the folds took on average.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.metrics import f1_score, roc_auc_score
from torch import Tensor

from bongsu.model.heads import Classifier
from bongsu.recipe import Finetune
from bongsu.tokens.bpe import PAD_ID
from bongsu.tokens.random import mix, permute
from bongsu.training.loop import Outcome
from bongsu.training.optimizers import parameter_groups

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
LENGTH_STEP = 16  # lengths are rounded up to this, so that few shapes occur
_WINDOW = 16  # batches whose texts are sorted by length together


class Encoded(NamedTuple):
    """Texts as ids, with their labels."""

    ids: list[Int64]
    labels: Int64


class TextBatch(NamedTuple):
    """`input_ids` [B, L] int64 padded with [PAD], `labels` [B] int64."""

    input_ids: Int64
    labels: Int64


@dataclass
class Classification:
    """The task, for `training.loop.train`."""

    model: Classifier
    training: Encoded
    development: Encoded
    settings: Finetune
    seed: int
    class_weights: Tensor | None = field(init=False)

    def __post_init__(self) -> None:
        self.class_weights = None
        if self.settings.class_weights == "balanced":
            counts = np.bincount(self.training.labels, minlength=self.model.head.config.n_classes)
            weights = len(self.training.labels) / (len(counts) * np.maximum(1, counts))
            self.class_weights = torch.tensor(weights, dtype=torch.float32)
        self._order = lru_cache(maxsize=2)(self._epoch_order)

    @property
    def batches_per_epoch(self) -> int:
        return math.ceil(len(self.training.ids) / self.settings.batch_size)

    def batch(self, n: int) -> TextBatch:
        """Batch `n`: texts of like length, in an order drawn anew each epoch."""
        epoch, index = divmod(n, self.batches_per_epoch)
        rows = self._order(epoch)[index]
        return pad([self.training.ids[row] for row in rows], self.training.labels[rows])

    def loss(self, batch: TextBatch) -> Outcome:
        logits, labels = self._forward(batch)
        weights = None if self.class_weights is None else self.class_weights.to(logits.device)
        loss = F.cross_entropy(logits, labels, weight=weights, label_smoothing=self.settings.label_smoothing)
        correct = (logits.argmax(-1) == labels).sum()
        return Outcome(loss, correct, torch.tensor(len(labels)), int((batch.input_ids != PAD_ID).sum()))

    def evaluate(self) -> dict[str, float]:
        """Loss, accuracy, F1 and ROC-AUC on the development split."""
        return figures(self.development.labels, probabilities(self.model, self.development.ids))

    def groups(self) -> list[dict[str, Any]]:
        settings = self.settings
        return [
            *parameter_groups(self.model.encoder, settings.encoder_learning_rate, settings.weight_decay),
            *parameter_groups(self.model.head, settings.learning_rate, settings.weight_decay),
        ]

    def after_step(self) -> None:
        self.model.head.apply_max_norm()

    def _epoch_order(self, epoch: int) -> list[Int64]:
        count, size = len(self.training.ids), self.settings.batch_size
        order = permute(np.arange(count), count, mix(self.seed, epoch))
        lengths = np.array([len(self.training.ids[row]) for row in order])
        window = np.arange(count) // (size * _WINDOW)
        order = order[np.lexsort((lengths, window))]
        batches = [order[start : start + size] for start in range(0, count, size)]
        return [batches[index] for index in permute(np.arange(len(batches)), len(batches), mix(self.seed, epoch, 1))]

    def _forward(self, batch: TextBatch) -> tuple[Tensor, Tensor]:
        device = next(self.model.parameters()).device
        ids, labels = (torch.from_numpy(array).to(device) for array in batch)
        return self.model(ids).float(), labels


def pad(ids: list[Int64], labels: Int64) -> TextBatch:
    """Fills up to the longest text, rounded up to a multiple of 16."""
    length = -(-max(len(row) for row in ids) // LENGTH_STEP) * LENGTH_STEP
    table = np.full((len(ids), length), PAD_ID, dtype=np.int64)
    for number, row in enumerate(ids):
        table[number, : len(row)] = row
    return TextBatch(table, labels)


@torch.inference_mode()
def probabilities(model: Classifier, ids: list[Int64], batch_size: int = 64) -> Float64:
    """Class probabilities [texts, classes] float64, in the order given; batches are sorted by length."""
    model.eval()
    device = next(model.parameters()).device
    order = np.argsort([len(row) for row in ids], kind="stable")
    result = np.zeros((len(ids), model.head.config.n_classes))
    for start in range(0, len(ids), batch_size):
        rows = order[start : start + batch_size]
        batch = pad([ids[row] for row in rows], rows)
        logits = model(torch.from_numpy(batch.input_ids).to(device)).double()
        result[rows] = F.softmax(logits, dim=-1).cpu().numpy()
    return result


def figures(labels: Int64, predicted: Float64) -> dict[str, float]:
    """Loss, accuracy, F1 (of the positive class; macro for more than two) and ROC-AUC."""
    best = predicted.argmax(axis=1)
    right = predicted[np.arange(len(labels)), labels]
    binary = predicted.shape[1] == 2
    auc = float("nan")
    if len(np.unique(labels)) == predicted.shape[1]:
        auc = float(roc_auc_score(labels, predicted[:, 1] if binary else predicted, multi_class="ovr"))
    return {
        "loss": float(-np.log(np.maximum(right, 1e-12)).mean()),
        "accuracy": float((best == labels).mean()),
        "f1": float(f1_score(labels, best, average="binary" if binary else "macro", zero_division=0)),
        "roc_auc": auc if math.isfinite(auc) else 0.5,
    }
