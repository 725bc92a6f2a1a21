"""Pair: a class or a number for two texts.

They stand in one row. An encoder of ours reads each by itself, as it did in pre-training; one of `transformers` reads both at
once. A head compares the means of their vectors.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from bongsu.arrays import Array
from bongsu.corpus.cleaning import dedup_key
from bongsu.model.tfidf import Tfidf
from bongsu.recipe import Pair
from bongsu.tasks.classification import ClassificationTask
from bongsu.tasks.regression import RegressionTask
from bongsu.tasks.task import Example, Outputs, Schema, Task
from bongsu.tokens.inputs import Encoded, encode_pair

if TYPE_CHECKING:
    from bongsu.model.heads import HeadConfig

_WORD = re.compile(r"\w+")
_STEPS = 10  # of a share of common words or characters, as features of TF-IDF


class _Pairs(Task[Any, Any, Any]):
    """The methods of both kinds of pairs."""

    kind = "pair"
    pairs = True
    explains = False

    @staticmethod
    def named_columns(settings: Any) -> tuple[list[str], list[str], list[str]]:
        return [settings.first, settings.second], [settings.label], []

    def encode(self, tokenizer: Tokenizer, examples: Sequence[Example[Any]]) -> list[Encoded]:
        rows = []
        for number, example in enumerate(examples):
            orders = (example.inputs, example.inputs[::-1]) if self.settings.symmetric else (example.inputs,)
            for first, second in orders:
                row = encode_pair(tokenizer, first, second, self.settings.max_length)
                rows.append(row._replace(offsets=None, example=number))
        return rows

    def head(self) -> HeadConfig:
        from bongsu.model.heads import PairConfig

        outputs = 1 if self.settings.target == "number" else len(self.schema.labels)
        return PairConfig(outputs, self.settings.dropout)

    def gather(self, encoded: Sequence[Encoded], outputs: Sequence[Array], count: int) -> Outputs:
        """Return the outputs of each example; the mean over both orders of a symmetric pair."""
        table = np.zeros((count, self.head().n_outputs))
        times = np.bincount([row.example for row in encoded], minlength=count)
        for row, output in zip(encoded, outputs, strict=True):
            table[row.example] += output
        return Outputs.of_rows(table / np.maximum(1, times)[:, None])

    def fit_tfidf(self, training: Sequence[Example[Any]]) -> Tfidf:
        return super().fit_tfidf([_overlap_features(example) for example in training])

    def tfidf_outputs(self, model: Tfidf, examples: Sequence[Example[Any]]) -> Outputs:
        return super().tfidf_outputs(model, [_overlap_features(example) for example in examples])


class PairClassification(_Pairs, ClassificationTask):
    """A class for two texts."""

    tfidf_name = "TF-IDF with overlap + logistic regression"


class PairRegression(_Pairs, RegressionTask):
    """A number for two texts."""

    tfidf_name = "TF-IDF with overlap + ridge"


def pair_task(settings: Pair, schema: Schema | None = None) -> Task[Any, Any, Any]:
    """Return the task of pairs with the target that the settings name."""
    return PairRegression(settings, schema) if settings.target == "number" else PairClassification(settings, schema)


def _overlap_features(example: Example[Any]) -> Example[Any]:
    """Return a pair as one text for TF-IDF: words marked by whether the first, the second or both texts have them, and overlap.

    An overlap of words or characters becomes a number of tokens in proportion, so that a linear model can weigh it.
    """
    first, second = (_WORD.findall(text.lower()) for text in example.inputs)
    one, other = set(first), set(second)
    tokens = [f"b_{word}" for word in first if word in other]
    tokens += [f"f_{word}" for word in first if word not in other] + [f"s_{word}" for word in second if word not in one]
    grams = [{text[n : n + 3] for n in range(max(1, len(text) - 2))} for text in map(dedup_key, example.inputs)]
    for name, a, b in (("w", one, other), ("c", grams[0], grams[1])):
        share = len(a & b) / max(1, len(a | b))
        tokens += [f"common_{name}_{step}" for step in range(1, _STEPS + 1) if share * _STEPS >= step]
    return replace(example, inputs=(" ".join(tokens),))
