"""Documents into sentences, by a few rules that hold for English and Korean prose.

A sentence ends with its line, or with a stop and what closes after it, when what follows can begin one. Of the abbreviations
some never end a sentence, some not before a number, and some only before a word that often begins one (Kiss & Strunk 2006).
"""

from __future__ import annotations

import re

_BREAK = re.compile("[\r\n\x0c\u2028\u2029]+")
_STOP = ".!?…。！？"
# Every quantifier is possessive and a run of stops is entered at its first one only: time is linear in the text.
_END = re.compile(rf"[{_STOP}](?<![{_STOP}][{_STOP}])[{_STOP}]*+[\"'”’»)\]」』）]*+(\s*+)(?=[\"'“‘«(\[「『（¿¡#@]*+([^\W_]))")
_LAST_WORD = re.compile(r"(?:[A-Za-z]\.)*[A-Za-z]+$")
_NEVER = re.compile(
    "mrs?|ms|messrs|dr|prof|st|gen|col|maj|capt|cmdr|sgt|lt|gov|sen|rep|rev|hon|pres|mt|ft|vs|cf|e[.]g|i[.]e|viz|approx|ca"
)
_NUMBERED = re.compile("nos?|pp?|vol|ch|sec|art|figs?|eq|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec")
_SELDOM = re.compile("inc|ltd|co|corp|bros|jr|sr|etc|al|dept|est|ave|blvd|rd|a[.]m|p[.]m")
_STARTER = re.compile(
    r"[\"'“‘«(\[]*(?:The|This|That|These|Those|There|Then|They|Their|It|Its|He|His|She|Her|We|Our|You|I|My|A|An|In|On|At|By|For|From"
    r"|With|But|And|So|If|As|When|While|After|Before|Since|However|Although|Also|According|What|Who|Why|How|One|Some|Many|Most|No"
    r"|Not|Both)[\s,]"
)


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, stripped, none of them empty. Only white space between them is lost."""
    sentences: list[str] = []
    for line in _BREAK.split(text):
        start = 0
        for end in _END.finditer(line):
            if _is_end(line, start, end):
                sentences.append(line[start : end.start(1)].strip())
                start = end.end()
        if piece := line[start:].strip():
            sentences.append(piece)
    return sentences


def _is_end(line: str, start: int, end: re.Match[str]) -> bool:
    """Whether the sentence that began at `start` ends with this stop."""
    at, gap, following = end.start(), end[1], end[2]
    if following.islower():
        return False
    stop = line[at]
    if not gap:  # Chinese and Japanese need no space; Korean often goes without after a verb: "갔다.그리고"
        return stop in "。！？" or ("가" <= following <= "힣" and line[at - 1] in "다요죠까" and "가" <= line[at - 2] <= "힣")
    if stop != "." or line[at + 1] == ".":
        return True
    if line[start:at].strip().isdigit():  # "1. First of a list"
        return False
    word = _LAST_WORD.search(line, max(start, at - 16), at)
    if word is None:
        return True
    name = word[0].lower()
    if _NEVER.fullmatch(name):
        return False
    if _NUMBERED.fullmatch(name):
        return not following.isdigit()
    if _SELDOM.fullmatch(name) or (word[0][0].isupper() and (len(name) == 1 or "." in name)):  # an initial, U.S.
        return _STARTER.match(line, end.end()) is not None
    return True
