"""The fast trainer, through `train_tokenizer`, against `tokenizers` as its documentation uses it."""

from __future__ import annotations

from typing import Any

import pytest
from panicking import panic
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from bongsu import recipe
from bongsu.tokens import merges
from bongsu.tokens.bpe import train_tokenizer


def by_the_book(settings: recipe.Tokenizer, texts: list[str]) -> str:
    """The tokenizer.json that `tokenizers` alone makes."""
    form = {"nfc": normalizers.NFC, "nfkc": normalizers.NFKC, "jamo": normalizers.NFD}[settings.normalize]
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([form(), *([normalizers.Lowercase()] if settings.lowercase else [])])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocab_size - 2,
        min_frequency=settings.min_frequency,
        special_tokens=["[PAD]", "[UNK]", "[MASK]"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in ("[LINK]", "[USER]")])
    return tokenizer.to_str()


@pytest.fixture
def fast_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    pytest.importorskip("gigabpe")
    calls: list[str] = []
    learn = merges._learn_fast
    monkeypatch.setattr(merges, "_learn_fast", lambda path, *rest: calls.append(path) or learn(path, *rest))  # type: ignore[func-returns-value]
    return calls


HARD = ["[MASK] a fire", "DON'T don't", "👩‍🚒🔥 🇰🇷", "불이 났어요 불이", "e\u0301 é İΣς", "\u00a0x\u3000y", "a\tb\rc", ""]


@pytest.mark.parametrize(
    "asked",
    [
        recipe.Tokenizer(vocab_size=700),
        recipe.Tokenizer(vocab_size=261),
        recipe.Tokenizer(vocab_size=600, lowercase=True, min_frequency=1),
        recipe.Tokenizer(vocab_size=600, normalize="nfkc", min_frequency=3),
        recipe.Tokenizer(vocab_size=650, normalize="jamo"),
    ],
    ids=str,
)
def test_the_file_is_the_same(asked: recipe.Tokenizer, sentences: list[str], fast_calls: list[str]) -> None:
    texts = [*HARD, *sentences, *HARD]
    assert train_tokenizer(asked, texts).to_str() == by_the_book(asked, texts)
    assert len(fast_calls) == 2  # the trial, and the whole


@pytest.mark.parametrize("odd", ["two\n\nlines\n\nhere", "blanks at the end   "])
def test_texts_that_are_no_lines_are_learned_all_the_same(odd: str, sentences: list[str], fast_calls: list[str]) -> None:
    texts = [*sentences * 10, *[odd] * 5, *sentences]
    asked = recipe.Tokenizer(vocab_size=700)
    assert train_tokenizer(asked, texts).to_str() == by_the_book(asked, texts)
    assert len(fast_calls) == 1  # the trial alone


def test_a_trainer_that_differs_is_not_used(sentences: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: Any) -> Any:
        return {}, []

    monkeypatch.setattr(merges, "_learn_fast", wrong)
    asked = recipe.Tokenizer(vocab_size=400)
    assert train_tokenizer(asked, sentences).to_str() == by_the_book(asked, sentences)


@pytest.mark.parametrize("call", [1, 2], ids=["in the trial", "after it"])
def test_where_the_fast_trainer_panics_the_other_one_learns(
    call: int, sentences: list[str], fast_calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = merges._learn_fast
    monkeypatch.setattr(merges, "_learn_fast", lambda *rest: learn(*rest) if len(fast_calls) + 1 < call else panic())
    asked = recipe.Tokenizer(vocab_size=600)
    assert train_tokenizer(asked, sentences).to_str() == by_the_book(asked, sentences)
    assert len(fast_calls) == call - 1
