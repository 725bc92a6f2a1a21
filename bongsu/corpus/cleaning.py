"""Cleaning: light rules, each a switch, applied to one text at a time.

`key` is the other use of cleaning: what two texts must share to count as the same.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter

from bongsu import recipe
from bongsu.corpus.mojibake import repair
from bongsu.corpus.sentences import split_sentences

__all__ = ["Cleaner", "key", "split_sentences"]

LINK, USER = "[LINK]", "[USER]"

_LINK = re.compile(r"(?:https?://|www\.)[^\s<>\"'…]+(?:…|(?=[\s<>\"']|$))|\bpic\.twitter\.com/\w+|\bt\.co/\w+", re.IGNORECASE)
_MENTION = re.compile(r"(?<![\w.@/])@\w{1,30}(?![\w.]*@)")
_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_SPACE = re.compile(r"\s+")
_HANGUL = re.compile("[가-힣ㄱ-ㆎᄀ-ᇿ]")
_LATIN = re.compile("[A-Za-z]")
_LETTER = re.compile(r"[^\W\d_]")
_NOT_WORD = re.compile(r"[\W_]+")


class Cleaner:
    """Applies the rules of a recipe and counts what they drop."""

    def __init__(self, settings: recipe.Cleaning) -> None:
        self.settings = settings
        self.dropped: Counter[str] = Counter()

    def clean(self, text: str) -> str | None:
        """The cleaned text, or None when a rule drops it (counted in `dropped`)."""
        rules = self.settings
        if rules.mojibake:
            text = repair(text)
        if rules.entities and "&" in text:
            text = html.unescape(text)
        if rules.normalize != "none" and not text.isascii():
            text = unicodedata.normalize("NFC" if rules.normalize == "nfc" else "NFKC", text)
        if rules.control:
            text = _CONTROL.sub("", text)
        if rules.links != "keep" and ("http" in text or "www." in text or ".co" in text):
            text = _LINK.sub(LINK if rules.links == "token" else "", text)
        if rules.mentions != "keep" and "@" in text:
            text = _MENTION.sub(USER if rules.mentions == "token" else "", text)
        if rules.whitespace:
            text = _SPACE.sub(" ", text).strip()
        if len(text) < rules.min_characters:
            self.dropped["too short"] += 1
            return None
        if len(text) > rules.max_characters:
            self.dropped["too long"] += 1
            return None
        if rules.languages and not any(is_written_in(text, language) for language in rules.languages):
            self.dropped["another script"] += 1
            return None
        return text


def is_written_in(text: str, language: str) -> bool:
    """Whether half of a text's letters are of a language's script; three in ten for Korean, which mixes more."""
    letters = len(_LETTER.findall(text))
    if letters == 0:
        return False
    own, share = (_HANGUL, 0.3) if language == "ko" else (_LATIN, 0.5)
    return len(own.findall(text)) >= share * letters


def key(text: str) -> str:
    """What texts that count as the same share: letters and digits alone, folded, without links and mentions.

    A text that has none, such as one of emoji only, is its own key.
    """
    bare = _MENTION.sub(" ", _LINK.sub(" ", text)).replace(LINK, " ").replace(USER, " ")
    folded = unicodedata.normalize("NFKC", bare).casefold()
    return _NOT_WORD.sub(" ", folded).strip() or text.strip()
