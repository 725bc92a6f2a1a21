"""Texts in, decisions out: what the detector in torch and the predictor of an export have in common. Needs no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from bongsu.corpus.cleaning import Cleaner
from bongsu.inference.explain import Word, explain
from bongsu.inference.tfidf import Tfidf, product
from bongsu.recipe import Cleaning
from bongsu.tokens.inputs import Int64, as_read, encode

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Prediction:
    """What the detector says of a text."""

    label: str
    """The class's name, such as "disaster"."""
    probability: float
    """Two classes: of the positive class. More: of `label`."""
    value: str
    """The class as it is written in the training file, such as "1"."""


class TextClassifier(ABC):
    """Classifies texts; what computes the encoder's probabilities is left to those who derive from it."""

    def __init__(self, tokenizer: Tokenizer, details: dict[str, Any], beside: Tfidf | None = None) -> None:
        """`beside`: what decides together with the encoder, if anything does."""
        self.beside = beside
        self.details = details
        self.classes: list[str] = details["classes"]
        self.names: list[str] = details["names"]
        self.threshold: float = details["threshold"]
        self.cleaner = Cleaner(Cleaning.model_validate(details["cleaning"]))
        self.tokenizer = tokenizer

    @abstractmethod
    def classify(self, ids: Sequence[Int64]) -> Float32:
        """The encoder's class probabilities [texts, classes] of texts as token ids, in the order given."""

    def probabilities(self, texts: Sequence[str], context: Sequence[Sequence[str]] | None = None) -> Float32:
        """Class probabilities, [texts, classes]; arguments as of `predict`."""
        return self._probabilities(self._read(texts, context))

    def predict(self, texts: Sequence[str], context: Sequence[Sequence[str]] | None = None) -> list[Prediction]:
        """Classifies texts.

        Args:
            texts: as they were sent; cleaning is done here.
            context: for each text the values of the context columns the detector was trained with, if it was.
        """
        return self.predict_read(self._read(texts, context))

    def predict_read(self, texts: list[str]) -> list[Prediction]:
        """Like `predict`, of texts already as the model reads them."""
        return [self.decide(row) for row in self._probabilities(texts)]

    def decide(self, row: Float32) -> Prediction:
        """What follows from one text's probabilities [classes]."""
        index = int(row[1] >= self.threshold) if len(row) == 2 else int(row.argmax())
        return Prediction(self.names[index], float(row[1] if len(row) == 2 else row[index]), self.classes[index])

    def explain(self, text: str, context: Sequence[str] = ()) -> list[Word]:
        """The words of a text as the model reads it, with what each did for the probability that `predict` tells.

        Costs one more pass a word.
        """
        read = as_read(self.cleaner, text, context)
        of = 1 if len(self.classes) == 2 else int(self._probabilities([read])[0].argmax())
        return explain(self._together, self.tokenizer, read, self.details["max_length"], of)

    def _read(self, texts: Sequence[str], context: Sequence[Sequence[str]] | None) -> list[str]:
        if isinstance(texts, str):
            raise TypeError("a list of texts is needed, not one text")
        fronts: Sequence[Sequence[str]] = context if context is not None else [()] * len(texts)
        return [as_read(self.cleaner, text, front) for text, front in zip(texts, fronts, strict=True)]

    def _probabilities(self, texts: list[str]) -> Float32:
        if not texts:
            return np.zeros((0, len(self.classes)), dtype=np.float32)
        return self._together(encode(self.tokenizer, texts, self.details["max_length"]), texts)

    def _together(self, ids: Sequence[Int64], texts: Sequence[str]) -> Float32:
        table = self.classify(ids)
        return table if self.beside is None else product(table, self.beside.probabilities(texts))
