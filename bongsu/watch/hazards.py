"""What a message speaks of: the kinds of hazard by their words, the places by how names are written.

Hazard words are a closed list in nine languages (`hazards.toml`). Places are found by rule, not from a list of names: a
stricken village is on no list, and a name that bursts together with a hazard is what one wants to hear of, whatever it is. In
Latin script a place is a run of one to three capitalised words or a hashtag; in Korean a word that ends in an administrative
suffix (시, 군, 구, 도, 읍, 면, 동) or the name of a province or metropolis. The rule takes persons and organisations for places
as well; they show as places of an alert only when they are among the most frequent names in it.
"""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files

OTHER = "other"
"""The kind of a message that passes without a hazard word."""
MAX_PLACES = 6
MAX_HAZARDS = 3
"""A message that names more speaks of none in particular; each would be counted with each place."""

_DATA = tomllib.loads((files("bongsu.watch") / "hazards.toml").read_text(encoding="utf-8"))
_OF_HASHTAG: dict[str, str] = {word: kind for kind, words in _DATA["hashtags"].items() for word in words}
_LATIN_NOT_A_PLACE = frozenset(word for name, words in _DATA["not_places"].items() if name != "korean" for word in words)
_KOREAN_NOT_A_PLACE = frozenset(_DATA["not_places"]["korean"])
_HANGUL = re.compile("[가-힣]")


def _pattern(korean: bool) -> str:
    """Return the words of all kinds in one pattern, each kind a group, so that a text is gone through once."""
    groups = {
        kind: "|".join(word for word in words if bool(_HANGUL.search(word)) == korean)
        for kind, words in _DATA["hazards"].items()
    }
    return "|".join(f"(?P<{kind}>{words})" for kind, words in groups.items() if words)


# Of texts in lower case: to ignore case while matching takes ten times as long.
_LATIN_HAZARD = re.compile(f"(?<![a-zà-öø-ÿ])(?:{_pattern(korean=False)})(?![a-zà-öø-ÿ])")
_KOREAN_HAZARD = re.compile(_pattern(korean=True))
_HASHTAG = re.compile(r"#(\w{2,40})")
_HASHTAG_HAZARD = re.compile(f"({'|'.join(_OF_HASHTAG)})s?")
_PRAYER = re.compile("^pray(?:ers|ing)?(?:for|4)")
# The possessive {2,}+ keeps it linear: within a word there is nothing to try again.
_NAME = re.compile(r"(?<![\w@#/.])[A-Z][a-zà-öø-ÿ]{2,}+(?:[ -][A-Z][a-zà-öø-ÿ]{2,}+){0,2}(?!\w*[:/@])")
_KOREAN_PLACE = re.compile(
    r"(?<![가-힣])("
    r"[가-힣]{1,4}(?:특별자치도|특별자치시|특별시|광역시)|[가-힣]{2,3}(?:시|군|구|도|읍|면|동)"
    r"|서울|부산|대구|인천|광주|대전|울산|세종|경기|강원|충북|충남|전북|전남|경북|경남|제주|포항|경주"
    r")(?=에서|에|의|은|는|이|가|을|를|으로|로|까지|부터|도|[^가-힣]|$)"
)


def hazards_in(text: str) -> tuple[str, ...]:
    """Return the kinds of hazard whose words stand in `text`, sorted; a hashtag may hold the word anywhere (#yycflood)."""
    text = text.lower()
    found = {match.lastgroup for match in _LATIN_HAZARD.finditer(text)}
    if not text.isascii():
        found.update(match.lastgroup for match in _KOREAN_HAZARD.finditer(text))
    if "#" in text:
        found.update(_OF_HASHTAG[word] for word in _HASHTAG_HAZARD.findall(" ".join(_HASHTAG.findall(text))))
    return tuple(sorted(kind for kind in found if kind))


def korean_places_in(text: str) -> tuple[str, ...]:
    """Return the names of places in Korean in `text`, in their order."""
    names = [] if text.isascii() else _KOREAN_PLACE.findall(text)
    return tuple(dict.fromkeys(name for name in names if name not in _KOREAN_NOT_A_PLACE))


def places_in(text: str) -> tuple[str, ...]:
    """Return at most `MAX_PLACES` names in `text`, in lower case, in their order."""
    found: dict[str, None] = dict.fromkeys(korean_places_in(text))
    for tag in _HASHTAG.findall(text):
        if len(found) >= MAX_PLACES:
            break
        name = _PRAYER.sub("", _HASHTAG_HAZARD.sub("", tag.lower())).strip("_0123456789")
        if len(name) > 2 and name not in _LATIN_NOT_A_PLACE:
            found[name] = None
    for match in _NAME.finditer(text):
        if len(found) >= MAX_PLACES:
            break
        name = " ".join(word for word in re.split("[ -]", match[0].lower()) if word not in _LATIN_NOT_A_PLACE)
        if name and name != "new" and not hazards_in(name):
            found[name] = None
    return tuple(found)[:MAX_PLACES]
