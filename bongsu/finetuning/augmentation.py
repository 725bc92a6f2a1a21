"""Augmentation of training texts. Copy (row, epoch) is a pure function of the seed, so that a run can resume anywhere."""

from __future__ import annotations

import random

from bongsu.tokens.random import mix, uniform

MARKS = (".", ";", "?", ":", "!", ",")


def aeda(text: str, draw: random.Random) -> str:
    """Insert punctuation marks at 1 to a third of the places between words (Karimi, Rossi and Prati 2021)."""
    words = text.split(" ")
    for place in sorted(draw.sample(range(len(words)), draw.randint(1, max(1, len(words) // 3))), reverse=True):
        words.insert(place, draw.choice(MARKS))
    return " ".join(words)


def augment(text: str, share: float, seed: int, row: int, epoch: int) -> str:
    """Return a training text as it is shown in an epoch: with probability `share` changed by AEDA, anew each epoch."""
    if uniform(mix(seed, 0, epoch, row)) >= share:
        return text
    return aeda(text, random.Random(int(mix(seed, 1, epoch, row))))
