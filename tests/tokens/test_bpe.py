"""The tokenizer against unicodedata, `transformers.AutoTokenizer` and its own promises."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from bongsu import recipe
from bongsu.errors import RecipeError, WorkspaceError
from bongsu.tokens.bpe import load_tokenizer, measure, sample_evenly, save_tokenizer, token_bytes, train_tokenizer, word_starts
from bongsu.tokens.special import MASK_ID, PAD_ID, UNK_ID

Form = Literal["nfc", "nfkc", "jamo"]
UNICODE_FORM: dict[Form, Any] = {"nfc": "NFC", "nfkc": "NFKC", "jamo": "NFD"}
# Characters Python's Unicode tables know: newer ones may normalise differently in the library's newer tables.
KNOWN = st.characters(exclude_categories=["Cs", "Cn"])
HANGUL = st.characters(min_codepoint=0x1100, max_codepoint=0x11FF, exclude_categories=["Cn"]) | st.characters(
    min_codepoint=0xAC00, max_codepoint=0xD7A3
)
EMOJI = st.sampled_from(["👩‍🚒", "🔥", "🇰🇷", "👍🏽", "❤️", "\u200d", "\ufeff"])
TEXT = st.lists(KNOWN | HANGUL | EMOJI | st.characters(max_codepoint=0x7F) | st.sampled_from(["[MASK]", "[LINK]", "[PAD]"]))


def normalized(text: str, form: Form, lowercase: bool) -> str:
    """What the tokenizer sees, by Python's tables; [LINK] and [USER] stay as they are."""
    parts = []
    for part in re.split(r"(\[LINK\]|\[USER\])", text):
        if part not in ("[LINK]", "[USER]"):
            part = unicodedata.normalize(UNICODE_FORM[form], part)
            # Character by character: the library has no final sigma.
            part = "".join(character.lower() for character in part) if lowercase else part
        parts.append(part)
    return "".join(parts)


@pytest.fixture(scope="module", params=[("nfc", False), ("nfc", True), ("nfkc", True), ("jamo", False)])
def normalizing(
    request: pytest.FixtureRequest, sentences: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Tokenizer, Form, bool]:
    form, lowercase = request.param
    folder = tmp_path_factory.mktemp("tokenizer")
    asked = recipe.Tokenizer(vocab_size=400, normalize=form, lowercase=lowercase)
    save_tokenizer(train_tokenizer(asked, sentences), folder, 128)
    return load_tokenizer(folder), form, lowercase


@pytest.mark.parametrize("size", [261, 262, 300, 512, 700])
def test_the_vocabulary_has_the_size_asked_for(size: int, sentences: list[str]) -> None:
    tokenizer = train_tokenizer(recipe.Tokenizer(vocab_size=size), sentences)
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    assert sorted(vocabulary.values()) == list(range(size))
    assert [tokenizer.id_to_token(i) for i in (PAD_ID, UNK_ID, MASK_ID)] == ["[PAD]", "[UNK]", "[MASK]"]


def test_a_vocabulary_too_large_says_the_size_that_fits() -> None:
    texts = ["fire in the forest", "fire on the hill"] * 3
    with pytest.raises(RecipeError, match=r"tokenizer\.vocab_size: 5000 .* Set it to (\d+) or less") as caught:
        train_tokenizer(recipe.Tokenizer(vocab_size=5000), texts)
    found = re.search(r"Set it to (\d+) or less", str(caught.value))
    assert found
    fits = int(found[1])
    assert train_tokenizer(recipe.Tokenizer(vocab_size=fits), texts).get_vocab_size() == fits
    with pytest.raises(RecipeError):
        train_tokenizer(recipe.Tokenizer(vocab_size=fits + 1), texts)


@given(parts=TEXT)
@example(parts=["한국어", "\u1112\u1161\u11ab", "ﬁ①", "İΣς", "\x00\x01\t\r\n  ", "é", "e\u0301", "Å"])
def test_any_text_comes_back(normalizing: tuple[Tokenizer, Form, bool], parts: list[str]) -> None:
    tokenizer, form, lowercase = normalizing
    text = "".join(parts)
    ids = tokenizer.encode(text).ids
    expected = normalized(text, form, lowercase)
    assert tokenizer.decode(ids, skip_special_tokens=False) == expected
    assert not {PAD_ID, UNK_ID, MASK_ID} & set(ids)
    assert token_bytes(tokenizer)[ids].sum() == len(expected.encode())


def test_auto_tokenizer_gives_the_same_ids(tokenizer_folder: Path, tokenizer: Tokenizer, sentences: list[str]) -> None:
    from transformers import AutoTokenizer

    peer = AutoTokenizer.from_pretrained(tokenizer_folder)
    texts = [*sentences[:200], "", " ", "👩‍🚒 [LINK] 불이 났어요!! [USER]x", "a\u0301\n\n\tB"]
    assert peer(texts, add_special_tokens=True)["input_ids"] == [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    assert (peer.pad_token_id, peer.unk_token_id, peer.mask_token_id) == (PAD_ID, UNK_ID, MASK_ID)
    assert (len(peer), peer.model_max_length) == (tokenizer.get_vocab_size(), 128)
    padded = peer(["a", "a b c d e f"], padding=True)["input_ids"]
    assert padded[0][-1] == PAD_ID


@pytest.mark.parametrize("literal", ["[MASK]", "[PAD]", "[UNK]"])
def test_special_tokens_in_a_text_are_text(literal: str, tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(f"a {literal} b{literal}").ids
    assert min(ids) > MASK_ID
    assert tokenizer.decode(ids, skip_special_tokens=False) == f"a {literal} b{literal}".lower()


@pytest.mark.parametrize("token", ["[LINK]", "[USER]"])
def test_placeholders_are_one_token(token: str, tokenizer: Tokenizer) -> None:
    own = tokenizer.token_to_id(token)
    assert tokenizer.encode(token).ids == [own]
    assert tokenizer.encode(f"see{token}now {token}").ids.count(own) == 2  # type: ignore[arg-type]
    assert token_bytes(tokenizer)[own] == len(token)
    assert word_starts(tokenizer)[own]


def test_words_start_at_blanks_and_signs(tokenizer: Tokenizer) -> None:
    starts = word_starts(tokenizer)
    text = "fire bokanu, don't 불이 났🔥 \t2024"
    encoding = tokenizer.encode(text)
    first = [text[begin:end][:1] for (begin, end), id in zip(encoding.offsets, encoding.ids, strict=True) if starts[id]]
    # The tokenizer's offsets leave the blank before a word out of the token or in it; either way these begin words.
    assert len(first) == len(re.findall(r"\s|[,']", text))
    # No byte of a longer character begins a word, whatever its letter in the byte alphabet.
    for character in "가힣뿡あß🔥":
        assert not starts[tokenizer.encode(character).ids].any()


def test_sample_evenly_takes_the_share_from_everywhere() -> None:
    texts = [str(n) for n in range(1000)]
    taken = [int(text) for text in sample_evenly(texts, 1000, 100)]
    assert len(taken) == 100
    assert set(np.diff(taken)) == {10}
    assert list(sample_evenly(texts, 1000, 5000)) == texts
    assert abs(len(list(sample_evenly(texts, 1000, 333.3))) - 333) <= 1
    assert list(sample_evenly([], 0, 10)) == []


def test_measure_counts_bytes_and_unseen_characters(tokenizer: Tokenizer) -> None:
    held_out = ["abc", "가b🔥"]
    count = sum(len(tokenizer.encode(text).ids) for text in held_out)
    figures = measure(tokenizer, ["abc", "가"], held_out)
    assert figures == {"bytes_per_token": pytest.approx((3 + 3 + 1 + 4) / count), "unseen_characters": pytest.approx(1 / 6)}


def test_opening_what_is_not_a_tokenizer_says_so(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="holds no tokenizer"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(WorkspaceError, match="not a tokenizer"):
        load_tokenizer(tmp_path)
    from tokenizers import models

    Tokenizer(models.BPE()).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(WorkspaceError, match="did not make this tokenizer"):
        load_tokenizer(tmp_path)
