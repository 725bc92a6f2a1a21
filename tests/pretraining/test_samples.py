"""Tokens as people read them: no part of a character alone."""

from __future__ import annotations

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from bongsu.pretraining.masked_lm import characters


def test_the_bytes_of_a_character_stand_together() -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({sign: number for number, sign in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    ids = tokenizer.encode("a불é").ids  # bytes: 1, 3, 2
    assert characters(tokenizer, ids, [1] * 6) == [(0, 1), (1, 4), (4, 6)]
    assert [tokenizer.decode(ids[first:last]) for first, last in characters(tokenizer, ids, [1] * 6)] == ["a", "불", "é"]
    # A character that a sentence's end cuts stays as it is, alone.
    assert characters(tokenizer, ids[:3] + ids[:1], [1, 1, 1, 2]) == [(0, 1), (1, 2), (2, 3), (3, 4)]
