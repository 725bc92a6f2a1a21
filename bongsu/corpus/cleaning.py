"""Cleaning: light rules, each a switch, and `dedup_key`, which is equal for texts that count as copies.

Python is fast with one long string and slow with many short ones. So texts are cleaned in batches that fit into a cache, joined
by NUL, which no text has and no rule crosses. ASCII texts, to which fewer rules apply, are batched by themselves.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import compress, pairwise
from typing import Literal, TypeVar

from bongsu import recipe
from bongsu.corpus.mojibake import may_be_damaged, repair

LINK, USER = "[LINK]", "[USER]"
_BATCH = 1024
Item = TypeVar("Item")
_Form = Literal["NFC", "NFKC"]
_FORMS: dict[str, _Form] = {"nfc": "NFC", "nfkc": "NFKC"}

# ASCII only (RFC 3986), so that a Korean particle behind a link stays; so does the stop or bracket behind it.
# Tweets that were cut end in a piece of a link and an ellipsis.
# The look ahead, at what all kinds begin with, is there for speed.
_LINK = re.compile(
    r"(?=[hwpt](?:ttp|ww\.|ic\.|\.c))(?:"
    r"(?:https?://|www\.)[!#-&(-;=?-~]*[#-&*+\-/-9=@-Z_a-z~]…?|https?(?::/{0,2})?…|\bpic\.twitter\.com/\w+|\bt\.co/\w+)",
    re.IGNORECASE | re.ASCII,
)
_MENTION = re.compile(r"@(?<![A-Za-z0-9_.@/]@)[A-Za-z0-9_]++(?![A-Za-z0-9_.]*@)")
# With its semicolon only: without it `&copy=` may be part of an address.
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
# Joiners (200C, 200D) and variation selectors shape what is seen and stay.
_REMOVED = re.compile(
    "[\x01-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ufffe\uffff\ud800-\udfff]"
)
_BLANK = re.compile("[\x0b\x0c\x1c-\x1f\x85\u115f\u1160\u2028\u2029\u3164\uffa0\ufffc]")  # separators, Hangul fillers
_SPACE = re.compile(r"[^\S ]")
_ASCII = [chr(code) for code in range(1, 128)]
_ASCII_REMOVED = bytes(code for code in range(1, 128) if _REMOVED.match(chr(code)))
_ASCII_BLANK = bytes(32 if _BLANK.match(chr(code)) else code for code in range(256))
_ASCII_SPACE = bytes(32 if code < 128 and chr(code).isspace() else code for code in range(256))
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
        """Return the cleaned text, or None when a rule drops it (counted in `dropped`). NUL is always removed."""
        return self.clean_all([text])[0]

    def rewrite_all(self, texts: Sequence[str]) -> list[str]:
        """Return the cleaned texts, whatever their lengths and scripts."""
        return [rewritten for batch in _batches(texts) for rewritten in self._rewritten(batch)]

    def clean_all(self, texts: Sequence[str]) -> list[str | None]:
        """Return what `clean` does, for many texts at once."""
        return [cleaned for batch in _batches(texts) for cleaned in self._batch(batch)]

    def _batch(self, texts: Sequence[str]) -> Sequence[str | None]:
        return self._kept(self._rewritten(texts))

    def _rewritten(self, texts: Sequence[str]) -> list[str]:
        ascii_alone, others, places = _separated(texts)
        return _merged(self._cleaned(ascii_alone), self._cleaned(others), places)

    def _cleaned(self, texts: Sequence[str]) -> list[str]:
        joined = join(texts)
        if self._mojibake and may_be_damaged(joined):
            joined = "\0".join([repair(text) for text in joined.split("\0")])
        if self._entities and "&" in joined:
            joined = _ENTITY.sub(lambda match: html.unescape(match[0]), joined)
        if self._form is not None and not joined.isascii():  # of a text that has the form already the check alone is quick
            joined = "\0".join([unicodedata.normalize(self._form, text) for text in cut_marks(joined).split("\0")])
        if self._control:
            if joined.isascii():
                joined = joined.encode().translate(_ASCII_BLANK, _ASCII_REMOVED).decode()
            else:
                joined = _BLANK.sub(" ", _REMOVED.sub("", joined))
        if self.settings.whitespace:
            joined = joined.encode().translate(_ASCII_SPACE).decode() if joined.isascii() else _SPACE.sub(" ", joined)
        if self._link is not None:
            joined = _sub_links(joined, self._link)
        if self._mention is not None:
            joined = _sub_mentions(joined, self._mention)
        if self.settings.whitespace:
            while "  " in joined:
                joined = joined.replace("  ", " ")
            return list(map(str.strip, joined.split("\0")[: len(texts)]))
        return joined.split("\0")[: len(texts)]

    def _kept(self, texts: list[str]) -> Sequence[str | None]:
        rules = self.settings
        shortest, longest = rules.min_characters, rules.max_characters
        lengths = list(map(len, texts))
        if not rules.scripts and shortest <= min(lengths) and max(lengths) <= longest and not any(map(str.isspace, texts)):
            return texts  # as mostly
        kept: list[str | None] = []
        for text in texts:
            why = None
            if len(text) < shortest or text.isspace():
                why = "too short"
            elif len(text) > longest:
                why = "too long"
            elif rules.scripts and not any(is_written_in(text, script) for script in rules.scripts):
                why = "another script"
            if why is not None:
                self.dropped[why] += 1
            kept.append(text if why is None else None)
        return kept


def join(texts: Sequence[str]) -> str:
    """Return the texts as one, with NUL between them; NUL within a text is removed."""
    joined = "\0".join(texts)
    if joined.count("\0") >= max(1, len(texts)):
        joined = "\0".join([text.replace("\0", "") for text in texts])
    return joined


def is_written_in(text: str, script: str) -> bool:
    """Return whether half of a text's letters are "latin", or three in ten "hangul" (Korean text mixes in Latin words)."""
    text = text.replace(LINK, "").replace(USER, "")
    letters = len(_LETTER.findall(text))
    if letters == 0:
        return False
    own, share = (_HANGUL, 0.3) if script == "hangul" else (_LATIN, 0.5)
    return len(own.findall(text)) >= share * letters


def dedup_key(text: str) -> str:
    """Return the letters and digits of a text, case-folded, without links and mentions: copies have equal keys.

    A text that has none, such as one of emoji only, is its own key.
    """
    bare = without_tokens(text)
    bare = bare.translate(_ASCII_FOLD) if bare.isascii() else _only_words(fold(bare), " ")
    return " ".join(bare.split()) or " ".join(text.split())


def exact_keys(texts: Sequence[str]) -> list[bytes]:
    """Return the `dedup_key` of each text without blanks, as UTF-8, for exact de-duplication; faster for many texts."""
    return [name for batch in _batches(texts) for name in _exact_keys(batch)]


def _exact_keys(texts: Sequence[str]) -> list[bytes]:
    ascii_alone, others, places = _separated(texts)
    keys = without_tokens(join(ascii_alone)).encode().translate(_ASCII_LOWER, _ASCII_NOT_WORD).split(b"\0")[: len(ascii_alone)]
    folded = join(list(map(fold, without_tokens(join(others)).split("\0"))))
    keys = _merged(keys, _only_words(folded, "").encode("utf-8", "surrogatepass").split(b"\0")[: len(others)], places)
    if b"" in keys:  # one that has neither letters nor digits is its own key
        own = ["".join(text.replace("\0", "").split()).encode("utf-8", "surrogatepass") for text in texts]
        keys = [solid or itself for solid, itself in zip(keys, own, strict=True)]
    return keys


def _only_words(folded: str, blank: str) -> str:
    return _NOT_WORD.sub(blank, folded.replace(" ", blank).replace("_", blank))


def fold(text: str) -> str:
    """Return a text folded for a caseless compatibility match (Unicode 3.13, D146)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", cut_marks(text)).casefold())


def cut_marks(text: str) -> str:
    """Return the text with at most 30 combining marks after one another, which is more than any language needs.

    Normalising sorts the marks of a run, in time that grows with the square of its length. The bound is that of Unicode's
    stream-safe text format (UAX 15), which puts a joiner after 30; here the rest is removed.
    """
    if _NON_STARTER.search(text[::_MARKS]) is None:  # a longer run has a mark at one of these places
        return text
    return _LONG_RUN.sub(lambda run: run[0][:_MARKS], text)


def without_tokens(text: str) -> str:
    """Return the text with a blank in place of each link and mention, and of the tokens that cleaning puts for them.

    Also for several texts joined by NUL.
    """
    return _sub_mentions(_sub_links(text, " "), " ").replace(LINK, " ").replace(USER, " ")


def _sub_links(joined: str, by: str) -> str:
    return _sub_where(("/", "www.", "…"), _LINK, by, joined)


def _sub_mentions(joined: str, by: str) -> str:
    return _sub_where(("@",), _MENTION, by, joined)


def _sub_where(hints: Sequence[str], pattern: re.Pattern[str], by: str, joined: str) -> str:
    """Substitute only in texts that contain one of the hints, one of which every match has: finding those is fast."""
    small = joined.replace("İ", "i").lower()  # no other character's small form is longer: places are those of `joined`
    ends: dict[int, int] = {}  # of each text that holds a hint, by where it begins
    for hint in hints:
        place = small.find(hint)
        while place >= 0:
            end = small.find("\0", place)
            end = len(small) if end < 0 else end
            ends[small.rfind("\0", 0, place) + 1] = end
            place = small.find(hint, end)
    pieces, last = [], 0
    for start, end in sorted(ends.items()):
        pieces += [joined[last:start], pattern.sub(by, joined[start:end])]
        last = end
    return "".join([*pieces, joined[last:]])


def _batches(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(texts), _BATCH):
        yield texts[start : start + _BATCH]


def _separated(texts: Sequence[str]) -> tuple[list[str], list[str], list[int]]:
    """Return the ASCII texts, the others, and the indices of the others."""
    of_ascii = list(map(str.isascii, texts))
    if all(of_ascii):
        return list(texts), [], []
    places = [place for place, alone in enumerate(of_ascii) if not alone]
    return list(compress(texts, of_ascii)), [texts[place] for place in places], places


def _merged(ascii_alone: list[Item], others: list[Item], places: list[int]) -> list[Item]:
    """Return the texts in their order before `_separated`."""
    for place, other in zip(places, others, strict=True):
        ascii_alone.insert(place, other)
    return ascii_alone


def _marks() -> str:
    """Return the combining marks, for a character class: vowels of Indic scripts and Thai are marks, and part of words."""
    blocks = (range(0x300, 0x3100), range(0xA600, 0xAC00))  # the rest of the first plane is ideographs, Hangul and presentation
    return "".join(chr(code) for block in blocks for code in block if unicodedata.category(chr(code)) in ("Mn", "Mc"))


def _non_starters() -> str:
    """Return the characters that normalising may move, as ranges of a character class."""
    blocks = (range(0x300, 0x3100), range(0xA600, 0xAC00), range(0xFB00, 0x1F000))
    vowels = (0xF73, 0xF75, 0xF81)  # are no such characters, but decompose to some
    codes = sorted({*vowels, *(code for block in blocks for code in block if unicodedata.combining(chr(code)))})
    starts = [code for before, code in pairwise([-1, *codes]) if code != before + 1]
    ends = [code for code, after in pairwise([*codes, -1]) if after != code + 1]
    return "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True))


_MARKS = 30
_NON_STARTER = re.compile(f"[{_non_starters()}]")
_LONG_RUN = re.compile(f"{_NON_STARTER.pattern}{{{_MARKS + 1},}}")
_NOT_WORD = re.compile(f"[^\\w{_marks()}\0]+")
_ASCII_FOLD = str.maketrans({c: c.lower() if c.isalnum() else " " for c in _ASCII})
_ASCII_LOWER = bytes(code + 32 if 65 <= code <= 90 else code for code in range(256))
_ASCII_NOT_WORD = bytes(code for code in range(1, 128) if not chr(code).isalnum())
