"""The detector: a folder that classifies texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from bongsu.corpus.cleaning import Cleaner
from bongsu.errors import WorkspaceError
from bongsu.model.heads import Classifier
from bongsu.model.io import load_classifier, read_config
from bongsu.recipe import Cleaning
from bongsu.tasks.classification import probabilities
from bongsu.tasks.explaining import Word, explain
from bongsu.tasks.finetuning import encode
from bongsu.tasks.labelled import as_read
from bongsu.tokens.bpe import load_tokenizer


@dataclass(frozen=True)
class Prediction:
    """What the detector says of a text."""

    label: str
    """The class's name, such as "disaster"."""
    probability: float
    """Two classes: of the positive class. More: of `label`."""
    value: str
    """The class as it is written in the training file, such as "1"."""


class Detector:
    """Classifies texts; made by `bongsu.load`."""

    def __init__(self, model: Classifier, tokenizer: Tokenizer, details: dict[str, Any]) -> None:
        self.model = model
        self.details = details
        self.threshold: float = details["threshold"]
        self._tokenizer = tokenizer
        self.cleaner = Cleaner(Cleaning.model_validate(details["cleaning"]))

    @classmethod
    def load(cls, folder: Path) -> Detector:
        """Opens a run's folder, its `finetune` folder, or a model folder.

        Raises:
            WorkspaceError: when there is no detector in it.
        """
        for candidate in (folder / "finetune" / "model", folder / "model", folder):
            if (candidate / "config.json").is_file():
                model = load_classifier(candidate)
                return cls(model, load_tokenizer(candidate), read_config(candidate)["extra"])
        hint = "no such folder" if not folder.exists() else "it holds no detector; has its finetune stage been run?"
        raise WorkspaceError(f"{folder}: {hint}")

    def predict(self, texts: Sequence[str], context: Sequence[Sequence[str]] | None = None) -> list[Prediction]:
        """Classifies texts.

        Args:
            texts: as they were sent; cleaning is done here.
            context: for each text the values of the context columns the detector was trained with, if it was.
        """
        if isinstance(texts, str):
            raise TypeError("predict takes a list of texts, not one text")
        if not texts:
            return []
        fronts: Sequence[Sequence[str]] = context if context is not None else [()] * len(texts)
        read = [as_read(self.cleaner, text, front) for text, front in zip(texts, fronts, strict=True)]
        return self._decide(read)

    def explain(self, texts: Sequence[str], context: Sequence[Sequence[str]] | None = None) -> list[list[Word]]:
        """The words of each text as the model reads it, with what each did for the probability that `predict` tells.

        Arguments as of `predict`. Costs one more pass a word.
        """
        fronts: Sequence[Sequence[str]] = context if context is not None else [()] * len(texts)
        read = [as_read(self.cleaner, text, front) for text, front in zip(texts, fronts, strict=True)]
        result = []
        for text in read:
            of = 1
            if len(self.details["classes"]) > 2:
                of = int(probabilities(self.model, encode(self._tokenizer, [text], self.details["max_length"])).argmax())
            result.append(explain(self.model, self._tokenizer, text, self.details["max_length"], of))
        return result

    def predict_read(self, texts: list[str]) -> list[Prediction]:
        """Like `predict`, of texts already as the model reads them."""
        return self._decide(texts) if texts else []

    def _decide(self, texts: list[str]) -> list[Prediction]:
        predicted = probabilities(self.model, encode(self._tokenizer, texts, self.details["max_length"]))
        classes, names = self.details["classes"], self.details["names"]
        result = []
        for row in predicted:
            index = int(row[1] >= self.threshold) if len(row) == 2 else int(row.argmax())
            result.append(Prediction(names[index], float(row[1] if len(row) == 2 else row[index]), classes[index]))
        return result
