"""Robustness: which answers change when a text changes in a way that does not change its meaning."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_LINK = re.compile(r"\s*https?://\S+")
_WORD = re.compile(r"[^\W\d_]{4,}")
_WHOLE = re.compile(r"https?\b|@|#")


def typing_error(text: str, draw: random.Random) -> str:
    """Swap two neighbouring letters of a word; links and mentions stay whole."""
    words = [match for match in _WORD.finditer(text) if not _WHOLE.match(text[: match.end()].split()[-1])]
    if not words:
        return text
    start = draw.choice(words).start() + draw.randrange(1, 3)
    return text[:start] + text[start + 1] + text[start] + text[start + 2 :]


CHANGES: dict[str, Callable[[str, random.Random], str]] = {
    "a link added": lambda text, draw: f"{text} http://t.co/{draw.randrange(10**9):x}",
    "links removed": lambda text, draw: _LINK.sub("", text) or text,
    "a mention added": lambda text, draw: f"@user{draw.randrange(1000)} {text}",
    "lower case": lambda text, draw: text.lower(),
    "upper case": lambda text, draw: text.upper(),
    "a typing error": typing_error,
}


@dataclass(frozen=True, slots=True)
class FlipCount:
    """How many answers one kind of change flips."""

    change: str
    texts: int
    """Texts that it changed."""
    flipped: int
    """Those of them with another answer."""

    @property
    def share(self) -> float:
        """The share of the changed texts with another answer."""
        return self.flipped / max(1, self.texts)


def count_flips(texts: Sequence[str], answer: Callable[[Sequence[str]], Sequence[str]], seed: int) -> list[FlipCount]:
    """Return for each kind of change how many answers it flips.

    Args:
        answer: texts as they are sent -> their answers.
    """
    before = answer(texts)
    counts = []
    for number, (name, change) in enumerate(CHANGES.items()):
        draw = random.Random(seed * len(CHANGES) + number)
        changed = [change(text, draw) for text in texts]
        rows = [row for row, (old, new) in enumerate(zip(texts, changed, strict=True)) if old != new]
        after = answer([changed[row] for row in rows]) if rows else []
        flipped = sum(before[row] != new for row, new in zip(rows, after, strict=True))
        counts.append(FlipCount(name, len(rows), flipped))
    return counts


def sum_flips(counts: Sequence[Sequence[FlipCount]]) -> list[FlipCount]:
    """Return the sums of each kind of change over folds."""
    return [FlipCount(of[0].change, sum(c.texts for c in of), sum(c.flipped for c in of)) for of in zip(*counts, strict=True)]
