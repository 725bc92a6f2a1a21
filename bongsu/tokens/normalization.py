"""The tokenizer's normaliser, at the speed of Python's own string methods where these are known to agree with it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any, Literal

from tokenizers import normalizers

Form = Literal["NFC", "NFKC", "NFD"]

# Scripts whose forms and cases are the same in every version of Unicode in use. Greek is not here: at the end of a word
# Python writes its capital sigma small in another way. The rest goes to the normaliser itself.
_SETTLED = re.compile(
    "[\x00-\u02ff\u0400-\u0481\u1100-\u11ff\u1e00-\u1eff\u2000-\u205f\u20a0-\u20bf\u2100-\u23ff\u2460-\u27bf\u3000-\u318e"
    "\u3200-\u32fe\u3300-\u33ff\u4e00-\u9fff\uac00-\ud7a3\ufe0e\ufe0f\uff00-\uffee\U0001f300-\U0001f9ff]*"
)


def fast_normalizer(normalizer: Any) -> Callable[[str], str]:
    """Return a function that does what `normalizer.normalize_str` does, several times faster.

    Raises:
        ValueError: when the normaliser is not one `bpe.train_tokenizer` makes.
    """
    exact: Callable[[str], str] = normalizer.normalize_str
    form, lowercase = _parts(normalizer)

    def normalize(text: str) -> str:
        if text.isascii():
            return text.lower() if lowercase else text
        if _SETTLED.fullmatch(text):
            text = unicodedata.normalize(form, text)
            return text.lower() if lowercase else text
        return exact(text)

    return normalize


def _parts(normalizer: Any) -> tuple[Form, bool]:
    """Return the Unicode form and whether letters are lowercased."""
    forms: dict[type, Form] = {normalizers.NFC: "NFC", normalizers.NFKC: "NFKC", normalizers.NFD: "NFD"}
    first, *rest = normalizer
    if type(first) not in forms or [type(step) for step in rest] not in ([], [normalizers.Lowercase]):
        raise ValueError("not a normaliser of this package")
    return forms[type(first)], bool(rest)
