"""Classification: one of two or more classes for each text, by the sentence CNN (Kim 2014)."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bongsu import progress
from bongsu.arrays import Array, Float64, Int64
from bongsu.corpus.cleaning import dedup_key
from bongsu.corpus.readers import ReadStats, read_rows
from bongsu.errors import DataError, RecipeError
from bongsu.evaluation.metrics import predictions
from bongsu.evaluation.temperature import apply_temperature, fit_temperature, log_softmax
from bongsu.files import redacted
from bongsu.model.tfidf import Tfidf, constant_tfidf, fit_tfidf
from bongsu.printable import reformula
from bongsu.recipe import Classification, Evaluate, Pair, Source
from bongsu.tasks.task import Calibration, Example, Metric, Outputs, Schema, Task, label_of
from bongsu.tokens.inputs import Encoded

if TYPE_CHECKING:
    from torch import Tensor

    from bongsu.model.heads import HeadConfig

DROP = "drop"  # in a corrections file: leave the row out
_NEVER = -60.0  # the logit of a class without training rows
_LEAST = math.log(1e-6)  # log probabilities below it are raised to it before models are averaged
_MOST_CLASSES = 1000
_TRUTH = {"false": "0", "true": "1"}


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to a text."""

    label: str
    """The class's name, such as "disaster"."""
    probability: float
    """Two classes: of the positive class. More: of `label`."""
    value: str
    """The class as it is written in the training file, such as "1"."""
    probabilities: dict[str, float]
    """Of every class, by its name."""


class ClassificationTask(Task[Classification | Pair, str, Prediction]):
    """Targets are classes as they are written in the file; outputs are logits [1, classes] an example."""

    kind = "classification"
    answer_type = Prediction
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("accuracy", "Accuracy"),
        Metric("f1", "F1"),
        Metric("roc_auc", "ROC-AUC"),
        Metric("loss", "Log loss", higher_is_better=False),
    )
    strict_strata = True
    explains = True
    naive_name = "majority class"
    tfidf_name = "TF-IDF + logistic regression"

    def __init__(self, settings: Classification | Pair, schema: Schema | None = None) -> None:
        super().__init__(settings, schema)
        self._spelled: dict[str, Counter[str]] = defaultdict(Counter)  # cells of each label of the file being read

    # Rows

    @staticmethod
    def named_columns(settings: Classification | Pair) -> tuple[list[str], list[str], list[str]]:
        assert isinstance(settings, Classification)
        return [settings.text], [settings.label], settings.context

    def parse(self, row: dict[str, str]) -> str | None:
        cell = row[self.settings.label].strip()
        label = label_of(cell)
        if label is not None:
            self._spelled[label][cell] += 1
        return label

    def read(
        self, path: str, where: dict[str, str], leave_out: str | None = None, stats: ReadStats | None = None
    ) -> list[Example[str]]:
        """Return the labelled rows; labels that differ only in spelling, such as 1 and 1.0, are one class."""
        stats = stats or self.new_stats()
        self._spelled.clear()
        examples = self._unify_spelling(super().read(path, where, leave_out, stats), redacted(path), stats)
        corrected = self.settings.corrections is not None and path == self.settings.train
        return self._corrected(examples, stats) if corrected else examples

    def _unify_spelling(self, examples: list[Example[str]], path: str, stats: ReadStats) -> list[Example[str]]:
        """Give each class the spelling of the training rows; where these have several, one of them, with a note.

        True and true stay as they are if all rows have that spelling, and are 1 where other rows have 1 or 0.
        """
        if self.schema.labels:
            called = {label: _as_known(label, self.schema.labels) for label in self._spelled}
        elif self._spelled.keys() & _TRUTH.values():
            called = dict(_TRUTH)
        else:
            called = {word: next(iter(cells)) for word in _TRUTH if len(cells := self._spelled.get(word, Counter[str]())) == 1}
        written: dict[str, Counter[str]] = defaultdict(Counter)
        for label, cells in self._spelled.items():
            written[called.get(label, label)] += cells
        for label, cells in sorted(written.items()):
            if set(cells) != {label}:
                shown = ", ".join(f"{cell!r} ({count:,})" for cell, count in sorted(cells.items()))
                stats.assume(path, f"{shown} in column {self.settings.label!r} read as the class {label!r}")
        return [replace(example, target=called.get(example.target, example.target)) for example in examples]

    @property
    def has_two_classes(self) -> bool:
        return not self.pairs and len(self.schema.labels) == 2

    def learn_schema(self, examples: Sequence[Example[str]]) -> Schema:
        settings = self.settings
        found = sorted({example.target for example in examples})
        where = f"{settings.train}: column {settings.label!r}"
        if len(found) < 2:
            raise DataError(f"{where} holds one label only ({found[0]!r}); two or more are needed.")
        if len(found) > _MOST_CLASSES:
            raise DataError(f"{where} holds {len(found)} different values; is it the label?")
        if settings.positive is not None:
            positive = _as_known(settings.positive, found)
            if positive not in found or len(found) != 2:
                raise RecipeError(
                    f"task.positive: {settings.positive!r}; the labels of {settings.train} are {', '.join(found)}."
                )
            found = [label for label in found if label != positive] + [positive]
        return Schema(found)

    def check(self, examples: Sequence[Example[str]], path: str) -> None:
        labels = set(self.schema.labels)
        for example in examples:
            if example.target not in labels:
                raise DataError(
                    f"{path}: label {example.target!r} in column {self.settings.label!r} is not one of "
                    f"{', '.join(self.schema.labels)}."
                )

    def strata(self, examples: Sequence[Example[str]]) -> Int64:
        return self.classes_of(examples)

    def unique(self, examples: Sequence[Example[str]]) -> list[Example[str]]:
        """Return of copies of a text the first, with the label of the majority; a tie leaves the text out."""
        copies: dict[str, list[Example[str]]] = {}
        for example in examples:
            copies.setdefault(dedup_key(example.cleaned), []).append(example)
        kept = []
        for members in copies.values():
            votes = np.bincount(self.classes_of(members), minlength=len(self.schema.labels))
            winner = int(votes.argmax())
            if np.count_nonzero(votes == votes[winner]) > 1:
                continue
            first = members[0]
            label = self.schema.labels[winner]
            kept.append(first if first.target == label else replace(first, target=label))
        return kept

    def describe(self, examples: Sequence[Example[str]]) -> dict[str, int]:
        counts = np.bincount(self.classes_of(examples), minlength=len(self.names))
        return dict(zip(self.names, counts.tolist(), strict=True))

    def classes_of(self, examples: Sequence[Example[str]]) -> Int64:
        """Return the class of each example as an index into the schema's labels, [N]."""
        index = {label: number for number, label in enumerate(self.schema.labels)}
        return np.array([index[example.target] for example in examples], dtype=np.int64)

    # Numbers

    def target(self, encoded: Encoded, example: Example[str]) -> Array:
        """Return a distribution over the classes, [C] float32."""
        target = np.zeros(len(self.schema.labels), dtype=np.float32)
        target[self.schema.labels.index(example.target)] = 1.0
        return target

    def head(self) -> HeadConfig:
        from bongsu.model.heads import CNNConfig

        assert not isinstance(self.settings, Pair)
        return CNNConfig.from_recipe(self.settings.head, len(self.schema.labels))

    def criterion(self, targets: Sequence[Array]) -> Callable[[Tensor, Tensor], Tensor]:
        import torch
        from torch.nn import functional as F

        weights: Tensor | None = None
        if self.settings.class_weights == "balanced":
            counts = np.sum(targets, axis=0)
            weights = torch.tensor(counts.sum() / (len(counts) * np.maximum(1, counts)), dtype=torch.float32)
        return lambda outputs, wanted: F.cross_entropy(
            outputs, wanted, weight=None if weights is None else weights.to(outputs.device)
        )

    def merge(self, parts: Sequence[Outputs]) -> Outputs:
        """Return the mean of the models' log probabilities (a product of experts, Hinton 2002)."""
        tables = [np.maximum(log_softmax(part.values), _LEAST) for part in parts]
        return parts[0].with_values(np.mean(tables, axis=0))

    # Answers

    def fixed_thresholds(self, evaluate: Evaluate) -> list[float]:
        """Return the threshold of least expected cost, or the one the recipe sets; of two classes."""
        return [evaluate.resolved_threshold] if len(self.schema.labels) == 2 else []

    def calibrate(self, examples: Sequence[Example[str]], outputs: Outputs, thresholds: Sequence[float] = ()) -> Calibration:
        return Calibration(fit_temperature(self.classes_of(examples), outputs.values), list(thresholds))

    def probabilities(self, outputs: Outputs, calibration: Calibration) -> Outputs:
        return outputs.with_values(apply_temperature(outputs.values, calibration.temperature))

    def answers(self, examples: Sequence[Example[Any]], probabilities: Outputs, calibration: Calibration) -> list[Prediction]:
        names = self.names
        answers = []
        for row, best in zip(probabilities.values.tolist(), self.decide(probabilities, calibration).tolist(), strict=True):
            probability = row[1] if len(row) == 2 else row[best]
            table = dict(zip(names, row, strict=True))
            answers.append(Prediction(names[best], probability, self.schema.labels[best], table))
        return answers

    def score(self, examples: Sequence[Example[str]], probabilities: Outputs, calibration: Calibration) -> dict[str, float]:
        from sklearn.metrics import f1_score, roc_auc_score

        labels, table = self.classes_of(examples), probabilities.values.astype(np.float64)
        best = self.decide(probabilities, calibration)
        binary = table.shape[1] == 2
        auc = 0.5
        if len(np.unique(labels)) == table.shape[1]:
            table = table / table.sum(axis=1, keepdims=True)
            auc = float(roc_auc_score(labels, table[:, 1] if binary else table, multi_class="ovr"))
        right = table[np.arange(len(labels)), labels]
        return {
            "accuracy": float((best == labels).mean()),
            "f1": float(f1_score(labels, best, average="binary" if binary else "macro", zero_division=0)),
            "roc_auc": auc,
            "loss": float(-np.log(np.maximum(right, 1e-12)).mean()),
        }

    def statistics(self, examples: Sequence[Example[str]], probabilities: Outputs, calibration: Calibration) -> Float64:
        right = self.decide(probabilities, calibration) == self.classes_of(examples)
        return np.stack([right.astype(np.float64), np.ones(len(right))], axis=1)

    def decide(self, probabilities: Outputs, calibration: Calibration) -> Int64:
        """Return the class of each example, [N]: with two classes by the threshold, with more the likeliest."""
        return predictions(probabilities.values, calibration.thresholds[0] if calibration.thresholds else 0.5)

    def explained_output(self, probabilities: Outputs) -> int:
        """Return the positive class of two, or the likeliest of more."""
        return 1 if len(self.schema.labels) == 2 else int(probabilities.values[0].argmax())

    def confident_errors(self, examples: Sequence[Example[str]], probabilities: Outputs) -> list[tuple[int, int]]:
        table = probabilities.values
        best = table.argmax(axis=1)
        wrong = np.flatnonzero(best != self.classes_of(examples))
        order = wrong[np.argsort(-table[wrong, best[wrong]], kind="stable")]
        return [(int(row), int(best[row])) for row in order]

    def flat(self, answer: Prediction) -> dict[str, str | float]:
        of_classes = {f"probability_{name}": value for name, value in answer.probabilities.items()}
        return {"label": answer.label, "probability": answer.probability, **of_classes}

    @property
    def names(self) -> list[str]:
        """The classes' names, in the order of the schema's labels."""
        labels = self.schema.labels
        names = {_as_known(label, labels): name for label, name in self.settings.names.items()}
        return [names.get(label, label) for label in labels]

    # Baselines

    def naive(self, training: Sequence[Example[str]], examples: Sequence[Example[Any]]) -> Outputs:
        """Return the same for every example: the log share of each class among the training rows."""
        return Outputs.of_rows(np.tile(self._log_shares(training), (len(examples), 1)))

    def fit_tfidf(self, training: Sequence[Example[str]]) -> Tfidf:
        """Fit logistic regression on TF-IDF features; with one class to learn from, or no text, the majority class.

        C = 2 was chosen by 5 folds of Kaggle's training file.
        """
        labels, n_classes = self.classes_of(training), len(self.schema.labels)
        texts = [example.inputs[0] for example in training]
        present = np.unique(labels)
        if len(present) < 2 or not any(text.strip() for text in texts):
            return constant_tfidf(self._log_shares(training))

        def fit(table: Any) -> tuple[Array, Array]:
            from sklearn.linear_model import LogisticRegression

            model = LogisticRegression(C=2.0, solver="lbfgs", max_iter=1000, random_state=0).fit(table, labels)
            weights, bias = np.zeros((table.shape[1], n_classes)), np.full(n_classes, _NEVER)
            bias[present] = 0.0
            if len(present) == 2:  # one row of weights, for the second
                weights[:, present[1]], bias[present[1]] = model.coef_[0], model.intercept_[0]
            else:
                weights[:, present], bias[present] = model.coef_.T, model.intercept_
            return weights, bias

        return fit_tfidf(texts, fit)

    def _log_shares(self, training: Sequence[Example[str]]) -> Float64:
        counts = np.bincount(self.classes_of(training), minlength=len(self.schema.labels)).astype(np.float64)
        shares = counts / counts.sum() if counts.sum() else np.full(len(counts), 1.0 / len(counts))
        result: Float64 = np.log(np.maximum(shares, math.exp(_NEVER)))
        return result

    def _corrected(self, examples: list[Example[str]], stats: ReadStats) -> list[Example[str]]:
        """Return the rows with the labels of the corrections file, without those marked "drop", which are counted.

        Raises:
            DataError: when it names a row that is not there.
        """
        path = self.settings.corrections
        assert path is not None
        entries = read_rows(Source(path=path, format="csv"), ReadStats(0), ["id", "correction"], [])
        corrections = {
            reformula(row["id"]): reformula(row["correction"].strip()) for _, row in entries if row["correction"].strip()
        }
        if unknown := sorted(corrections.keys() - {example.id for example in examples}):
            raise DataError(f"{path}: there is no row with id {unknown[0]!r} in {self.settings.train}.")
        labels = sorted({example.target for example in examples})
        kept = [example for example in examples if corrections.get(example.id) != DROP]
        stats.drop("left out by task.corrections", len(examples) - len(kept))
        changed = [replace(each, target=_as_known(corrections.get(each.id, each.target), labels)) for each in kept]
        count = sum(before.target != after.target for before, after in zip(kept, changed, strict=True))
        progress.note(progress.escape(f"{path}: {count:,} labels changed, {len(examples) - len(kept):,} rows left out"))
        return changed


def _as_known(label: str, known: Collection[str]) -> str:
    """Return the known label of the same class, or the label itself."""
    return {_class_of(each): each for each in known}.get(_class_of(label), label_of(label) or label)


def _class_of(label: str) -> str:
    """Return the canonical spelling of a class: 1, 1.0, True and true are one."""
    name = label_of(label) or label
    return _TRUTH.get(name, name)
