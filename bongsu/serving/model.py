"""A predictor's methods in the form that the batcher calls: a list in, a list of the same length out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bongsu.inference.explain import Word
from bongsu.inference.onnx import BundlePredictor
from bongsu.tasks.classification import Prediction

Message = tuple[str, Sequence[str]]
"""A text, and the values of the context columns."""
Answer = tuple[Prediction, list[Word] | None]
"""A prediction, and its explanation when one was asked for."""


class Model:
    """One bundle's predictor. Calls of one model share batches, calls of two never do."""

    def __init__(self, predictor: BundlePredictor) -> None:
        self.predictor = predictor
        self.version = predictor.version
        self.engine = predictor.engine

    def classify(self, messages: list[Message]) -> list[Answer]:
        """Predict, without explanations."""
        predictions = self.predictor.predict([text for text, _ in messages], [context for _, context in messages])
        return [(prediction, None) for prediction in predictions]

    def explain(self, messages: list[Message]) -> list[Answer]:
        """Predict, with the weight of each word."""
        predictions = self.predictor.predict([text for text, _ in messages], [context for _, context in messages])
        words = (self.predictor.explain(text, context) for text, context in messages)
        return list(zip(predictions, words, strict=True))

    def predict(self, inputs: list[tuple[Sequence[str], Sequence[str]]]) -> list[Any]:
        """Answer inputs, each the texts of an example and the values of its context columns."""
        return self.predictor.predict([texts for texts, _ in inputs], [context for _, context in inputs])

    def embed(self, texts: list[str]) -> list[list[float]]:
        """Return a vector for each text."""
        vectors: list[list[float]] = self.predictor.embed(texts).tolist()
        return vectors

    def fill_mask(self, asked: list[tuple[str, int]]) -> list[list[list[tuple[str, float]]]]:
        """Return the likeliest tokens of each mask, for texts with a number of guesses each."""
        return [self.predictor.fill_mask(text, top_k) for text, top_k in asked]

    def cost_of_explaining(self, message: Message) -> int:
        """Return how many predictions an explanation takes: one, and one for every word that is read."""
        longest: int = self.predictor.task.settings.max_length
        return 2 + min(len(message[0].split()), longest + 1)
