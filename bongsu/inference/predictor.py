"""The detector of an exported bundle: ONNX Runtime and the tokenizer, no torch.

Small models gain nothing from several threads a batch and lose much under load, so a batch has one thread, and as many
batches run at a time as there are cores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from bongsu.errors import DataError, WorkspaceError
from bongsu.inference.bundle import MASKED_LM, Bundle, open_bundle
from bongsu.inference.onnx import STEP, Choice, choose_engine, open_session
from bongsu.inference.prediction import Float32, Prediction, TextClassifier
from bongsu.inference.tfidf import load_tfidf
from bongsu.parallel import cores
from bongsu.tokens.bpe import load_tokenizer
from bongsu.tokens.inputs import Int64, cleaned
from bongsu.tokens.special import MASK, MASK_ID, special_tokens

__all__ = ["Choice", "Prediction", "Predictor"]

_BATCH = 8  # on one thread more texts at a time are no faster, and take more memory


class Predictor(TextClassifier):
    """Classifies texts with a bundle; may be used by many threads at once."""

    def __init__(self, bundle: Bundle, engine: Choice = "auto", sessions: int | None = None) -> None:
        config = bundle.config()
        super().__init__(load_tokenizer(bundle.path, foreign=True), config["detector"], load_tfidf(bundle.path))
        self.name: str = config["name"]
        """The recipe's."""
        self.version = bundle.version
        """12 digits that no other bundle has."""
        pad_id = special_tokens(self.tokenizer).pad
        self._engine = choose_engine(bundle, engine, config["shortest"], config["int8_accurate"], pad_id)
        self._masked_lm = open_session(bundle.path / MASKED_LM) if bundle.has(MASKED_LM) else None
        self._pool = ThreadPoolExecutor(sessions or cores(), thread_name_prefix="bongsu-predict")

    @classmethod
    def load(cls, folder: Path, engine: Choice = "auto", sessions: int | None = None) -> Predictor:
        """Opens a bundle that `bongsu export --to onnx` wrote.

        Args:
            engine: "auto" tries both for a moment, since int8 is not faster on every processor.
            sessions: how many batches run at a time, one thread each; by default as many as there are cores.

        Raises:
            WorkspaceError: when the folder is no such bundle, or a file in it was changed.
        """
        bundle = open_bundle(folder)
        if bundle.kind != "onnx":
            raise WorkspaceError(f"{folder}: a bundle of kind {bundle.kind!r}; export one with `bongsu export RUN --to onnx`.")
        return cls(bundle, engine, sessions)

    @property
    def engine(self) -> str:
        """The engine in use: "float32" or "int8"."""
        return self._engine.name

    @property
    def fills_masks(self) -> bool:
        """Whether the bundle carries the masked language model."""
        return self._masked_lm is not None

    def classify(self, ids: Sequence[Int64]) -> Float32:
        batches = list(_batches(ids))
        tables = self._pool.map(lambda rows: self._engine.run([ids[row] for row in rows]), batches)
        result = np.zeros((len(ids), len(self.classes)), dtype=np.float32)
        for rows, table in zip(batches, tables, strict=True):
            result[rows] = table
        return result

    def fill_mask(self, text: str, top_k: int = 5) -> list[list[tuple[str, float]]]:
        """For each [MASK] of the text, the `top_k` likeliest tokens with their probabilities.

        Raises:
            DataError: when the text has no [MASK] within the model's length, or the bundle has no masked language model.
        """
        if self._masked_lm is None:
            raise DataError("This bundle carries no masked language model; export one from a run that pre-trains its encoder.")
        parts = cleaned(self.cleaner, text).split(MASK)
        first, *others = [encoding.ids for encoding in self.tokenizer.encode_batch_fast(parts)]
        joined = first + [token for ids in others for token in (MASK_ID, *ids)]
        ids = np.array(joined[: self.details["max_length"]], dtype=np.int64)
        masked = np.flatnonzero(ids == MASK_ID)
        if len(masked) == 0:
            raise DataError(f"Put {MASK} where a word is to be guessed, within the first {self.details['max_length']} tokens.")
        inputs = {"input_ids": ids[None], "read": masked}
        table = self._pool.submit(self._masked_lm.run, None, inputs).result()[0]  # [masks, vocab_size]
        return [self._likeliest(row, top_k) for row in table]

    def close(self) -> None:
        """Waits for what is running and ends the threads."""
        self._pool.shutdown()

    def _likeliest(self, row: Float32, top_k: int) -> list[tuple[str, float]]:
        best = np.argsort(-row, kind="stable")[:top_k]
        return [(self.tokenizer.decode([int(index)], skip_special_tokens=False), float(row[index])) for index in best]


def _batches(ids: Sequence[Int64]) -> Iterator[Int64]:
    """Row numbers of texts of one padded length each, the longest first."""
    lengths = np.array([-(-len(row) // STEP) for row in ids])
    for length in np.unique(lengths)[::-1]:
        rows = np.flatnonzero(lengths == length)
        yield from (rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH))
