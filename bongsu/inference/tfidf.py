"""TF-IDF with logistic regression as a thing to keep: what decides beside the encoder. To predict with it needs neither
scikit-learn nor torch, and nothing is a pickle.

The features are scikit-learn's: words (1-2) and characters within words (2-5), counted by 1 + log, weighed by rarity, each of
the two kinds scaled to length one. `baselines.py` fits them.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError

from bongsu.errors import WorkspaceError
from bongsu.files import read_json, write_bytes, write_json
from bongsu.inference.calibration import softmax

Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
NAMES, WEIGHTS = "tfidf.json", "tfidf.safetensors"
FILES = (NAMES, WEIGHTS)
WORDS, CHARACTERS = (1, 2), (2, 5)
WORD = r"(?u)\b\w+\b"
_WORD = re.compile(WORD)
_REMEMBERED = 20_000  # words, some 10 MB


@dataclass(frozen=True)
class Tfidf:
    """A fitted model. Features are numbered: those of words first, then those of characters."""

    words: dict[str, int]
    characters: dict[str, int]
    rarity: Float32
    """[features], the inverse document frequencies."""
    weights: Float32
    """[features, classes]."""
    bias: Float32
    """[classes]."""
    _seen: dict[str, list[int]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def probabilities(self, texts: Sequence[str]) -> Float64:
        """Class probabilities [texts, classes] of texts as the encoder reads them, context in front."""
        logits = np.tile(self.bias.astype(np.float64), (len(texts), 1))
        for row, text in enumerate(texts):
            text = text.lower()
            words = [number for gram in _word_grams(text) if (number := self.words.get(gram)) is not None]
            characters = [number for word in text.split() for number in self._within(word)]
            logits[row] += self._weigh(words) + self._weigh(characters)
        return softmax(logits)

    def divided(self, temperature: float) -> Tfidf:
        """With logits divided by a temperature."""
        return replace(self, weights=self.weights / np.float32(temperature), bias=self.bias / np.float32(temperature))

    def save(self, folder: Path) -> None:
        write_json(folder / NAMES, {"words": list(self.words), "characters": list(self.characters)})
        tensors = {"rarity": self.rarity, "weights": self.weights, "bias": self.bias}
        write_bytes(folder / WEIGHTS, safetensors.numpy.save(tensors))

    def _within(self, word: str) -> list[int]:
        """The features of characters of a word. Remembered, for words come again and cutting them takes most of the time."""
        found = self._seen.get(word)
        if found is None:
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()
            found = [number for gram in _character_grams(word) if (number := self.characters.get(gram)) is not None]
            self._seen[word] = found
        return found

    def _weigh(self, features: list[int]) -> Float64:
        """What one kind of feature, with those that occur again named again, adds to the logits [classes]."""
        if not features:
            return np.zeros(len(self.bias))
        columns, times = np.unique(features, return_counts=True)
        values = (1.0 + np.log(times)) * self.rarity[columns]
        summed: Float64 = (values / np.linalg.norm(values)) @ self.weights[columns].astype(np.float64)
        return summed


def load_tfidf(folder: Path) -> Tfidf | None:
    """The model saved in a folder; None when there is none.

    Raises:
        WorkspaceError: when it is damaged.
    """
    if not (folder / NAMES).is_file():
        return None
    try:
        names, tensors = read_json(folder / NAMES), safetensors.numpy.load_file(folder / WEIGHTS)
        words, characters = names["words"], names["characters"]
        made = Tfidf(
            {gram: number for number, gram in enumerate(words)},
            {gram: number for number, gram in enumerate(characters, len(words))},
            *(tensors[name] for name in ("rarity", "weights", "bias")),
        )
        if not len(made.rarity) == len(made.weights) == len(words) + len(characters):
            raise ValueError("the two files are of different models")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise WorkspaceError(f"{folder / WEIGHTS}: damaged ({error}). Run the stage that wrote it again.") from None
    return made


def product(one: npt.NDArray[np.floating], other: npt.NDArray[np.floating]) -> Float32:
    """What two classifiers say together, [N, C]: the product of their probabilities, each at its temperature."""
    return softmax(np.log(np.maximum(one, 1e-12)) + np.log(np.maximum(other, 1e-12))).astype(np.float32)


def _word_grams(text: str) -> Iterator[str]:
    words = _WORD.findall(text)
    yield from words
    yield from (f"{one} {other}" for one, other in itertools.pairwise(words))


def _character_grams(word: str) -> Iterator[str]:
    """Runs of characters of a word with a blank on either side; a word shorter than a run counts once."""
    shortest, longest = CHARACTERS
    word = f" {word} "
    for length in range(shortest, longest + 1):
        yield word[:length]
        if len(word) <= length:
            break
        yield from (word[start : start + length] for start in range(1, len(word) - length + 1))
