"""The fine-tuning task."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from bongsu.model.encoder import Encoder, EncoderConfig
from bongsu.model.heads import Classifier, CNNConfig
from bongsu.model.initialization import initialize
from bongsu.recipe import Finetune
from bongsu.tasks.classification import Classification, Encoded, figures, probabilities


@pytest.fixture
def task() -> Classification:
    config = EncoderConfig(60, "modern", 16, 2, 2, 32, "geglu", 0.0, 64)
    model = Classifier(Encoder(config), CNNConfig(2, (2, 3), 8))
    initialize(model, 1)
    generator = np.random.default_rng(0)
    ids = [generator.integers(3, 60, generator.integers(1, 40)) for _ in range(101)]
    data = Encoded(ids, generator.integers(0, 2, 101))
    return Classification(model, data, data, Finetune(train="x", batch_size=8, class_weights="balanced"), seed=3)


def test_an_epoch_shows_every_text_once(task: Classification) -> None:
    shown = []
    for n in range(task.batches_per_epoch):
        batch = task.batch(n)
        assert batch.input_ids.shape[1] % 16 == 0
        shown += [tuple(row[row != 0]) for row in batch.input_ids]
    assert sorted(shown) == sorted(tuple(row) for row in task.training.ids)


def test_batches_are_pure_and_epochs_differ(task: Classification) -> None:
    first = task.batch(2)
    task.batch(task.batches_per_epoch * 5 + 1)
    assert np.array_equal(first.input_ids, task.batch(2).input_ids)
    again = task.batch(2 + task.batches_per_epoch)
    assert first.input_ids.shape != again.input_ids.shape or not np.array_equal(first.input_ids, again.input_ids)


def test_batching_does_not_change_a_probability(task: Classification) -> None:
    together = probabilities(task.model, task.training.ids)
    alone = np.concatenate([probabilities(task.model, [ids]) for ids in task.training.ids])
    assert np.abs(together - alone).max() < 1e-5
    assert together.sum(axis=1) == pytest.approx(np.ones(len(together)))


def test_balanced_weights_are_scikit_learns(task: Classification) -> None:
    from sklearn.utils.class_weight import compute_class_weight

    expected = compute_class_weight("balanced", classes=np.array([0, 1]), y=task.training.labels)
    assert task.class_weights is not None
    assert task.class_weights.numpy() == pytest.approx(expected, rel=1e-6)


def test_the_loss_falls_when_trained(task: Classification) -> None:
    optimizer = torch.optim.AdamW(task.model.parameters(), lr=1e-2)
    before = task.evaluate()["loss"]
    task.model.train()
    for n in range(60):
        loss = task.loss(task.batch(n)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        task.after_step()
    assert task.evaluate()["loss"] < before
    norms = task.model.head.linear.weight.norm(dim=1)
    assert float(norms.detach().max()) <= 3.0 + 1e-4


def test_figures_are_scikit_learns() -> None:
    generator = np.random.default_rng(1)
    labels, positive = generator.integers(0, 2, 200), generator.random(200)
    predicted = np.stack([1 - positive, positive], axis=1)
    found = figures(labels, predicted)
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, positive > 0.5))
    assert found["roc_auc"] == pytest.approx(roc_auc_score(labels, positive))
    assert found["loss"] == pytest.approx(log_loss(labels, predicted))
