"""Cleaning: light rules, each a switch, applied to one text at a time.

`key` is the other use of cleaning: what two texts must share to count as the same. Both are called for every sentence of a
corpus, so a cheap test stands before each rule that costs something.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from typing import Literal

from bongsu import recipe
from bongsu.corpus.mojibake import repair
from bongsu.corpus.sentences import split_sentences

__all__ = ["Cleaner", "is_written_in", "key", "split_sentences"]

LINK, USER = "[LINK]", "[USER]"
_Form = Literal["NFC", "NFKC"]
_FORMS: dict[str, _Form] = {"nfc": "NFC", "nfkc": "NFKC"}

# ASCII only (RFC 3986), so that a Korean particle behind a link stays; so does the stop or bracket behind it.
# Tweets that were cut end in a piece of a link and an ellipsis.
_LINK = re.compile(
    r"(?:https?://|www\.)[!#-&(-;=?-~]*[#-&*+\-/-9=@-Z_a-z~]…?|https?(?::/{0,2})?…|\bpic\.twitter\.com/\w+|\bt\.co/\w+",
    re.IGNORECASE | re.ASCII,
)
_MENTION = re.compile(r"(?<![A-Za-z0-9_.@/])@[A-Za-z0-9_]++(?![A-Za-z0-9_.]*@)")
# With its semicolon only: without it `&copy=` may be part of an address.
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
# Joiners (200C, 200D) and variation selectors shape what is seen and stay.
_REMOVED = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ufffe\uffff\ud800-\udfff]"
)
_BLANK = re.compile("[\x0b\x0c\x1c-\x1f\x85\u115f\u1160\u2028\u2029\u3164\uffa0\ufffc]")  # separators, Hangul fillers
_SPACE = re.compile(r"\s+")
_HANGUL = re.compile("[가-힣ㄱ-ㆎᄀ-ᇿ]")
_LATIN = re.compile("[A-Za-zÀ-ÖØ-öø-ɏ]")
_LETTER = re.compile(r"[^\W\d_]")


class Cleaner:
    """Applies the rules of a recipe and counts what they drop."""

    def __init__(self, settings: recipe.Cleaning) -> None:
        self.settings = settings
        self.dropped: Counter[str] = Counter()
        self._mojibake, self._entities, self._control = settings.mojibake, settings.entities, settings.control
        self._form: _Form | None = None if settings.normalize == "none" else _FORMS[settings.normalize]
        self._link = {"keep": None, "token": LINK, "remove": ""}[settings.links]
        self._mention = {"keep": None, "token": USER, "remove": ""}[settings.mentions]

    def clean(self, text: str) -> str | None:
        """The cleaned text, or None when a rule drops it (counted in `dropped`)."""
        if self._mojibake:
            text = repair(text)
        if self._entities and "&" in text:
            text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
        if self._form is not None and not text.isascii():
            text = unicodedata.normalize(self._form, text)
        if self._control and not text.isprintable():
            text = _BLANK.sub(" ", _REMOVED.sub("", text))
        if self._link is not None and _may_hold_link(text):
            text = _LINK.sub(self._link, text)
        if self._mention is not None and "@" in text:
            text = _MENTION.sub(self._mention, text)
        if self.settings.whitespace:
            text = " ".join(text.split())
        return self._kept(text)

    def _kept(self, text: str) -> str | None:
        rules = self.settings
        if len(text) < rules.min_characters or text.isspace():
            self.dropped["too short"] += 1
        elif len(text) > rules.max_characters:
            self.dropped["too long"] += 1
        elif rules.languages and not any(is_written_in(text, language) for language in rules.languages):
            self.dropped["another script"] += 1
        else:
            return text
        return None


def is_written_in(text: str, language: str) -> bool:
    """Whether half of a text's letters are of a language's script ("ko" or "en"); three in ten for Korean, which mixes more."""
    text = text.replace(LINK, "").replace(USER, "")
    letters = len(_LETTER.findall(text))
    if letters == 0:
        return False
    own, share = (_HANGUL, 0.3) if language == "ko" else (_LATIN, 0.5)
    return len(own.findall(text)) >= share * letters


def key(text: str) -> str:
    """What texts that count as the same share: letters and digits alone, folded, without links and mentions.

    A text that has none, such as one of emoji only, is its own key.
    """
    bare = text
    if _may_hold_link(bare):
        bare = _LINK.sub(" ", bare)
    if "@" in bare:
        bare = _MENTION.sub(" ", bare)
    if "[" in bare:
        bare = bare.replace(LINK, " ").replace(USER, " ")
    if bare.isascii():
        bare = bare.translate(_ASCII_FOLD)
    else:
        bare = _NOT_WORD.sub(" ", unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", bare).casefold()))
    return " ".join(bare.split()) or " ".join(text.split())


def _may_hold_link(text: str) -> bool:
    return "http" in text or "www." in text or ".co" in text or "HTTP" in text or "WWW." in text or "Http" in text


def _marks() -> str:
    """The combining marks, for a character class: vowels of Indic scripts and Thai are marks, and tell words apart."""
    blocks = (range(0x300, 0x3100), range(0xA600, 0xAC00))  # the rest of the first plane is ideographs, Hangul and presentation
    return "".join(chr(code) for block in blocks for code in block if unicodedata.category(chr(code)) in ("Mn", "Mc"))


_NOT_WORD = re.compile(f"[^\\w{_marks()}]+|_+")
_ASCII_FOLD = {code: chr(code).lower() if chr(code).isalnum() else " " for code in range(128)}
