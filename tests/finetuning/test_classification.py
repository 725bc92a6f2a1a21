"""The fine-tuning task."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from bongsu.finetuning.trainable import Classification, Encoded, figures, probabilities
from bongsu.model.encoder import Encoder, EncoderConfig
from bongsu.model.heads import Classifier, CNNConfig
from bongsu.model.initialization import initialize
from bongsu.recipe import Finetune
from bongsu.training.averaging import Averaged

SETTINGS = {"batch_size": 8, "class_weights": "balanced"}


def make(**changes: Any) -> Classification:
    config = EncoderConfig(60, "modern", 16, 2, 2, 32, "geglu", 0.0, 64)
    model = Classifier(Encoder(config), CNNConfig(2, (2, 3), 8, pooling=("mean", "attention"), layers=2))
    initialize(model, 1)
    generator = np.random.default_rng(0)
    ids = [generator.integers(3, 60, generator.integers(1, 40)) for _ in range(101)]
    data = Encoded(ids, generator.integers(0, 2, 101))
    return Classification(model, data, data, Finetune(train="x", **{**SETTINGS, **changes}), seed=3)


@pytest.fixture
def task() -> Classification:
    return make()


def test_an_epoch_shows_every_text_once(task: Classification) -> None:
    shown = []
    for n in range(task.batches_per_epoch):
        batch = task.batch(n)
        assert batch.input_ids.shape[1] % 8 == 0
        shown += [tuple(row[row != 0]) for row in batch.input_ids]
    assert sorted(shown) == sorted(tuple(row) for row in task.training.ids)


def test_batches_are_pure_and_epochs_differ(task: Classification) -> None:
    first = task.batch(2)
    task.batch(task.batches_per_epoch * 5 + 1)
    assert np.array_equal(first.input_ids, task.batch(2).input_ids)
    again = task.batch(2 + task.batches_per_epoch)
    assert first.input_ids.shape != again.input_ids.shape or not np.array_equal(first.input_ids, again.input_ids)


def test_batching_does_not_change_a_probability(task: Classification) -> None:
    together = probabilities(task.detector, task.training.ids)
    alone = np.concatenate([probabilities(task.detector, [ids]) for ids in task.training.ids])
    assert np.abs(together - alone).max() < 1e-5
    assert together.sum(axis=1) == pytest.approx(np.ones(len(together)))


def test_balanced_weights_are_scikit_learns(task: Classification) -> None:
    from sklearn.utils.class_weight import compute_class_weight

    expected = compute_class_weight("balanced", classes=np.array([0, 1]), y=task.training.labels)
    assert task.class_weights is not None
    assert task.class_weights.numpy() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"r_drop": 1.0, "dropout_samples": 3, "label_smoothing": 0.1},
        {"mixup": 0.4, "layer_decay": 0.7},
        {"unfreeze_epochs": 1.0, "ema": 0.9},
    ],
)
def test_the_loss_falls_when_trained(changes: dict[str, Any]) -> None:
    task = make(**changes)
    optimizer = torch.optim.AdamW(task.groups(), lr=1e-2)
    before = task.evaluate()["loss"]
    task.model.train()
    for n in range(30):
        loss = task.loss(task.batch(n)).loss
        assert torch.isfinite(loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        task.after_step()
    assert task.evaluate()["loss"] < before
    assert all(np.isfinite(value) for value in task.evaluate().values())
    norms = task.detector.head.linear.weight.norm(dim=1)
    assert float(norms.detach().max()) <= 3.0 + 1e-4


def test_figures_are_scikit_learns() -> None:
    generator = np.random.default_rng(1)
    labels, positive = generator.integers(0, 2, 200), generator.random(200)
    predicted = np.stack([1 - positive, positive], axis=1)
    found = figures(labels, predicted)
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, positive > 0.5))
    assert found["roc_auc"] == pytest.approx(roc_auc_score(labels, positive))
    assert found["loss"] == pytest.approx(log_loss(labels, predicted))


def test_every_weight_has_one_rate_and_deeper_layers_learn_slower() -> None:
    task = make(layer_decay=0.5, encoder_learning_rate=1e-3, learning_rate=1e-2)
    rates = {id(parameter): group["peak"] for group in task.groups() for parameter in group["params"]}
    assert len(rates) == sum(len(group["params"]) for group in task.groups())
    names = {name: rates[id(parameter)] for name, parameter in task.classifier.named_parameters()}
    assert names["encoder.layers.1.mlp.Wi.weight"] == names["encoder.final_norm.weight"] == pytest.approx(1e-3)
    assert names["encoder.layers.0.mlp.Wi.weight"] == pytest.approx(5e-4)
    assert names["encoder.embeddings.tok_embeddings.weight"] == pytest.approx(2.5e-4)
    assert names["head.linear.weight"] == names["mixture"] == 1e-2


def test_layers_join_from_the_top() -> None:
    task = make(unfreeze_epochs=2.0)
    learning = []
    for epoch in (0, 1, 2):
        task.classifier.zero_grad()
        task.loss(task.batch(epoch * task.batches_per_epoch)).loss.backward()
        learning.append({name for name, parameter in task.classifier.named_parameters() if parameter.grad is not None})
    head, top, everything = learning
    assert not any("layers" in name or "embeddings" in name for name in head)
    assert any("layers.1" in name for name in top)
    assert not any("layers.0" in name for name in top)
    assert everything == {name for name, _ in task.classifier.named_parameters()}


def test_the_average_is_kept_in_the_checkpoint_and_is_the_detector() -> None:
    task = make(ema=0.5)
    assert isinstance(task.model, Averaged)
    before = task.detector.head.linear.weight.detach().clone()
    with torch.no_grad():
        task.classifier.head.linear.weight.add_(1.0)
    task.model.update()  # decay min(0.5, 2 / 11)
    torch.testing.assert_close(task.detector.head.linear.weight, before + 9 / 11)
    assert {"live.head.linear.weight", "average.head.linear.weight", "steps"} <= task.model.state_dict().keys()


def test_without_a_development_split_nothing_is_measured(task: Classification) -> None:
    task.development = Encoded([], np.zeros(0, dtype=np.int64))
    assert all(np.isnan(value) for value in task.evaluate().values())
