"""Texts to ids, as `tokenizers` gives them: by `gigatoken`, many times faster, where it is installed and agrees."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import orjson
from tokenizers import Tokenizer

from bongsu.arrays import Array, Int64
from bongsu.errors import panics_as_errors
from bongsu.progress import warn
from bongsu.tokens.bpe import PLACEHOLDERS
from bongsu.tokens.normalization import fast_normalizer

_MARKS = (b"\1", b"\2")

PROOF = 1000  # texts that both must encode alike before the fast one is used
REMEMBERED = 10_000_000  # tokens after which the fast one is recreated, for it caches every word


class Encoder(Protocol):
    """Encodes a batch of texts."""

    def encode(self, texts: Sequence[str]) -> tuple[Array, Int64]:
        """Return the ids of all texts, one after another [tokens], and how many each has [texts]."""


class ExactEncoder:
    """The `tokenizers` library itself."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    @panics_as_errors("The tokenizer cannot read a text")
    def encode(self, texts: Sequence[str]) -> tuple[Array, Int64]:
        encoded = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]
        lengths = np.array([len(ids) for ids in encoded], dtype=np.int64)
        ids = np.fromiter((token for ids in encoded for token in ids), dtype=np.int64, count=int(lengths.sum()))
        return ids, lengths


class FastEncoder:
    """The same ids from `gigatoken`, which knows byte-level BPE but not our normaliser: that is applied before it.

    Texts go through joined by NUL, for a Python string each would cost more than its encoding.

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
        self._source: Callable[[bytes], Any] = lambda data: gigatoken.BytesSource(data, separator=b"\0")
        self._fast, self._remembered = self._make(), 0
        self._normalize = fast_normalizer(tokenizer.normalizer)
        self._keeps_ascii = self._normalize("A") == "A"
        self._placeholders = re.compile("(" + "|".join(re.escape(token) for token in PLACEHOLDERS) + ")")

    def encode(self, texts: Sequence[str]) -> tuple[Array, Int64]:
        if self._remembered > REMEMBERED:
            self._fast, self._remembered = self._make(), 0
        joined = self._joined(texts)
        if joined is None:
            ids, lengths = self._encoded(list(map(self._normalized, texts)))
        else:
            ids, lengths = self._encoded(self._source(joined))
            if len(lengths) < len(texts):  # empty texts are left out
                found, lengths = lengths, np.zeros(len(texts), dtype=np.int64)
                lengths[[text != "" for text in texts]] = found
        self._remembered += len(ids)
        return ids, lengths

    def _encoded(self, texts: Any) -> tuple[Array, Int64]:
        layout = self._fast.encode_batch(texts).layout
        offsets = np.asarray(layout.offsets, dtype=np.int64)
        return np.asarray(layout.content.data)[offsets[0] : offsets[-1]], np.diff(offsets)

    def _joined(self, texts: Sequence[str]) -> bytes | None:
        """Return the normalised texts joined by NUL; None where a text contains NUL or a mark itself.

        ASCII letters are at most lowercased, for all texts at once; marks replace the placeholders meanwhile.
        """
        joined = "\0".join([text if text.isascii() else self._normalized(text) for text in texts]).encode()
        if joined.count(b"\0") >= max(1, len(texts)) or any(mark in joined for mark in _MARKS):
            return None
        if self._keeps_ascii:
            return joined
        for token, mark in zip(PLACEHOLDERS, _MARKS, strict=True):
            joined = joined.replace(token.encode(), mark)
        joined = joined.lower()
        for token, mark in zip(PLACEHOLDERS, _MARKS, strict=True):
            joined = joined.replace(mark, token.encode())
        return joined

    def _normalized(self, text: str) -> str:
        if "[" not in text or not any(token in text for token in PLACEHOLDERS):
            return self._normalize(text)
        parts = self._placeholders.split(text)  # a placeholder at every odd place
        parts[::2] = [self._normalize(part) for part in parts[::2]]
        return "".join(parts)


class GuardedEncoder:
    """The fast encoder until it fails, and from then on `tokenizers`, with which it agreed on a sample."""

    def __init__(self, fast: FastEncoder, exact: ExactEncoder) -> None:
        self._fast: FastEncoder | None = fast
        self._exact = exact

    def encode(self, texts: Sequence[str]) -> tuple[Array, Int64]:
        if self._fast is not None:
            try:
                with panics_as_errors("gigatoken panicked"):
                    return self._fast.encode(texts)
            except Exception as error:  # a young library may raise anything; the other one is always there
                self._fast = None
                warn(f"gigatoken failed on a text ({error}); continuing with tokenizers, which is slower.")
        return self._exact.encode(texts)


def choose_encoder(tokenizer: Tokenizer, sample: Sequence[str]) -> Encoder:
    """Return the fast encoder when it gives the ids of `tokenizers` for every text of the sample, else `tokenizers`."""
    exact = ExactEncoder(tokenizer)
    expected = exact.encode(sample)
    try:
        with panics_as_errors("gigatoken panicked"):
            fast = FastEncoder(tokenizer)
            agrees = all(np.array_equal(a, b) for a, b in zip(fast.encode(sample), expected, strict=True))
    except ImportError:
        return exact
    except Exception as error:  # a young library may raise anything; the other one is always there
        warn(f"gigatoken cannot be used here ({error}); encoding with tokenizers, which is slower.")
        return exact
    if not agrees:
        warn("gigatoken and tokenizers disagree on this text; encoding with tokenizers, which is slower.")
    return GuardedEncoder(fast, exact) if agrees else exact
