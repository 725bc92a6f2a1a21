"""How steady a detector is: what becomes of its verdicts when a text changes in a way that does not change its meaning."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Verdicts = Callable[[Sequence[str]], npt.NDArray[np.int64]]
"""Classes [texts] of texts as they are sent."""

_LINK = re.compile(r"\s*https?://\S+")
_WORD = re.compile(r"[^\W\d_]{4,}")
_WHOLE = re.compile(r"https?\b|@|#")


def typing_error(text: str, draw: random.Random) -> str:
    """Two neighbouring letters of one word change places; links and mentions stay whole."""
    words = [match for match in _WORD.finditer(text) if not _WHOLE.match(text[: match.end()].split()[-1])]
    if not words:
        return text
    start = draw.choice(words).start() + draw.randrange(1, 3)
    return text[:start] + text[start + 1] + text[start] + text[start + 2 :]


CHANGES: dict[str, Callable[[str, random.Random], str]] = {
    "a link put behind": lambda text, draw: f"{text} http://t.co/{draw.randrange(10**9):x}",
    "links taken away": lambda text, draw: _LINK.sub("", text) or text,
    "a mention put in front": lambda text, draw: f"@user{draw.randrange(1000)} {text}",
    "in small letters": lambda text, draw: text.lower(),
    "in capitals": lambda text, draw: text.upper(),
    "a typing error": typing_error,
}


def flips(texts: Sequence[str], verdicts: Verdicts, seed: int) -> dict[str, dict[str, int]]:
    """For each kind of change: `texts` that it changed, and `flipped`, those whose verdict changed with them."""
    before = verdicts(texts)
    result = {}
    for number, (name, change) in enumerate(CHANGES.items()):
        draw = random.Random(seed * len(CHANGES) + number)
        changed = [change(text, draw) for text in texts]
        rows = [row for row, (old, new) in enumerate(zip(texts, changed, strict=True)) if old != new]
        after = verdicts([changed[row] for row in rows]) if rows else np.zeros(0, dtype=np.int64)
        result[name] = {"texts": len(rows), "flipped": int((after != before[rows]).sum())}
    return result
