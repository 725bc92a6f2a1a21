"""Small models of `transformers` with random weights, each with a tokenizer of its kind, as `save_pretrained` writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

KINDS = ("bert", "xlm-roberta", "distilbert", "electra", "modernbert")
_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}
_OTHERS: dict[str, dict[str, Any]] = {
    "distilbert": {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 48},
    "electra": {"embedding_size": 16},
    "albert": {"embedding_size": 16},
    "xlm-roberta": {"max_position_embeddings": 42},  # two numbers are never used
    "modernbert": {"global_attn_every_n_layers": 2, "local_attention": 8},
}


def hub_folder(folder: Path, kind: str, texts: list[str]) -> Path:
    """Writes config.json, model.safetensors, tokenizer.json and tokenizer_config.json."""
    xlm = kind == "xlm-roberta"
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"] if xlm else ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = (_unigram if xlm else _wordpiece)(names, texts)
    first, last, pad, mask = (names[0], names[2], names[1], names[4]) if xlm else (names[2], names[3], names[0], names[4])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", special_tokens=[(name, tokenizer.token_to_id(name)) for name in (first, last)]
    )
    # As in real folders: settings of whoever used the model last, which are not ours.
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=4, pad_id=tokenizer.token_to_id(pad), pad_token=pad)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        unk_token=names[3 if xlm else 1],
        mask_token=mask,
        cls_token=first,
        sep_token=last,
    ).save_pretrained(folder)
    roles = {"pad": pad, "cls": first, "sep": last, "bos": first, "eos": last}
    ids = {f"{role}_token_id": tokenizer.token_to_id(name) for role, name in roles.items()}
    if kind == "gpt2":
        ids["pad_token_id"] = None
    config = AutoConfig.for_model(kind, vocab_size=tokenizer.get_vocab_size(), **{**_SIZES, **_OTHERS.get(kind, {}), **ids})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModel.from_config(config).save_pretrained(folder)
    return folder


def _wordpiece(names: list[str], texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=500, special_tokens=names))
    return tokenizer


def _unigram(names: list[str], texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=500, special_tokens=names, unk_token="<unk>")
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
