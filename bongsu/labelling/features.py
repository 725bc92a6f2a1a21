"""What a correction learns from: of each text the encoder's pooled vector, the detector's logit, and hashed words.

A bundle carries these features of the rows its detector was trained on (`features.safetensors`), so that an update learns
from old rows and new labels at once, where neither the rows nor torch are there. No text is kept: words and runs of three
characters are hashed into 65,536 buckets (feature hashing, Weinberger et al. 2009).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from bongsu.arrays import Array, Bool, Float32, Int64
from bongsu.errors import DataError, WorkspaceError
from bongsu.files import write_bytes
from bongsu.inference.predictor import Predictor
from bongsu.tasks.task import Example

FEATURES = "features.safetensors"
BUCKETS = 2**16
LARGEST = 20_000_000
"""Bytes that the features of a bundle may take."""
_WORD = re.compile(r"\w+")
_RUN = 3
_SURE = 12.0  # logits beyond it say no more


@dataclass(frozen=True)
class Grams:
    """Hashed words, pairs of words and runs of characters: text n has those from `starts[n]` to `starts[n + 1]`."""

    starts: Int64
    """[N + 1]."""
    buckets: Array
    """[M] uint16, each bucket once a text, in order."""
    counts: Array
    """[M] uint8, how often; 255 for more."""

    @classmethod
    def of(cls, texts: Sequence[str]) -> Grams:
        """Return the grams of texts as the encoder reads them."""
        tables = [sorted(Counter(_buckets(text)).items()) for text in texts]
        flat = np.array([pair for table in tables for pair in table], dtype=np.int64).reshape(-1, 2)
        starts = np.cumsum([0, *map(len, tables)])
        return cls(starts, flat[:, 0].astype(np.uint16), np.minimum(flat[:, 1], 255).astype(np.uint8))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def owners(self) -> Int64:
        """Return the text of each gram, [M]."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    def take(self, rows: Int64) -> Grams:
        """Return the grams of some texts, in the order given."""
        lengths = np.diff(self.starts)[rows]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        places = np.repeat(self.starts[rows] - starts[:-1], lengths) + np.arange(starts[-1])
        return Grams(starts, self.buckets[places], self.counts[places])

    @classmethod
    def joined(cls, parts: Sequence[Grams]) -> Grams:
        """Return the grams of all parts, one after the other."""
        lengths = np.concatenate([np.diff(part.starts) for part in parts])
        starts = np.concatenate([[0], np.cumsum(lengths)])
        return cls(starts, *(np.concatenate([getattr(part, name) for part in parts]) for name in ("buckets", "counts")))


@dataclass(frozen=True)
class Rows:
    """The features of some texts."""

    pooled: Float32
    """[N, d_model], the mean of the token vectors."""
    logits: Float32
    """[N], of the detector's calibrated probability."""
    grams: Grams

    @classmethod
    def of(cls, detector: Predictor, examples: Sequence[Example[Any]]) -> Rows:
        """Return the features of examples, by the detector without its correction."""
        vectors, outputs = detector.vectors_and_outputs(examples)
        return cls(vectors, logit(outputs.values[:, 1]), Grams.of([example.inputs[0] for example in examples]))

    def __len__(self) -> int:
        return len(self.logits)

    def take(self, rows: Int64) -> Rows:
        """Return the features of some texts, in the order given."""
        return Rows(self.pooled[rows], self.logits[rows], self.grams.take(rows))

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """Return the features of all parts, one after the other."""
        pooled, logits = (np.concatenate([getattr(part, name) for part in parts]) for name in ("pooled", "logits"))
        return cls(pooled, logits, Grams.joined([part.grams for part in parts]))


@dataclass(frozen=True)
class Stored:
    """The features of the rows that a detector was trained on, as its bundle carries them."""

    rows: Rows
    """Logits are those of models that had not learned from the row, where the run measured them."""
    targets: Int64
    """[N], 1 for the positive class."""
    groups: Int64
    """[N], the row's event as a place in `names`."""
    names: list[str]
    """The events, where the run left some out to measure on; else one without a name."""
    expected_error: float | None
    """By how much the accuracy that confidence promises was wrong on events left out, on average; None when not measured."""

    def save(self, path: Path) -> None:
        """Write the file."""
        grams = self.rows.grams
        tensors: dict[str, Array] = {
            "pooled": self.rows.pooled.astype(np.float16),
            "logits": self.rows.logits.astype(np.float16),
            "starts": grams.starts.astype(np.int32),
            "buckets": grams.buckets.astype(np.uint16),
            "counts": grams.counts.astype(np.uint8),
            "targets": self.targets.astype(np.uint8),
            "groups": self.groups.astype(np.uint16),
        }
        about = {"names": json.dumps(self.names), "expected_error": json.dumps(self.expected_error)}
        write_bytes(path, safetensors.numpy.save(tensors, metadata=about))

    @classmethod
    def load(cls, path: Path) -> Stored:
        """Read what `save` wrote.

        Raises:
            WorkspaceError: when the file is damaged.
        """
        try:
            with safe_open(path, "np") as file:
                about, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            grams = Grams(tensors["starts"].astype(np.int64), tensors["buckets"], tensors["counts"])
            rows = Rows(tensors["pooled"].astype(np.float32), tensors["logits"].astype(np.float32), grams)
            groups, names = tensors["groups"].astype(np.int64), json.loads(about["names"])
            stored = cls(rows, tensors["targets"].astype(np.int64), groups, names, json.loads(about["expected_error"]))
            if not len(rows) == len(grams) == len(stored.targets) == len(groups) > 0:
                raise ValueError("its parts are of different lengths")
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise WorkspaceError(f"{path}: damaged ({error}). Export the run again.") from None
        return stored


def known_buckets(path: Path) -> Bool:
    """Return which buckets a row of a bundle's features has a gram of, [BUCKETS].

    Raises:
        WorkspaceError: when the file is damaged.
    """
    try:
        with safe_open(path, "np") as file:
            return np.bincount(file.get_tensor("buckets").astype(np.int64), minlength=BUCKETS) > 0
    except (OSError, SafetensorError) as error:
        raise WorkspaceError(f"{path}: damaged ({error}). Export the run again.") from None


def bytes_of_a_row(rows: Rows) -> float:
    """Return about how many bytes a row takes in the file."""
    return float(2.0 * rows.pooled.shape[1] + 9.0 + 3.0 * len(rows.grams.buckets) / max(1, len(rows)))


def logit(probabilities: Array) -> Float32:
    """Return log-odds [N] float32 of probabilities [N], between -12 and 12."""
    least = 1.0 / (1.0 + np.exp(_SURE))
    kept = np.clip(probabilities.astype(np.float64), least, 1.0 - least)
    odds: Float32 = np.log(kept / (1.0 - kept)).astype(np.float32)
    return odds


def require_two_classes(detector: Predictor, what: str) -> None:
    """Refuse a model that is no classifier of two classes.

    Raises:
        DataError: saying what it is.
    """
    task = detector.task
    if not task.has_two_classes:
        raise DataError(f"{what}: a {task.kind} model of {len(task.schema.labels)} labels; labels during an event need two.")


def _buckets(text: str) -> Iterator[int]:
    lowered = text.lower()
    words = _WORD.findall(lowered)
    for gram in words:
        yield bucket_of(gram)
    for one, other in pairwise(words):
        yield bucket_of(f"{one} {other}")
    for word in lowered.split():
        padded = f"\t{word}\t"
        for start in range(len(padded) - _RUN + 1):
            yield bucket_of(f"\n{padded[start : start + _RUN]}")


def bucket_of(gram: str) -> int:
    """Return the bucket of a word in small letters."""
    return crc32(gram.encode("utf-8", "surrogatepass")) % BUCKETS
