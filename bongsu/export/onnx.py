"""A run's detector and masked language model as ONNX graphs, with any number of texts of any length."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bongsu.export.fusion import fused
from bongsu.files import write_bytes
from bongsu.model.heads import Classifier, MaskedLanguageModel
from bongsu.tokens.special import UNK_ID

_MOST_TEXTS = 2**16


class _Detector(nn.Module):
    """Token ids [B, L] -> probabilities [B, classes]."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.classifier(input_ids).softmax(dim=-1)  # type: ignore[no-any-return]


class _MaskedLM(nn.Module):
    """Token ids [B, L] and flat positions [M] of B·L -> probabilities [M, vocab_size]."""

    def __init__(self, model: MaskedLanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, read: Tensor) -> Tensor:
        return self.model(input_ids, read=read).softmax(dim=-1)  # type: ignore[no-any-return]


def export_detector(classifier: Classifier, path: Path) -> None:
    """Writes `input_ids` int64 [texts, length] -> `probabilities` float32 [texts, classes]."""
    shortest = shortest_text(classifier)
    sizes = {"input_ids": _text_sizes(shortest, classifier.encoder.config.max_length)}
    example = _example(shortest, classifier.encoder.config.pad_id + 1)
    _export(_Detector(fused(classifier)), {"input_ids": example}, sizes, path)


def shortest_text(classifier: Classifier) -> int:
    """Tokens of the shortest row the graph takes: as many as the widest kernel."""
    return max(2, *classifier.head.config.kernel_sizes)


def export_masked_lm(model: MaskedLanguageModel, path: Path) -> None:
    """Writes `input_ids` int64 [texts, length], `read` int64 [masks] -> `probabilities` float32 [masks, vocab_size]."""
    sizes = {
        "input_ids": _text_sizes(1, model.encoder.config.max_length),
        "read": {0: torch.export.Dim("masks", min=1, max=_MOST_TEXTS)},
    }
    _export(_MaskedLM(fused(model)), {"input_ids": _example(2), "read": torch.tensor([0, 3, 4])}, sizes, path)


def _example(shortest: int, token: int = UNK_ID) -> Tensor:
    """Sizes of 2 and more, none of them alike, so that the exporter takes none for fixed or for another."""
    return torch.full((3, shortest + 4), token)


def _text_sizes(shortest: int, longest: int) -> dict[int, Any]:
    return {
        0: torch.export.Dim("texts", min=1, max=_MOST_TEXTS),
        1: torch.export.Dim("length", min=shortest, max=longest),
    }


def _export(model: nn.Module, inputs: dict[str, Tensor], sizes: dict[str, dict[int, Any]], path: Path) -> None:
    with _quiet():
        program = torch.onnx.export(
            model.eval().requires_grad_(False),
            kwargs=inputs,
            input_names=list(inputs),
            output_names=["probabilities"],
            dynamic_shapes=sizes,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    write_bytes(path, program.model_proto.SerializeToString())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter's remarks on packages we do not use from the terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
