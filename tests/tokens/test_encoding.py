from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from panicking import POISON, make_tokenizer_panic, panic
from tokenizers import Tokenizer

from bongsu import recipe
from bongsu.errors import LibraryPanicError
from bongsu.tokens import bpe, encoding
from bongsu.tokens.encoding import ExactEncoder, FastEncoder, GuardedEncoder, choose_encoder
from bongsu.tokens.inputs import encode, encode_pair, encode_windows
from bongsu.tokens.normalization import _SETTLED, fast_normalizer

TEXTS = [
    "Forest fire near La Ronge Sask. Canada, evacuated at 5:45!",
    "see [LINK] by [USER], not [link] nor [MASK] nor [PAD]",
    "서울에 불이 났다 🔥🔥 소방대가 출동했다 ㅋㅋㅋ",
    "각각 (jamo), café, İstanbul, ΟΔΥΣΣΕΥΣ ΣΑΣ, ﬁre ①",
    "👨‍👩‍👧‍👦 don't WE'LL  two  spaces\n\nand a line",
    "a" * 3000,
    "",
    " ",
]
SETTINGS = [
    recipe.Tokenizer(vocab_size=420, min_frequency=1, normalize=form, lowercase=small)
    for form in ("nfc", "nfkc", "jamo")
    for small in (False, True)
]


@pytest.fixture(scope="module", params=SETTINGS, ids=lambda s: f"{s.normalize}{'-lower' * s.lowercase}")
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    made = bpe.train_tokenizer(request.param, TEXTS * 3)
    made.encode_special_tokens = True
    return made


PIECES = [*"aA [LINK]USER가각힣🔥Σσİ\0\1", "e\u0301", "\u1100\u1161", "[LINK]", "[USER]", " Fire"]


def same(tokenizer: Tokenizer, texts: Sequence[str]) -> bool:
    fast, exact = FastEncoder(tokenizer).encode(texts), ExactEncoder(tokenizer).encode(texts)
    return all(np.array_equal(a, b) for a, b in zip(fast, exact, strict=True))


def test_the_ids_are_those_of_tokenizers(tokenizer: Tokenizer) -> None:
    assert same(tokenizer, TEXTS)
    assert isinstance(choose_encoder(tokenizer, TEXTS), GuardedEncoder)
    assert same(tokenizer, [])


@given(texts=st.lists(st.text(max_size=40) | st.lists(st.sampled_from(PIECES), max_size=9).map("".join), max_size=8))
def test_the_ids_of_any_text_are_those_of_tokenizers(texts: list[str]) -> None:
    made = bpe.train_tokenizer(SETTINGS[1], TEXTS * 3)
    made.encode_special_tokens = True
    assert same(made, [text.encode("utf-8", "replace").decode() for text in texts])


def test_settled_characters_are_normalised_alike(tokenizer: Tokenizer) -> None:
    """Each character alone, and behind a letter that a mark may join."""
    fast, exact = fast_normalizer(tokenizer.normalizer), tokenizer.normalizer.normalize_str
    settled = [chr(code) for code in range(0x110000) if _SETTLED.fullmatch(chr(code))]
    assert len(settled) > 30_000
    for character in settled:
        for text in (character, f"Eá{character}E"):
            assert fast(text) == exact(text), hex(ord(character))


def test_the_fast_encoder_forgets_and_goes_on(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "REMEMBERED", 10)
    fast, exact = FastEncoder(tokenizer), ExactEncoder(tokenizer)
    first = fast._fast
    for _ in range(3):
        assert all(np.array_equal(a, b) for a, b in zip(fast.encode(TEXTS), exact.encode(TEXTS), strict=True))
    assert fast._fast is not first


def test_without_gigatoken_tokenizers_does_it(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gigatoken", None)
    assert isinstance(choose_encoder(tokenizer, TEXTS), ExactEncoder)


def test_an_encoder_that_differs_is_not_used(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    def shifted(self: FastEncoder, texts: Sequence[str]) -> tuple[Any, Any]:
        ids, lengths = ExactEncoder(tokenizer).encode(texts)
        return ids + 1, lengths

    monkeypatch.setattr(encoding.FastEncoder, "encode", shifted)
    assert isinstance(choose_encoder(tokenizer, TEXTS), ExactEncoder)


def test_a_panic_in_the_proof_leaves_tokenizers(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding.FastEncoder, "encode", panic)
    assert isinstance(choose_encoder(tokenizer, TEXTS), ExactEncoder)


@pytest.mark.parametrize("failure", [panic, lambda *arguments: 1 // 0], ids=["panic", "error"])
def test_what_fails_after_the_proof_is_encoded_by_tokenizers(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, failure: Any
) -> None:
    chosen = choose_encoder(tokenizer, TEXTS)
    monkeypatch.setattr(encoding.FastEncoder, "encode", failure)
    for _ in range(2):
        for found, expected in zip(chosen.encode(TEXTS), ExactEncoder(tokenizer).encode(TEXTS), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_a_tokenizer_that_panics_raises_an_error_of_ours(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    make_tokenizer_panic(tmp_path)
    hostile = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for read in (
        lambda: encode(hostile, ["fine", POISON], 128),
        lambda: encode_pair(hostile, POISON, "fine", 128),
        lambda: encode_windows(hostile, "fine", POISON, 128, 16),
        lambda: ExactEncoder(hostile).encode([POISON]),
    ):
        with pytest.raises(LibraryPanicError, match="tokenizer cannot read"):
            read()
