"""A tokenizer that panics: its regular expression backtracks until the library gives up, in Rust."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

POISON = "a" * 1000 + "b"
BACKTRACKING = "(a+)+$"


def panic(*arguments: Any, **options: Any) -> Any:
    """Raise a real panic of `tokenizers`, which is no `Exception`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(BACKTRACKING), "isolated")
    return tokenizer.encode(POISON)


def make_tokenizer_panic(folder: Path) -> None:
    """Let the tokenizer of a bundle panic at `POISON`; it reads other texts as before."""
    file = folder / "tokenizer.json"
    content = orjson.loads(file.read_bytes())
    split = {"type": "Split", "pattern": {"Regex": BACKTRACKING}, "behavior": "Isolated", "invert": False}
    content["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, content["pre_tokenizer"]]}
    file.write_bytes(orjson.dumps(content))
