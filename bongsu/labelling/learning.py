"""Corrections: logistic regression on the features of old rows and of new labels, the new ones weighing a third in all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, vstack
from scipy.special import expit

from bongsu.arrays import Array, Float32, Float64
from bongsu.errors import WorkspaceError
from bongsu.labelling.features import BUCKETS, Grams, Rows, Stored, logit
from bongsu.tasks.task import Example, Outputs

SHARE = 1.0 / 3.0
"""Of the weight of all rows, that of the new labels."""
_PENALTY = 0.5  # chosen on CrisisLexT6, events left out
_MOST = 6000  # stored rows that are learned from: more of them make an update slow, and hardly better
_LIGHT = 1e-3  # of the logit and of the bias
_STEPS = 100


class Space:
    """How features are scaled: as the stored rows are spread."""

    def __init__(self, stored: Rows) -> None:
        self.mean = stored.pooled.mean(axis=0)
        self.scale = 1.0 / (np.maximum(stored.pooled.std(axis=0), 1e-6) * np.sqrt(stored.pooled.shape[1]))
        found = np.bincount(stored.grams.buckets.astype(np.int64), minlength=BUCKETS)
        self.rarity = (np.log((1.0 + len(stored)) / (1.0 + found)) + 1.0).astype(np.float32)
        """[BUCKETS], inverse document frequencies."""
        self.known = found > 0
        """[BUCKETS], whether a stored row has a gram of this bucket."""

    def dense(self, rows: Rows) -> Float32:
        """Return vectors and logits on about one scale, and a column of ones, [N, d_model + 2] float32."""
        scaled = (rows.pooled - self.mean) * self.scale
        columns = [scaled * 3.0, rows.logits[:, None] / 3.0, np.ones((len(rows), 1))]
        return np.concatenate(columns, axis=1).astype(np.float32)

    def sparse(self, grams: Grams) -> csr_matrix:
        """Return the grams by 1 + log of their counts and by rarity, each text of length one, [N, BUCKETS] float32."""
        owners = grams.owners()
        values = (1.0 + np.log(grams.counts.astype(np.float32))) * self.rarity[grams.buckets]
        lengths = np.sqrt(np.bincount(owners, values**2, minlength=len(grams)))
        values = (values / np.maximum(lengths[owners], 1e-12)).astype(np.float32)
        return csr_matrix((values, grams.buckets.astype(np.int32), grams.starts), shape=(len(grams), BUCKETS))


@dataclass(frozen=True)
class LinearCorrection:
    """A fitted correction; a `Correction` as the predictor takes it."""

    space: Space
    weights: Float32
    """[d_model + 2], of vector, logit and bias."""
    gram_weights: Float32
    """[BUCKETS]."""

    def logits(self, rows: Rows) -> Float64:
        """Return the corrected log-odds [N] float64."""
        dense = self.space.dense(rows).astype(np.float64) @ self.weights.astype(np.float64)
        result: Float64 = dense + self.space.sparse(rows.grams) @ self.gram_weights.astype(np.float64)
        return result

    def corrected(self, examples: Sequence[Example[Any]], vectors: Float32, outputs: Outputs) -> Outputs:
        """See `Correction`."""
        rows = Rows(vectors, logit(outputs.values[:, 1]), Grams.of([example.inputs[0] for example in examples]))
        positive = expit(self.logits(rows))
        return outputs.with_values(np.stack([1.0 - positive, positive], axis=1))

    def to_bytes(self) -> bytes:
        """Return the weights, without the space, as safetensors."""
        return safetensors.numpy.save({"weights": self.weights, "gram_weights": self.gram_weights.astype(np.float16)})

    @classmethod
    def from_bytes(cls, space: Space, content: bytes) -> LinearCorrection:
        """Return what `to_bytes` was given.

        Raises:
            WorkspaceError: when they are damaged, or of a model of another size.
        """
        try:
            tensors = safetensors.numpy.load(content)
            weights, grams = tensors["weights"], tensors["gram_weights"].astype(np.float32)
            if weights.shape != (len(space.mean) + 2,) or grams.shape != (BUCKETS,):
                raise ValueError("it is of a model of another size")
        except (SafetensorError, KeyError, ValueError) as error:
            raise WorkspaceError(f"A stored version is damaged ({error}); bring back another.") from None
        return cls(space, weights, grams)


class Learner:
    """Learns corrections of one detector; the stored rows are prepared once."""

    def __init__(self, stored: Stored) -> None:
        self.stored = stored
        self.space = Space(stored.rows)
        self._kept = np.sort(np.random.default_rng(0).permutation(len(stored.targets))[:_MOST])

    @cached_property
    def _old(self) -> tuple[Float32, csr_matrix]:
        rows = self.stored.rows.take(self._kept)
        return self.space.dense(rows), self.space.sparse(rows.grams)

    def fit(self, rows: Rows, targets: Array) -> LinearCorrection:
        """Return a correction learned from the stored rows and new labels; deterministic.

        Args:
            rows: of the labelled texts.
            targets: [N], 1 for the positive class.
        """
        old, new = len(self._kept), len(targets)
        of_new = SHARE / (1.0 - SHARE) * old / max(1, new)
        shares = np.concatenate([np.ones(old), np.full(new, of_new)])
        dense = np.concatenate([self._old[0], self.space.dense(rows)])
        grams = vstack([self._old[1], self.space.sparse(rows.grams)], format="csr")
        wanted = np.concatenate([self.stored.targets[self._kept], np.asarray(targets)]).astype(np.float64)
        split = dense.shape[1]
        start, penalty = np.zeros(split + BUCKETS), np.full(split + BUCKETS, _PENALTY)
        start[split - 2] = 3.0  # answers as the detector did
        penalty[split - 2 : split] = _LIGHT
        found = fit_logistic(dense, grams, wanted, shares, start, penalty).astype(np.float32)
        return LinearCorrection(self.space, found[:split], found[split:])


def fit_logistic(
    dense: Float32, sparse: csr_matrix, wanted: Float64, shares: Float64, start: Float64, penalty: Float64
) -> Float64:
    """Return the weights of logistic regression: they minimise log loss + penalty by L-BFGS (Liu and Nocedal 1989).

    Args:
        dense, sparse: [N, D] and [N, S], the columns.
        wanted: [N], 1 or 0.
        shares: [N], what a row weighs.
        start: [D + S], where to begin.
        penalty: [D + S], of the square of each weight, halved.
    """
    split, turned, signs = dense.shape[1], sparse.T.tocsr(), 2.0 * wanted - 1.0

    def objective(weights: Float64) -> tuple[float, Float64]:
        single = weights.astype(np.float32)
        scores = (dense @ single[:split] + sparse @ single[split:]).astype(np.float64)
        loss = shares @ np.logaddexp(0.0, -signs * scores) + 0.5 * penalty @ weights**2
        slope = (shares * (expit(scores) - wanted)).astype(np.float32)
        gradient = np.concatenate([dense.T @ slope, turned @ slope]).astype(np.float64) + penalty * weights
        return float(loss), gradient

    found: Float64 = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS, "ftol": 1e-7}).x
    return found
