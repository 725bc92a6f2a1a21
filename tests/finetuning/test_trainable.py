"""Fine-tuning as the training loop sees it: batches, the loss, learning rates and the average of the weights."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from bongsu.finetuning.trainable import FineTuning, predict
from bongsu.model.encoder import Encoder, EncoderConfig
from bongsu.model.heads import CNNConfig
from bongsu.model.initialization import initialize
from bongsu.model.task_model import TaskModel
from bongsu.recipe import Classification, Finetune
from bongsu.tasks.classification import ClassificationTask
from bongsu.tasks.task import Calibration, Example, Schema
from bongsu.training.averaging import Averaged

ROWS = 101


@pytest.fixture
def examples(sentences: list[str]) -> list[Example[str]]:
    texts = list(dict.fromkeys(sentences))[:ROWS]
    return [Example(str(n), (text,), (text,), text, str(int("ba" in text))) for n, text in enumerate(texts)]


def make(tokenizer: Tokenizer, examples: list[Example[str]], pairs: bool = False, **changes: Any) -> FineTuning:
    task = ClassificationTask(Classification(train="x", max_length=40, class_weights="balanced"), Schema(["0", "1"]))
    config = EncoderConfig(tokenizer.get_vocab_size(), "modern", 16, 2, 2, 32, "geglu", 0.0, 64)
    model = TaskModel(Encoder(config), CNNConfig(2, (2, 3), 8), pairs)
    initialize(model, 1)
    return FineTuning(task, model, tokenizer, examples, examples, Finetune(**{"batch_size": 8, **changes}), seed=3)


@pytest.fixture
def training(tokenizer: Tokenizer, examples: list[Example[str]]) -> FineTuning:
    return make(tokenizer, examples)


def test_an_epoch_shows_every_text_once_with_its_target(training: FineTuning, examples: list[Example[str]]) -> None:
    shown = []
    for n in range(training.batches_per_epoch):
        batch = training.batch(n)
        assert batch.input_ids.shape[1] % 8 == 0
        assert batch.text_ids is None
        for row, target in zip(batch.input_ids, batch.targets, strict=True):
            shown.append((tuple(row[row != 0].tolist()), int(target.argmax())))
    assert len(training.rows) == ROWS
    expected = [(tuple(row.ids.tolist()), int(examples[row.example].target)) for row in training.rows]
    assert Counter(shown) == Counter(expected)
    assert max(len(ids) for ids, _ in shown) <= 40


def test_batches_are_pure_and_epochs_differ(training: FineTuning) -> None:
    first = training.batch(2)
    training.batch(training.batches_per_epoch * 5 + 1)
    assert np.array_equal(first.input_ids, training.batch(2).input_ids)
    again = training.batch(2 + training.batches_per_epoch)
    assert first.input_ids.shape != again.input_ids.shape or not np.array_equal(first.input_ids, again.input_ids)


def test_augmented_texts_are_as_many_as_asked_and_anew_each_epoch(tokenizer: Tokenizer, examples: list[Example[str]]) -> None:
    plain, changed = make(tokenizer, examples), make(tokenizer, examples, augmentation="aeda", augmented=0.4)
    ids = [tuple(row.ids.tolist()) for row in plain.rows]

    def shown(epoch: int) -> list[tuple[int, ...]]:
        return [tuple(changed._shown(number, epoch).ids.tolist()) for number in range(ROWS)]

    epochs = [shown(epoch) for epoch in range(6)]
    # A row of 40 tokens or more may be cut before the place that changed.
    short = [number for number in range(ROWS) if len(ids[number]) < 40]
    share = np.mean([epochs[epoch][number] != ids[number] for epoch in range(6) for number in short])
    assert share == pytest.approx(0.4, abs=0.08)
    assert epochs[0] != epochs[1]
    assert shown(1) == epochs[1]


def test_batching_does_not_change_a_probability(
    training: FineTuning, tokenizer: Tokenizer, examples: list[Example[str]]
) -> None:
    with torch.no_grad():
        training.task_model.head.linear.weight.normal_(generator=torch.Generator().manual_seed(0))

    def said(some: list[Example[str]]) -> np.ndarray:
        outputs = predict(training.task, training.best, tokenizer, some)
        return training.task.probabilities(outputs, Calibration()).values

    together = said(examples)
    alone = np.concatenate([said([example]) for example in examples])
    assert np.abs(together - alone).max() < 1e-5
    assert together.std() > 0.01
    assert together.sum(axis=1) == pytest.approx(np.ones(ROWS))


@pytest.mark.parametrize(
    "changes", [{}, {"layer_decay": 0.7}, {"ema": 0.9}, {"augmentation": "aeda", "augmented": 1.0, "layer_decay": 0.7}]
)
def test_the_loss_falls_when_trained(tokenizer: Tokenizer, examples: list[Example[str]], changes: dict[str, Any]) -> None:
    training = make(tokenizer, examples, **changes)
    optimizer = torch.optim.AdamW([dict(group) for group in training.groups()], lr=1e-2)
    before = training.evaluate()["loss"]
    for n in range(30):
        training.model.train()
        outcome = training.loss(training.batch(n))
        assert torch.isfinite(outcome.loss)
        optimizer.zero_grad()
        outcome.loss.backward()
        optimizer.step()
        training.after_step()
    after = training.evaluate()
    assert after["loss"] < before
    assert list(after) == ["accuracy", "f1", "roc_auc", "loss"]
    assert all(np.isfinite(value) for value in after.values())
    norms = training.task_model.head.linear.weight.norm(dim=1)
    assert float(norms.detach().max()) <= 3.0 + 1e-4


def test_the_log_counts_texts_and_tokens(training: FineTuning) -> None:
    batch = training.batch(0)
    training.model.eval()
    outcome = training.loss(batch)
    assert int(outcome.count) == 8
    assert outcome.tokens == sum(int((row != 0).sum()) for row in batch.input_ids)
    with torch.no_grad():
        best = training.task_model(torch.from_numpy(batch.input_ids)).argmax(-1).numpy()
    assert int(outcome.correct) == (best == batch.targets.argmax(-1)).sum()


@pytest.mark.parametrize("pairs", [False, True])
def test_every_weight_has_one_rate_and_deeper_layers_learn_slower(
    tokenizer: Tokenizer, examples: list[Example[str]], pairs: bool
) -> None:
    training = make(tokenizer, examples, pairs, layer_decay=0.5, encoder_learning_rate=1e-3, learning_rate=1e-2)
    rates = {id(parameter): group["peak"] for group in training.groups() for parameter in group["params"]}
    assert len(rates) == sum(len(group["params"]) for group in training.groups())
    names = {name: rates[id(parameter)] for name, parameter in training.task_model.named_parameters()}
    assert names["encoder.layers.1.mlp.Wi.weight"] == names["encoder.final_norm.weight"] == pytest.approx(1e-3)
    assert names["encoder.layers.0.mlp.Wi.weight"] == pytest.approx(5e-4)
    assert names["encoder.embeddings.tok_embeddings.weight"] == pytest.approx(2.5e-4)
    assert names["head.linear.weight"] == names["head.convolutions.0.bias"] == 1e-2
    assert names.get("second_text") == (1e-3 if pairs else None)
    flat = make(tokenizer, examples, pairs, encoder_learning_rate=1e-3, learning_rate=1e-2)
    rates = {id(parameter): group["peak"] for group in flat.groups() for parameter in group["params"]}
    encoder = {rates[id(parameter)] for parameter in flat.task_model.encoder.parameters()}
    assert encoder == {1e-3}
    assert len(rates) == len(list(flat.task_model.parameters()))


def test_the_average_is_kept_in_the_checkpoint_and_is_the_model(tokenizer: Tokenizer, examples: list[Example[str]]) -> None:
    training = make(tokenizer, examples, ema=0.5)
    assert isinstance(training.model, Averaged)
    before = training.best.head.linear.weight.detach().clone()
    with torch.no_grad():
        training.task_model.head.linear.weight.add_(1.0)
    training.model.update()  # decay min(0.5, 2 / 11)
    torch.testing.assert_close(training.best.head.linear.weight, before + 9 / 11)
    assert {"live.head.linear.weight", "average.head.linear.weight", "steps"} <= training.model.state_dict().keys()


def test_without_a_development_split_nothing_is_measured(training: FineTuning) -> None:
    training.development = []
    found = training.evaluate()
    assert list(found) == ["accuracy", "f1", "roc_auc", "loss"]
    assert all(np.isnan(value) for value in found.values())
