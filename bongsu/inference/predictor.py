"""Prediction for any kind of task, with any backend. Needs no torch."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, Self

import numpy as np
from pydantic import TypeAdapter, ValidationError
from tokenizers import Tokenizer

from bongsu.arrays import Float32
from bongsu.errors import DataError, WorkspaceError
from bongsu.files import redacted_tree
from bongsu.inference.explain import Word, explain
from bongsu.model.tfidf import Tfidf
from bongsu.recipe import Task as TaskSettings
from bongsu.tasks.registry import AnyTask, build_task
from bongsu.tasks.task import Calibration, Example, Outputs, Schema
from bongsu.tokens.inputs import Encoded

Texts = Sequence[str] | Sequence[Sequence[str]]
"""Texts, or for kinds that read two of them pairs of texts."""


class Backend(Protocol):
    """A runtime that computes a model's outputs: torch, or ONNX Runtime."""

    def run(self, rows: Sequence[Encoded]) -> list[Float32]:
        """Return the head's outputs of each row, [n_outputs] or [L, n_outputs], in the order given."""

    def embed(self, rows: Sequence[Encoded]) -> Float32:
        """Return the mean of each row's token vectors, [rows, d_model]."""

    def read(self, rows: Sequence[Encoded]) -> tuple[list[Float32], Float32]:
        """Return the results of `run` and `embed`, in one pass."""


class Correction(Protocol):
    """A correction of answers, learned from labels after training."""

    def corrected(self, examples: Sequence[Example[Any]], vectors: Float32, outputs: Outputs) -> Outputs:
        """Return other calibrated outputs of examples.

        Args:
            vectors: [examples, d_model], the means of their token vectors.
            outputs: calibrated, of the model alone.
        """


@dataclass(frozen=True)
class ModelDetails:
    """What is saved with the weights of a fine-tuned model: everything that turns outputs into answers."""

    task: TaskSettings
    schema: Schema
    calibration: Calibration

    def to_dict(self) -> dict[str, object]:
        """Return it as plain values for JSON, without secrets in URLs of data."""
        return {
            "task": redacted_tree(self.task.model_dump(mode="json")),
            "schema": asdict(self.schema),
            "calibration": asdict(self.calibration),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelDetails:
        """Build from the values of `to_dict`.

        Raises:
            WorkspaceError: when the values are of another version, or damaged.
        """
        try:
            task: TaskSettings = TypeAdapter(TaskSettings).validate_python(values["task"])
            return cls(task, Schema(**values["schema"]), Calibration(**values["calibration"]))
        except (KeyError, TypeError, ValidationError) as error:
            raise WorkspaceError(
                f"The model's description is of another version or damaged ({error}); train it again."
            ) from None


class Predictor:
    """Answers texts with a model, in an ensemble with TF-IDF where it has one; `bongsu.load` returns one."""

    def __init__(self, details: ModelDetails, tokenizer: Tokenizer, backend: Backend, tfidf: Tfidf | None = None) -> None:
        self.details = details
        self.task: AnyTask = build_task(details.task, details.schema)
        self.calibration = details.calibration
        self.tokenizer = tokenizer
        self.backend = backend
        self.tfidf = tfidf
        self.version = ""
        """What names it among the versions of a detector; empty for a model folder."""
        self.correction: Correction | None = None
        """What it has learned from labels since it was trained; of kinds with one row an example."""

    def with_correction(self, correction: Correction | None, version: str) -> Self:
        """Return the same model with another correction; graph, tokenizer and threads are shared."""
        corrected = copy.copy(self)
        corrected.correction, corrected.version = correction, version
        return corrected

    @property
    def threshold(self) -> float:
        """The probability from which on the positive class of two is answered."""
        return self.calibration.thresholds[0] if self.calibration.thresholds else 0.5

    def predict(self, texts: Texts, context: Sequence[Sequence[str]] | None = None) -> list[Any]:
        """Return the answer to each text; its type is the task's, such as `Prediction` of a classifier.

        Args:
            texts: as they were sent; cleaning is done here. A kind that reads two texts takes pairs.
            context: for each text the values of the context columns the model was trained with, if it was.

        Raises:
            TypeError: when one text is given in place of a list.
            DataError: when an entry is no text (naming its place), or has another number of texts than the kind reads.
        """
        return self.predict_examples(self.examples(texts, context))

    def probabilities(self, texts: Texts, context: Sequence[Sequence[str]] | None = None) -> Float32:
        """Return calibrated probabilities (or numbers) [rows, outputs]; most kinds have one row a text."""
        return self.outputs_of(self.examples(texts, context)).values

    def examples(self, texts: Texts, context: Sequence[Sequence[str]] | None = None) -> list[Example[None]]:
        """Return texts as the model reads them; arguments as of `predict`."""
        if isinstance(texts, str):
            raise TypeError("a list of texts is needed, not one text")
        fronts: Sequence[Sequence[str]] = context if context is not None else [()] * len(texts)
        if len(fronts) != len(texts):
            raise DataError(f"context: {len(texts)} texts are given, and {len(fronts)} rows of context.")
        rows = [[text] if isinstance(text, str) else text for text in texts]
        for number, (row, front) in enumerate(zip(rows, fronts, strict=True)):
            _require_strings(row, f"texts[{number}]", "a text")
            _require_strings(front, f"context[{number}]", "a list of texts")
        return self.task.examples(rows, fronts)

    def predict_examples(self, examples: Sequence[Example[Any]]) -> list[Any]:
        """Return the answer to each example, as `predict`."""
        return self.task.answers(examples, self.outputs_of(examples), self.calibration)

    def outputs_of(self, examples: Sequence[Example[Any]]) -> Outputs:
        """Return calibrated outputs of examples."""
        if not examples:
            return Outputs.of_tables([], max(1, len(self.task.schema.labels)))
        return self._calibrated(self.task.encode(self.tokenizer, examples), examples)

    def explain(self, text: str, context: Sequence[str] = ()) -> list[Word]:
        """Return the words of a text as the model reads it, with the effect of each on the probability of the answer.

        Costs one more pass for each word.
        """
        [example] = self.examples([text], [context])
        output = self.task.explained_output(self.outputs_of([example]))
        return self.explain_example(example, output)

    def explain_example(self, example: Example[Any], output: int) -> list[Word]:
        """Return the words of an example's first text, with the effect of each on one output."""

        def score(rows: Sequence[Encoded], examples: Sequence[Example[Any]]) -> Float32:
            return self._calibrated(rows, examples).values

        return explain(score, self.tokenizer, example, self.task.settings.max_length, output)

    def embed(self, texts: Texts) -> Float32:
        """Return a vector of length 1 for each text, [texts, d_model]: the normalised mean of its tokens' vectors."""
        return self.embed_examples(self.examples(texts))

    def embed_examples(self, examples: Sequence[Example[Any]]) -> Float32:
        """Return a vector for each example, as `embed`."""
        if not examples:
            return np.zeros((0, 0), dtype=np.float32)
        vectors = self.backend.embed(self.task.encode(self.tokenizer, examples))
        normalised: Float32 = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return normalised

    def vectors_and_outputs(self, examples: Sequence[Example[Any]]) -> tuple[Float32, Outputs]:
        """Return of examples with one row each the mean token vectors [examples, d_model] and calibrated outputs.

        Both are those of the model alone, without a correction.
        """
        if not examples:
            return np.zeros((0, 0), dtype=np.float32), self.outputs_of([])
        return self._read(self.task.encode(self.tokenizer, examples), examples)

    def _calibrated(self, rows: Sequence[Encoded], examples: Sequence[Example[Any]]) -> Outputs:
        if self.correction is not None:
            vectors, outputs = self._read(rows, examples)
            return self.correction.corrected(examples, vectors, outputs)
        return self._merged(rows, self.backend.run(rows), examples)

    def _read(self, rows: Sequence[Encoded], examples: Sequence[Example[Any]]) -> tuple[Float32, Outputs]:
        outputs, vectors = self.backend.read(rows)
        return vectors, self._merged(rows, outputs, examples)

    def _merged(self, rows: Sequence[Encoded], tables: list[Float32], examples: Sequence[Example[Any]]) -> Outputs:
        outputs = self.task.gather(rows, tables, len(examples))
        if self.tfidf is not None:
            outputs = self.task.merge([outputs, self.task.tfidf_outputs(self.tfidf, examples)])
        return self.task.probabilities(outputs, self.calibration)


def _require_strings(values: object, where: str, needed: str) -> None:
    """Refuse anything but a list of texts, such as None or NaN in a column.

    Raises:
        DataError: naming the place.
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise DataError(f"{where}: {needed} is needed, not {str(values)[:40]!r} ({type(values).__name__}).")
    for number, value in enumerate(values):
        if not isinstance(value, str):
            raise DataError(f"{where}[{number}]: a text is needed, not {str(value)[:40]!r} ({type(value).__name__}).")
