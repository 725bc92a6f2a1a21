"""Special tokens of a tokenizer: ours, or those of a model of `transformers`."""

from __future__ import annotations

from typing import NamedTuple

from tokenizers import Tokenizer

from bongsu.errors import WorkspaceError

PAD, UNK, MASK = "[PAD]", "[UNK]", "[MASK]"
SPECIAL = (PAD, UNK, MASK)
PAD_ID, UNK_ID, MASK_ID = range(3)
"""Of the tokenizers that Bongsu trains."""


class Special(NamedTuple):
    """Ids of special tokens, with what they are called."""

    pad: int
    unk: int
    mask: int
    frame: tuple[int, ...]
    """What stands around every text, such as [CLS] and [SEP]; nothing in ours."""
    names: tuple[str, str, str]
    """Of `pad`, `unk` and `mask`."""


def special_tokens(tokenizer: Tokenizer) -> Special:
    """Return the special tokens, by their usual names: [MASK] or <mask>, and so on.

    Raises:
        WorkspaceError: when one of them is missing.
    """
    names: list[str] = []
    ids: list[int] = []
    for name in SPECIAL:
        spellings = (name, f"<{name[1:-1].lower()}>")
        known = [(token, spelling) for spelling in spellings if (token := tokenizer.token_to_id(spelling)) is not None]
        if not known:
            raise WorkspaceError(f"The tokenizer has neither {' nor '.join(spellings)}: not that of a masked language model.")
        ids.append(known[0][0])
        names.append(known[0][1])
    pad, unk, mask = ids
    return Special(pad, unk, mask, tuple(tokenizer.encode("").ids), (names[0], names[1], names[2]))
