"""Multilabel: any number of labels for each text, by the sentence CNN with a sigmoid for each label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import orjson

from bongsu import progress
from bongsu.arrays import Array, Bool, Float64, Int64
from bongsu.corpus.tables import text_of
from bongsu.errors import DataError
from bongsu.evaluation.temperature import minimize_temperature
from bongsu.model.tfidf import Tfidf, constant_tfidf, fit_tfidf
from bongsu.recipe import Multilabel
from bongsu.tasks.task import Calibration, Example, Metric, Outputs, RowCalibration, Schema, Table, Task, label_of
from bongsu.tokens.inputs import Encoded

if TYPE_CHECKING:
    from torch import Tensor

    from bongsu.model.heads import CNNConfig

_YES = {"1", "1.0", "true", "yes", "y", "t"}
_LARGEST = 13.8  # logits of baselines are cut here: a probability of 1e-6
_THRESHOLDS = np.arange(1, 100) / 100.0
_BORROWED = 20  # positive rows like those of all labels that a label's threshold is chosen by, beside its own
_JOINED = 20  # labels with fewer rows do not make a stratum of their own


@dataclass(frozen=True, slots=True)
class LabelSet:
    """The answer to a text."""

    labels: list[str]
    """Names of the labels whose probability reaches their threshold."""
    probabilities: dict[str, float]
    """Of every label, by its name."""


class MultilabelTask(Task[Multilabel, list[str], LabelSet]):
    """Targets are lists of labels as they are written in the file; outputs are logits [1, labels] an example."""

    kind = "multilabel"
    answer_type = LabelSet
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("micro_f1", "Micro F1"),
        Metric("macro_f1", "Macro F1"),
        Metric("map", "mAP"),
        Metric("loss", "Log loss", higher_is_better=False),
    )
    calibrates_baselines = True
    naive_name = "frequency of each label"
    tfidf_name = "TF-IDF + one-vs-rest"

    # Rows

    @staticmethod
    def named_columns(settings: Multilabel) -> tuple[list[str], list[str], list[str]]:
        return [settings.text], settings.label_columns or [settings.labels], settings.context

    def parse(self, row: dict[str, str]) -> list[str] | None:
        settings = self.settings
        if settings.label_columns:
            if all(label_of(row[name]) is None for name in settings.label_columns):
                return None
            return [name for name in settings.label_columns if row[name].strip().lower() in _YES]
        cell = row[settings.labels].strip()
        if cell and label_of(cell) is None:
            return None
        if cell.startswith("["):
            try:
                cells = [text_of(label) for label in orjson.loads(cell)]
            except orjson.JSONDecodeError:
                raise ValueError(f"labels {cell[:40]!r} are no JSON list") from None
        else:
            cells = cell.split(settings.separator)
        return list(dict.fromkeys(label for each in cells if (label := label_of(each)) is not None))

    def learn_schema(self, examples: Sequence[Example[list[str]]]) -> Schema:
        settings = self.settings
        counts = Counter(label for example in examples for label in set(example.target))
        kept = sorted(label for label, count in counts.items() if count >= settings.min_rows)
        if rare := sorted(set(counts) - set(kept)):
            progress.note(f"task.min_rows: {len(rare)} labels have fewer than {settings.min_rows} rows: {', '.join(rare[:10])}")
        if not kept:
            raise DataError(f"{settings.train}: no label has {settings.min_rows} rows (task.min_rows).")
        return Schema(kept)

    def strata(self, examples: Sequence[Example[list[str]]]) -> Int64:
        """Return the rarest label of each example that is not too rare, counted from 1; 0 for none."""
        table = self.table_of(examples)
        counts = table.sum(axis=0)
        order = np.argsort(-counts, kind="stable")
        strata = np.zeros(len(examples), dtype=np.int64)
        for label in order[counts[order] >= _JOINED].tolist():  # rarer labels come later, and win
            strata[table[:, label]] = label + 1
        return strata

    def describe(self, examples: Sequence[Example[list[str]]]) -> dict[str, int]:
        return dict(zip(self.names, self.table_of(examples).sum(axis=0).tolist(), strict=True))

    def table_of(self, examples: Sequence[Example[list[str]]]) -> Bool:
        """Return which examples have which labels, [N, labels]."""
        index = {label: number for number, label in enumerate(self.schema.labels)}
        table = np.zeros((len(examples), len(index)), dtype=np.bool_)
        for row, example in enumerate(examples):
            table[row, [index[label] for label in example.target if label in index]] = True
        return table

    # Numbers

    def target(self, encoded: Encoded, example: Example[list[str]]) -> Array:
        """Return 1 for the example's labels and 0 for the others, [labels] float32."""
        target: Array = self.table_of([example])[0].astype(np.float32)
        return target

    def head(self) -> CNNConfig:
        from bongsu.model.heads import CNNConfig

        return CNNConfig.from_recipe(self.settings.head, len(self.schema.labels))

    def criterion(self, targets: Sequence[Array]) -> Callable[[Tensor, Tensor], Tensor]:
        from torch.nn import functional as F

        return F.binary_cross_entropy_with_logits

    def hits(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        right = (outputs > 0) == (targets > 0.5)
        return right.sum(), right.new_tensor(right.numel()).long()

    # Answers

    def calibrate(
        self, examples: Sequence[Example[list[str]]], outputs: Outputs, thresholds: Sequence[float] = ()
    ) -> Calibration:
        """Choose the temperature of least loss, and for each label the threshold of best F1."""
        if not examples:
            return Calibration()
        truth, logits = self.table_of(examples), outputs.values.astype(np.float64)
        temperature = minimize_temperature(lambda value: float(_losses(truth, logits / value).mean()))
        table = _sigmoid(logits / temperature)
        return Calibration(temperature, best_thresholds(truth, table))

    def probabilities(self, outputs: Outputs, calibration: Calibration) -> Outputs:
        return outputs.with_values(_sigmoid(outputs.values.astype(np.float64) / calibration.temperature))

    def answers(self, examples: Sequence[Example[Any]], probabilities: Outputs, calibration: Calibration) -> list[LabelSet]:
        names, chosen = self.names, self.decide(probabilities, calibration)
        return [
            LabelSet([name for name, has in zip(names, row, strict=True) if has], dict(zip(names, table, strict=True)))
            for row, table in zip(chosen.tolist(), probabilities.values.tolist(), strict=True)
        ]

    def score(
        self, examples: Sequence[Example[list[str]]], probabilities: Outputs, calibration: Calibration
    ) -> dict[str, float]:
        from sklearn.metrics import average_precision_score, f1_score

        truth, chosen = self.table_of(examples), self.decide(probabilities, calibration)
        present = np.flatnonzero(truth.any(axis=0))  # a label without rows has no precision to speak of
        averages = [average_precision_score(truth[:, n], probabilities.values[:, n]) for n in present.tolist()]
        return {
            "micro_f1": float(f1_score(truth, chosen, average="micro", zero_division=0)),
            "macro_f1": float(f1_score(truth[:, present], chosen[:, present], average="macro", zero_division=0))
            if len(present)
            else 0.0,
            "map": float(np.mean(averages)) if averages else 0.0,
            "loss": float(_losses(truth, _logit(probabilities.values)).mean()),
        }

    def statistics(self, examples: Sequence[Example[list[str]]], probabilities: Outputs, calibration: Calibration) -> Float64:
        """Return for each example its true positives and the sum of its labels and of those answered, [N, 2]."""
        truth, chosen = self.table_of(examples), self.decide(probabilities, calibration)
        columns = [(truth & chosen).sum(axis=1), truth.sum(axis=1) + chosen.sum(axis=1)]
        return np.stack(columns, axis=1).astype(np.float64)

    def main_metric(self, totals: Float64) -> Float64:
        """Return micro F1: twice the true positives by the sum of labels and answers."""
        result: Float64 = 2.0 * totals[..., 0] / np.maximum(totals[..., 1], 1e-12)
        return result

    def decide(self, probabilities: Outputs, calibration: Calibration) -> Bool:
        """Return which labels reach their threshold, [N, labels]."""
        thresholds = calibration.by_row if isinstance(calibration, RowCalibration) else np.array(calibration.thresholds or 0.5)
        result: Bool = probabilities.values >= thresholds
        return result

    def flat(self, answer: LabelSet) -> dict[str, str | float]:
        of_labels = {f"probability_{name}": value for name, value in answer.probabilities.items()}
        return {"label": self.settings.separator.join(answer.labels), **of_labels}

    def tables(self, examples: Sequence[Example[list[str]]], probabilities: Outputs, calibration: Calibration) -> list[Table]:
        truth, chosen = self.table_of(examples), self.decide(probabilities, calibration)
        rows: list[list[str | float]] = []
        for number, name in enumerate(self.names):
            hits, answered, wanted = (int(each[:, number].sum()) for each in (truth & chosen, chosen, truth))
            threshold = calibration.thresholds[number] if calibration.thresholds else 0.5
            shares = [hits / max(1, answered), hits / max(1, wanted), 2 * hits / max(1, answered + wanted)]
            rows.append([name, wanted, *shares, threshold])
        columns = ["label", "rows", "precision", "recall", "F1", "threshold"]
        return [Table("Labels", columns, sorted(rows, key=lambda row: -float(row[1])))]

    @property
    def names(self) -> list[str]:
        """The labels' names, in the order of the schema."""
        return [self.settings.names.get(label, label) for label in self.schema.labels]

    # Baselines

    def naive(self, training: Sequence[Example[list[str]]], examples: Sequence[Example[Any]]) -> Outputs:
        """Return the same for every example: the logit of each label's share of the training rows."""
        return Outputs.of_rows(np.tile(self._log_odds(training), (len(examples), 1)))

    def fit_tfidf(self, training: Sequence[Example[list[str]]]) -> Tfidf:
        """Fit a logistic regression a label on TF-IDF features."""
        truth, texts = self.table_of(training), [example.inputs[0] for example in training]
        constant = self._log_odds(training)
        if not any(text.strip() for text in texts):
            return constant_tfidf(constant)

        def fit(table: Any) -> tuple[Array, Array]:
            from sklearn.linear_model import LogisticRegression

            weights, bias = np.zeros((table.shape[1], truth.shape[1])), constant.copy()
            for label in range(truth.shape[1]):
                if 0 < truth[:, label].sum() < len(truth):
                    model = LogisticRegression(C=2.0, solver="liblinear", random_state=0).fit(table, truth[:, label])
                    weights[:, label], bias[label] = model.coef_[0], model.intercept_[0]
            return weights, bias

        return fit_tfidf(texts, fit)

    def _log_odds(self, training: Sequence[Example[list[str]]]) -> Float64:
        shares = self.table_of(training).mean(axis=0) if training else np.full(len(self.schema.labels), 0.5)
        return _logit(shares)


def best_thresholds(truth: Bool, probabilities: Float64) -> list[float]:
    """Return for each label the threshold of best F1, in hundredths, on rows [N, labels]; 0.5 without positive rows.

    A label with few positive rows has too few to choose by. So `_BORROWED` positive rows like those of all labels count with
    its own, and draw it to the common threshold, that of best micro F1. Of equally good ones the middle one is taken.
    """
    wanted = truth.sum(axis=0)
    if not wanted.any():
        return [0.5] * len(wanted)
    borrowed = _BORROWED / wanted.sum()  # of the rows of all labels
    curves = []
    for threshold in _THRESHOLDS:
        chosen = probabilities >= threshold
        hits, answered = (chosen & truth).sum(axis=0), chosen.sum(axis=0)
        both = answered + wanted
        curves.append(2.0 * (hits + borrowed * hits.sum()) / (both + borrowed * both.sum()))
    f1 = np.stack(curves)  # [thresholds, labels]
    equal = [np.flatnonzero(column >= column.max() - 1e-12) for column in f1.T]
    return [float(_THRESHOLDS[each[len(each) // 2]]) for each in equal]


def _sigmoid(logits: Array) -> Float64:
    return 0.5 * (1.0 + np.tanh(0.5 * logits.astype(np.float64)))  # never overflows


def _logit(probabilities: Array) -> Float64:
    inside = np.clip(probabilities.astype(np.float64), 1e-12, 1.0 - 1e-12)
    result: Float64 = np.clip(np.log(inside) - np.log1p(-inside), -_LARGEST, _LARGEST)
    return result


def _losses(truth: Bool, logits: Float64) -> Float64:
    """Return the log loss of each label of each example, [N, labels], without exponentials that overflow."""
    result: Float64 = np.maximum(logits, 0.0) - logits * truth + np.log1p(np.exp(-np.abs(logits)))
    return result
