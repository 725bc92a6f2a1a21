"""The tokenizer: byte-level BPE (Sennrich et al. 2016; Radford et al. 2019), trained, saved, opened, measured.

Every text can be written with the 256 bytes, so nothing is ever unknown, be it English, Korean or emoji. The special tokens are
[PAD] [UNK] [MASK]; there is no [CLS] or [SEP]. [LINK] and [USER], which cleaning leaves in the text, are one token each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from bongsu import recipe
from bongsu.arrays import Bool, Int64
from bongsu.errors import RecipeError, WorkspaceError
from bongsu.files import check_hashes, record_hashes, write_json, write_text
from bongsu.tokens.merges import learn_merges
from bongsu.tokens.normalization import fast_normalizer
from bongsu.tokens.special import MASK_ID, PAD_ID, SPECIAL, UNK, UNK_ID, special_tokens

TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
PLACEHOLDERS = ("[LINK]", "[USER]")


def train_tokenizer(settings: recipe.Tokenizer, texts: Iterable[str]) -> Tokenizer:
    """Learn merges until the vocabulary has exactly `settings.vocab_size` entries, special tokens and bytes included.

    Raises:
        RecipeError: when the texts are too few to fill the vocabulary; the message says how large it can be.
    """
    normalizer = _normalizer(settings)
    normalized = map(fast_normalizer(normalizer), texts)
    size = settings.vocab_size - len(PLACEHOLDERS)
    vocabulary, merges = learn_merges(normalized, list(SPECIAL), size, settings.min_frequency)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token=UNK))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in PLACEHOLDERS])
    size = tokenizer.get_vocab_size()
    if size != settings.vocab_size:
        raise RecipeError(
            f"tokenizer.vocab_size: {settings.vocab_size} is larger than this text can fill; it gives {size} entries that "
            f"occur at least {settings.min_frequency} times. Set it to {size} or less, or add text."
        )
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path, max_length: int) -> None:
    """Write `tokenizer.json` and the `tokenizer_config.json` that lets `transformers.AutoTokenizer` open the folder."""
    write_text(folder / TOKENIZER, tokenizer.to_str(pretty=False))
    pad, unk, mask = special_tokens(tokenizer).names
    config: dict[str, object] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_length,
        "pad_token": pad,
        "unk_token": unk,
        "mask_token": mask,
        "padding_side": "right",
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
    }
    write_json(folder / TOKENIZER_CONFIG, config)
    record_hashes(folder, TOKENIZER, TOKENIZER_CONFIG)


def load_tokenizer(folder: Path, foreign: bool = False) -> Tokenizer:
    """Open a tokenizer for encoding text.

    A text that happens to hold the characters "[MASK]" is text: it is never read as the special token.

    Args:
        foreign: one that came with a model of `transformers` will do.

    Raises:
        WorkspaceError: when there is no tokenizer in the folder, or it is not one of ours, or it was changed.
    """
    path = folder / TOKENIZER
    if not path.is_file():
        raise WorkspaceError(f"{path}: no such file; this folder holds no tokenizer.")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise WorkspaceError(f"{path}: not a tokenizer ({error}).") from None
    check_hashes(folder, TOKENIZER)
    if foreign:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        special_tokens(tokenizer)
    elif [tokenizer.token_to_id(token) for token in SPECIAL] != [PAD_ID, UNK_ID, MASK_ID]:
        raise WorkspaceError(f"{path}: its first entries are not {' '.join(SPECIAL)}; Bongsu did not make this tokenizer.")
    tokenizer.encode_special_tokens = True
    return tokenizer


def sample_evenly(texts: Iterable[str], total_bytes: int, limit_bytes: float) -> Iterator[str]:
    """Yield texts from the whole stream, evenly, so that about `limit_bytes` of `total_bytes` come through."""
    share = min(1.0, limit_bytes / max(1, total_bytes))
    for index, text in enumerate(texts):
        if int((index + 1) * share) > int(index * share):
            yield text


def measure(tokenizer: Tokenizer, training: Iterable[str], held_out: Iterable[str]) -> dict[str, float]:
    """Return bytes per token on held-out text, and the share of its characters that are not in training text."""
    known: set[str] = set()
    for text in training:
        known.update(text)
    tokens = size = characters = unseen = 0
    for batch in batched(held_out, 1024):
        tokens += sum(len(encoding) for encoding in tokenizer.encode_batch_fast(batch))
        size += sum(len(text.encode()) for text in batch)
        characters += sum(len(text) for text in batch)
        unseen += sum(character not in known for text in batch for character in text)
    return {"bytes_per_token": size / max(1, tokens), "unseen_characters": unseen / max(1, characters)}


def token_bytes(tokenizer: Tokenizer) -> Int64:
    """Return how many bytes of text each id stands for, [vocab_size]; 0 for special tokens."""
    lengths = [len(token) for token in _vocabulary(tokenizer)]  # a byte-level token has one character a byte
    lengths[: len(SPECIAL)] = [0] * len(SPECIAL)
    return np.array(lengths, dtype=np.int64)


def word_starts(tokenizer: Tokenizer) -> Bool:
    """Return which ids begin a word, [vocab_size]: those that begin with a space or a sign.

    A letter, a digit or a byte of a character beyond ASCII continues the word before it.
    """
    # A byte that is a printable sign is written as itself, so an ASCII sign is what it looks like; the blanks are not.
    blanks = {"Ġ", "Ċ", "ĉ", "č"}
    return np.array(
        [token[0] in blanks or (token[0].isascii() and not token[0].isalnum()) for token in _vocabulary(tokenizer)], dtype=bool
    )


def batched(items: Iterable[str], size: int) -> Iterator[list[str]]:
    """Yield lists of `size` items, the last one shorter."""
    batch: list[str] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _vocabulary(tokenizer: Tokenizer) -> list[str]:
    tokens = sorted(tokenizer.get_vocab(with_added_tokens=True).items(), key=lambda entry: entry[1])
    return [token for token, _ in tokens]


def _normalizer(settings: recipe.Tokenizer) -> Any:
    forms = {"nfc": normalizers.NFC, "nfkc": normalizers.NFKC, "jamo": normalizers.NFD}
    steps = [forms[settings.normalize]()]
    if settings.lowercase:
        steps.append(normalizers.Lowercase())
    return normalizers.Sequence(steps)
