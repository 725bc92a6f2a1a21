"""A model folder at work in torch: what a run's own folder is opened with. Everything else in this room needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from bongsu.arrays import Float32, Int64
from bongsu.inference.bundle import model_folder
from bongsu.inference.predictor import ModelDetails, Predictor
from bongsu.model.heads import mean_pooled
from bongsu.model.io import load_task_model
from bongsu.model.task_model import TaskModel
from bongsu.model.tfidf import load_tfidf
from bongsu.tokens.bpe import load_tokenizer
from bongsu.tokens.inputs import Encoded, pad


class TorchBackend:
    """Runs a model on the device that it is on."""

    def __init__(self, model: TaskModel, batch_size: int = 64) -> None:
        self.model = model
        self.batch_size = batch_size

    def run(self, rows: Sequence[Encoded]) -> list[Float32]:
        """Return the head's outputs of each row, [n_outputs] or [L, n_outputs], in the order given."""
        return self.read(rows)[0]

    def embed(self, rows: Sequence[Encoded]) -> Float32:
        """Return the mean of each row's token vectors, [rows, d_model]."""
        return self.read(rows)[1]

    @torch.inference_mode()
    def read(self, rows: Sequence[Encoded]) -> tuple[list[Float32], Float32]:
        """Return what `run` and `embed` do, in one pass."""
        outputs: list[Float32] = [np.zeros(0, dtype=np.float32)] * len(rows)
        vectors = np.zeros((len(rows), self.model.encoder.config.d_model), dtype=np.float32)
        for numbers, input_ids, text_ids in self._batches(rows):
            hidden, valid = self.model.hidden(input_ids, text_ids)
            vectors[numbers] = mean_pooled(hidden, valid).float().cpu().numpy()
            for number, output in zip(numbers, self.model.head(hidden, valid, text_ids).float().cpu().numpy(), strict=True):
                outputs[number] = output if output.ndim == 1 else output[: len(rows[number].ids)]
        return outputs, vectors

    def _batches(self, rows: Sequence[Encoded]) -> list[tuple[list[int], torch.Tensor, torch.Tensor | None]]:
        """Return row numbers and padded inputs of batches of rows of similar length."""
        self.model.eval()
        device = next(self.model.parameters()).device
        order = np.argsort([len(row.ids) for row in rows], kind="stable")
        batches = []
        for start in range(0, len(rows), self.batch_size):
            numbers = order[start : start + self.batch_size].tolist()
            input_ids, text_ids = pad_rows([rows[number] for number in numbers], self.model.encoder.config.pad_id)
            texts = None if text_ids is None else torch.from_numpy(text_ids).to(device)
            batches.append((numbers, torch.from_numpy(input_ids).to(device), texts))
        return batches


def pad_rows(rows: Sequence[Encoded], pad_id: int) -> tuple[Int64, Int64 | None]:
    """Return the ids [B, L] of rows, padded to one length, and of pairs which text each token is of [B, L]."""
    texts = [row.text_ids for row in rows if row.text_ids is not None]
    return pad([row.ids for row in rows], pad_id=pad_id), pad(texts, pad_id=0) if texts else None


def load_predictor(folder: Path) -> Predictor:
    """Open a run's folder, its `finetune` folder, or a model folder.

    Raises:
        WorkspaceError: when there is no fine-tuned model in it.
    """
    folder = model_folder(folder)
    model, extra = load_task_model(folder)
    tokenizer = load_tokenizer(folder, foreign=True)
    return Predictor(ModelDetails.from_dict(extra), tokenizer, TorchBackend(model), load_tfidf(folder))
