"""Regression: a number for each text, by the sentence CNN with one output."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bongsu.arrays import Array, Float64, Int64
from bongsu.errors import DataError
from bongsu.model.tfidf import Tfidf, constant_tfidf, fit_tfidf
from bongsu.recipe import Pair, Regression
from bongsu.tasks.task import Calibration, Example, Metric, Outputs, Schema, Task, label_of
from bongsu.tokens.inputs import Encoded

if TYPE_CHECKING:
    from torch import Tensor

    from bongsu.model.heads import HeadConfig

_BINS = 5  # of targets, for folds with the same spread of them


@dataclass(frozen=True, slots=True)
class Number:
    """The answer to a text."""

    value: float
    """On the scale of the training file."""


class RegressionTask(Task[Regression | Pair, float, Number]):
    """Targets are numbers; outputs [1, 1] an example are (number - shift) / scale, so that any scale is learned alike."""

    kind = "regression"
    answer_type = Number
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("pearson", "Pearson"),
        Metric("spearman", "Spearman"),
        Metric("mae", "MAE", higher_is_better=False),
    )
    naive_name = "mean"
    tfidf_name = "TF-IDF + ridge"

    # Rows

    @staticmethod
    def named_columns(settings: Regression | Pair) -> tuple[list[str], list[str], list[str]]:
        assert isinstance(settings, Regression)
        return [settings.text], [settings.label], settings.context

    def parse(self, row: dict[str, str]) -> float | None:
        cell = row[self.settings.label].strip()
        if label_of(cell) is None:
            return None
        try:
            value = float(cell)
        except ValueError:
            raise ValueError(f"{cell[:40]!r} in column {self.settings.label!r} is no number") from None
        if not math.isfinite(value):
            raise ValueError(f"{cell[:40]!r} in column {self.settings.label!r} is not finite")
        return value

    def learn_schema(self, examples: Sequence[Example[float]]) -> Schema:
        values = _targets(examples)
        if values.std() == 0.0:
            raise DataError(f"{self.settings.train}: column {self.settings.label!r} holds one number only ({values[0]:g}).")
        return Schema(shift=float(values.mean()), scale=float(values.std()))

    def strata(self, examples: Sequence[Example[float]]) -> Int64:
        values = _targets(examples)
        edges = np.quantile(values, np.arange(1, _BINS) / _BINS)
        return np.searchsorted(edges, values, side="right").astype(np.int64)

    # Numbers

    def target(self, encoded: Encoded, example: Example[float]) -> Array:
        """Return the scaled number, [1] float32."""
        return np.array([(example.target - self.schema.shift) / self.schema.scale], dtype=np.float32)

    def head(self) -> HeadConfig:
        from bongsu.model.heads import CNNConfig

        assert not isinstance(self.settings, Pair)
        return CNNConfig.from_recipe(self.settings.head, 1)

    def criterion(self, targets: Sequence[Array]) -> Callable[[Tensor, Tensor], Tensor]:
        from torch.nn import functional as F

        return F.mse_loss

    def hits(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return how many outputs are within half a standard deviation of their target, and how many there are."""
        right = (outputs - targets).abs() < 0.5
        return right.sum(), right.new_tensor(right.numel()).long()

    # Answers

    def calibrate(self, examples: Sequence[Example[float]], outputs: Outputs, thresholds: Sequence[float] = ()) -> Calibration:
        return Calibration()

    def probabilities(self, outputs: Outputs, calibration: Calibration) -> Outputs:
        """Return numbers on the scale of the file, [1, 1] an example."""
        return outputs.with_values(outputs.values * self.schema.scale + self.schema.shift)

    def answers(self, examples: Sequence[Example[Any]], probabilities: Outputs, calibration: Calibration) -> list[Number]:
        return [Number(value) for value in probabilities.values[:, 0].tolist()]

    def score(self, examples: Sequence[Example[float]], probabilities: Outputs, calibration: Calibration) -> dict[str, float]:
        from scipy.stats import rankdata

        truth, answered = _targets(examples), probabilities.values[:, 0].astype(np.float64)
        return {
            "pearson": pearson(truth, answered),
            "spearman": pearson(rankdata(truth), rankdata(answered)),
            "mae": float(np.abs(truth - answered).mean()),
        }

    def statistics(self, examples: Sequence[Example[float]], probabilities: Outputs, calibration: Calibration) -> Float64:
        """Return the terms of Pearson's correlation: 1, x, y, x², y², xy for each example, [N, 6]."""
        x = (_targets(examples) - self.schema.shift) / self.schema.scale
        y = (probabilities.values[:, 0].astype(np.float64) - self.schema.shift) / self.schema.scale
        return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)

    def main_metric(self, totals: Float64) -> Float64:
        """Return Pearson's correlation of sums of `statistics`; 0 where one side does not vary."""
        n, x, y, xx, yy, xy = np.moveaxis(totals, -1, 0)
        spread = np.maximum(n * xx - x * x, 0.0) * np.maximum(n * yy - y * y, 0.0)
        result: Float64 = np.where(spread > 1e-9, (n * xy - x * y) / np.sqrt(np.maximum(spread, 1e-9)), 0.0)
        return result

    def key_of(self, answer: Number) -> str:
        """Return the number to a tenth of a standard deviation."""
        return f"{(answer.value - self.schema.shift) / self.schema.scale:.1f}"

    def flat(self, answer: Number) -> dict[str, str | float]:
        return {"value": answer.value}

    # Baselines

    def naive(self, training: Sequence[Example[float]], examples: Sequence[Example[Any]]) -> Outputs:
        """Return the mean of the training rows for every example."""
        mean = self._scaled(training).mean() if training else 0.0
        return Outputs.of_rows(np.full((len(examples), 1), mean))

    def fit_tfidf(self, training: Sequence[Example[float]]) -> Tfidf:
        """Fit ridge regression on TF-IDF features."""
        texts, values = [example.inputs[0] for example in training], self._scaled(training)
        if not any(text.strip() for text in texts):
            return constant_tfidf(np.array([values.mean()]))

        def fit(table: Any) -> tuple[Array, Array]:
            from sklearn.linear_model import Ridge

            model = Ridge(alpha=1.0, solver="lsqr", random_state=0).fit(table, values)
            return model.coef_[:, None], np.array([model.intercept_])

        return fit_tfidf(texts, fit)

    def _scaled(self, examples: Sequence[Example[float]]) -> Float64:
        result: Float64 = (_targets(examples) - self.schema.shift) / self.schema.scale
        return result


def pearson(x: Float64, y: Float64) -> float:
    """Return Pearson's correlation of two series [N]; 0 when one does not vary."""
    if x.std() < 1e-12 or y.std() < 1e-12:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1])


def _targets(examples: Sequence[Example[float]]) -> Float64:
    return np.array([example.target for example in examples], dtype=np.float64)
