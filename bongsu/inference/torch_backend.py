"""The detector: a model folder that classifies texts, in torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from bongsu.errors import WorkspaceError
from bongsu.finetuning.trainable import probabilities
from bongsu.inference.prediction import Float32, Prediction, TextClassifier
from bongsu.inference.tfidf import Tfidf, load_tfidf
from bongsu.model.heads import Classifier
from bongsu.model.io import load_classifier, read_config
from bongsu.tokens.bpe import load_tokenizer
from bongsu.tokens.inputs import Int64

__all__ = ["Detector", "Prediction", "model_folder"]


class Detector(TextClassifier):
    """Classifies texts; made by `bongsu.load`."""

    def __init__(self, model: Classifier, tokenizer: Tokenizer, details: dict[str, Any], beside: Tfidf | None = None) -> None:
        super().__init__(tokenizer, details, beside)
        self.model = model

    @classmethod
    def load(cls, folder: Path) -> Detector:
        """Opens a run's folder, its `finetune` folder, or a model folder.

        Raises:
            WorkspaceError: when there is no detector in it.
        """
        folder = model_folder(folder)
        model = load_classifier(folder)
        return cls(model, load_tokenizer(folder, foreign=True), read_config(folder)["extra"], load_tfidf(folder))

    def classify(self, ids: Sequence[Int64]) -> Float32:
        return probabilities(self.model, ids).astype(np.float32)


def model_folder(folder: Path) -> Path:
    """Where the detector of a run's folder, of its `finetune` folder or of a model folder is.

    Raises:
        WorkspaceError: when there is none.
    """
    for candidate in (folder / "finetune" / "model", folder / "model", folder):
        if (candidate / "config.json").is_file():
            return candidate
    hint = "no such folder" if not folder.exists() else "it holds no detector; has its finetune stage been run?"
    raise WorkspaceError(f"{folder}: {hint}")
