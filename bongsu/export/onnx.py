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
from bongsu.model.heads import mean_pooled
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.model.task_model import TaskModel
from bongsu.tokens.special import UNK_ID

_MOST_TEXTS = 2**16


class _Task(nn.Module):
    """Token ids [B, L], of pairs with `text_ids` -> the head's outputs, and the mean of the token vectors [B, d_model]."""

    def __init__(self, model: TaskModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, text_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        hidden, valid = self.model.hidden(input_ids, text_ids)
        return self.model.head(hidden, valid, text_ids), mean_pooled(hidden, valid)


class _MaskedLM(nn.Module):
    """Token ids [B, L] and flat positions [M] of B·L -> probabilities [M, vocab_size]."""

    def __init__(self, model: MaskedLanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, query_positions: Tensor) -> Tensor:
        return self.model(input_ids, query_positions=query_positions).softmax(dim=-1)  # type: ignore[no-any-return]


def export_task_model(model: TaskModel, path: Path) -> None:
    """Write a fine-tuned model.

    `input_ids` int64 [texts, length], of pairs also `text_ids` int64 [texts, length] -> `outputs` float32
    [texts, n_outputs] or [texts, length, n_outputs], and `pooled` float32 [texts, d_model].
    """
    shortest = model.head.config.shortest
    sizes = {"input_ids": _text_sizes(shortest, model.encoder.config.max_length)}
    inputs = {"input_ids": _example(shortest, model.encoder.config.pad_id + 1)}
    if model.pairs:
        sizes["text_ids"] = sizes["input_ids"]
        inputs["text_ids"] = torch.zeros_like(inputs["input_ids"])
    _export(_Task(fused(model)), inputs, sizes, path, ["outputs", "pooled"])


def export_masked_lm(model: MaskedLanguageModel, path: Path) -> None:
    """Write a masked language model.

    `input_ids` int64 [texts, length], `query_positions` int64 [masks] -> `probabilities` float32 [masks, vocab_size].
    """
    sizes = {
        "input_ids": _text_sizes(1, model.encoder.config.max_length),
        "query_positions": {0: torch.export.Dim("masks", min=1, max=_MOST_TEXTS)},
    }
    _export(
        _MaskedLM(fused(model)),
        {"input_ids": _example(2), "query_positions": torch.tensor([0, 3, 4])},
        sizes,
        path,
        ["probabilities"],
    )


def _example(shortest: int, token: int = UNK_ID) -> Tensor:
    """Return ids [B, L] of sizes that are not alike and not 1, so that the exporter takes none for fixed or for another."""
    return torch.full((3, shortest + 4), token)


def _text_sizes(shortest: int, longest: int) -> dict[int, Any]:
    return {
        0: torch.export.Dim("texts", min=1, max=_MOST_TEXTS),
        1: torch.export.Dim("length", min=shortest, max=longest),
    }


def _export(
    model: nn.Module, inputs: dict[str, Tensor], sizes: dict[str, dict[int, Any]], path: Path, outputs: list[str]
) -> None:
    with _quiet():
        program = torch.onnx.export(
            model.eval().requires_grad_(False),
            kwargs=inputs,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes=sizes,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    write_bytes(path, program.model_proto.SerializeToString())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks on packages we do not use from the terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
