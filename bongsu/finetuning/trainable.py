"""The fine-tuning task: texts and their classes, for the training loop, with all that keeps a small file from being learned by
heart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.metrics import f1_score, roc_auc_score
from torch import Tensor, nn

from bongsu.finetuning.augmentation import Augmentation
from bongsu.finetuning.regularization import disagreement, mixed, thawed_from
from bongsu.model.heads import Classifier
from bongsu.recipe import Finetune
from bongsu.tokens.inputs import pad
from bongsu.tokens.random import mix, permute
from bongsu.training.averaging import Averaged, exponential
from bongsu.training.log import Outcome
from bongsu.training.optimizers import parameter_groups

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
FIGURES = ("loss", "accuracy", "f1", "roc_auc")
_WINDOW = 16  # batches whose texts are sorted by length together


class Encoded(NamedTuple):
    """Texts as ids, with their labels."""

    ids: list[Int64]
    labels: Int64


class TextBatch(NamedTuple):
    """A batch of training."""

    input_ids: Int64
    """[B, L], padded with [PAD]."""
    targets: Float32
    """[B, C]: 1 for a text's class, 0 for the others."""
    epoch: float
    """How many epochs were over when it was made."""


@dataclass
class Classification:
    """The task, for `training.loop.train`."""

    classifier: Classifier
    training: Encoded
    development: Encoded
    """What early stopping looks at; may be empty."""
    settings: Finetune
    seed: int
    augmentation: Augmentation | None = None
    """How training texts are shown; by default as they are."""
    soft: Float32 | None = None
    """[texts, C]: of each training text a distribution over the classes, in place of its label."""
    class_weights: Tensor | None = field(init=False)
    model: nn.Module = field(init=False)
    """What the loop trains and saves: the classifier, with the average of its weights if there is one."""

    def __post_init__(self) -> None:
        self.class_weights = None
        classes = self.classifier.head.config.n_classes
        if self.settings.class_weights == "balanced":
            counts = np.bincount(self.training.labels, minlength=classes)
            weights = len(self.training.labels) / (len(counts) * np.maximum(1, counts))
            self.class_weights = torch.tensor(weights, dtype=torch.float32)
        self.targets = np.eye(classes, dtype=np.float32)[self.training.labels] if self.soft is None else self.soft
        self.model = Averaged(self.classifier, exponential(self.settings.ema)) if self.settings.ema else self.classifier
        self._order = lru_cache(maxsize=2)(self._epoch_order)

    @property
    def detector(self) -> Classifier:
        """The classifier to measure and to keep."""
        return self.model.average if isinstance(self.model, Averaged) else self.classifier

    @property
    def batches_per_epoch(self) -> int:
        return math.ceil(len(self.training.ids) / self.settings.batch_size)

    def batch(self, n: int) -> TextBatch:
        """Batch `n`: texts of like length, in an order drawn anew each epoch."""
        epoch, index = divmod(n, self.batches_per_epoch)
        rows = self._order(epoch)[index]
        show = self.augmentation or (lambda row, _: self.training.ids[row])
        table = pad([show(row, epoch) for row in rows.tolist()], pad_id=self.classifier.encoder.config.pad_id)
        return TextBatch(table, self.targets[rows], n / self.batches_per_epoch)

    def loss(self, batch: TextBatch) -> Outcome:
        settings, classifier = self.settings, self.classifier
        if settings.unfreeze_epochs:
            n_layers = classifier.encoder.config.n_layers
            classifier.unfreeze_from(thawed_from(batch.epoch, n_layers, settings.unfreeze_epochs))
        device = next(classifier.parameters()).device
        ids, targets = torch.from_numpy(batch.input_ids).to(device), torch.from_numpy(batch.targets).to(device)
        passes = 2 if settings.r_drop else 1
        features = classifier.features(ids.repeat(passes, 1)).repeat(settings.dropout_samples, 1)
        wanted = targets.repeat(passes * settings.dropout_samples, 1)
        if settings.mixup:
            features, wanted = mixed(features, wanted, settings.mixup)
        logits = classifier.head.classify(features).float()
        weights = None if self.class_weights is None else self.class_weights.to(device)
        loss = F.cross_entropy(logits, wanted, weight=weights, label_smoothing=settings.label_smoothing)
        if settings.r_drop:
            pairs = logits.view(settings.dropout_samples, 2, len(ids), -1)
            loss = loss + settings.r_drop * disagreement(pairs[:, 0].flatten(0, 1), pairs[:, 1].flatten(0, 1))
        correct = (logits[: len(ids)].argmax(-1) == targets.argmax(-1)).sum()
        tokens = int((batch.input_ids != classifier.encoder.config.pad_id).sum())
        return Outcome(loss, correct, torch.tensor(len(ids)), tokens)

    def evaluate(self) -> dict[str, float]:
        """Loss, accuracy, F1 and ROC-AUC on the development split; not a number without one."""
        if not self.development.ids:
            return dict.fromkeys(FIGURES, math.nan)
        return figures(self.development.labels, probabilities(self.detector, self.development.ids))

    def groups(self) -> list[dict[str, Any]]:
        """The head and the encoder at their own rates, each layer at `layer_decay` times the rate of the one above."""
        settings, classifier = self.settings, self.classifier
        encoder, rate = classifier.encoder, settings.encoder_learning_rate
        head = parameter_groups(classifier.head, settings.learning_rate, settings.weight_decay)
        if hasattr(classifier, "mixture"):
            head.append({"params": [classifier.mixture], "weight_decay": 0.0, "peak": settings.learning_rate})
        if settings.layer_decay == 1.0:
            return [*parameter_groups(encoder, rate, settings.weight_decay), *head]
        parts = encoder.from_the_top()
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
        self.classifier.head.apply_max_norm()
        if isinstance(self.model, Averaged):
            self.model.update()

    def _epoch_order(self, epoch: int) -> list[Int64]:
        count, size = len(self.training.ids), self.settings.batch_size
        order = permute(np.arange(count), count, mix(self.seed, epoch))
        lengths = np.array([len(self.training.ids[row]) for row in order])
        window = np.arange(count) // (size * _WINDOW)
        order = order[np.lexsort((lengths, window))]
        batches = [order[start : start + size] for start in range(0, count, size)]
        return [batches[index] for index in permute(np.arange(len(batches)), len(batches), mix(self.seed, epoch, 1))]


@torch.inference_mode()
def probabilities(model: Classifier, ids: Sequence[Int64], batch_size: int = 64) -> Float64:
    """Class probabilities [texts, classes] float64, in the order given; batches are sorted by length."""
    model.eval()
    device = next(model.parameters()).device
    order = np.argsort([len(row) for row in ids], kind="stable")
    result = np.zeros((len(ids), model.head.config.n_classes))
    for start in range(0, len(ids), batch_size):
        rows = order[start : start + batch_size]
        table = pad([ids[row] for row in rows], pad_id=model.encoder.config.pad_id)
        logits = model(torch.from_numpy(table).to(device)).double()
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
