"""Texts to ids, as `tokenizers` gives them: by `gigatoken`, many times faster, where it is installed and agrees."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import orjson
from tokenizers import Tokenizer

from bongsu.progress import warn
from bongsu.tokens.bpe import PLACEHOLDERS
from bongsu.tokens.normalization import fast_normalizer

Int64 = npt.NDArray[np.int64]
Ids = npt.NDArray[Any]

PROOF = 1000  # texts whose ids both are asked for, before the fast one is believed
REMEMBERED = 10_000_000  # tokens after which the fast one is made anew, for it remembers every word it meets


class Encoder(Protocol):
    """Encodes a batch of texts."""

    def encode(self, texts: Sequence[str]) -> tuple[Ids, Int64]:
        """The ids of all texts, one after another [tokens], and how many each has [texts]."""


class ExactEncoder:
    """The `tokenizers` library itself."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def encode(self, texts: Sequence[str]) -> tuple[Ids, Int64]:
        encoded = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]
        lengths = np.array([len(ids) for ids in encoded], dtype=np.int64)
        ids = np.fromiter((token for ids in encoded for token in ids), dtype=np.int64, count=int(lengths.sum()))
        return ids, lengths


class FastEncoder:
    """The same ids from `gigatoken`, which knows byte-level BPE but not our normaliser: that is applied before it.

    Raises:
        ImportError: without `gigatoken`.
        Exception: of whatever kind, when `gigatoken` does not know this kind of tokenizer.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        import gigatoken

        content = orjson.loads(tokenizer.to_str())
        content["normalizer"] = None
        # [MASK] in a text is text; a placeholder is one token.
        content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] in PLACEHOLDERS]
        self._make: Callable[[], Any] = lambda: gigatoken.Tokenizer.from_json(orjson.dumps(content))
        self._fast, self._remembered = self._make(), 0
        self._normalize = fast_normalizer(tokenizer.normalizer)
        self._placeholders = re.compile("(" + "|".join(re.escape(token) for token in PLACEHOLDERS) + ")")

    def encode(self, texts: Sequence[str]) -> tuple[Ids, Int64]:
        if self._remembered > REMEMBERED:
            self._fast, self._remembered = self._make(), 0
        encoded = self._fast.encode_batch([self._normalized(text) for text in texts])
        offsets = np.asarray(encoded.layout.offsets, dtype=np.int64)
        self._remembered += int(offsets[-1])
        return np.asarray(encoded.layout.content.data)[offsets[0] : offsets[-1]], np.diff(offsets)

    def _normalized(self, text: str) -> str:
        if not any(token in text for token in PLACEHOLDERS):
            return self._normalize(text)
        parts = self._placeholders.split(text)  # a placeholder at every odd place
        parts[::2] = [self._normalize(part) for part in parts[::2]]
        return "".join(parts)


def choose_encoder(tokenizer: Tokenizer, sample: Sequence[str]) -> Encoder:
    """The fast encoder when it gives the ids of `tokenizers` for every text of the sample, else `tokenizers`."""
    exact = ExactEncoder(tokenizer)
    try:
        fast = FastEncoder(tokenizer)
        agrees = all(np.array_equal(a, b) for a, b in zip(fast.encode(sample), exact.encode(sample), strict=True))
    except ImportError:
        return exact
    except Exception as error:  # a young library may raise anything; the other one is always there
        warn(f"gigatoken cannot be used here ({error}); encoding with tokenizers, which is slower.")
        return exact
    if not agrees:
        warn("gigatoken and tokenizers disagree on this text; encoding with tokenizers, which is slower.")
    return fast if agrees else exact
