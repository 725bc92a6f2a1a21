"""Documents into sentences, by a few rules that hold for English and Korean prose.

A sentence ends with its line, or with a stop and what closes after it, when what follows can begin one. Of the abbreviations
some never end a sentence, some not before a number, and some only before a word that often begins one (Kiss & Strunk 2006).
"""

from __future__ import annotations

import re

_STOP = ".!?…。！？"
_NEVER = {
    "mr", "mrs", "ms", "messrs", "dr", "prof", "st", "gen", "col", "maj", "capt", "cmdr", "sgt", "lt", "gov", "sen",
    "rep", "rev", "hon", "pres", "mt", "ft", "vs", "cf", "e.g", "i.e", "viz", "approx", "ca",
}  # fmt: skip
_NUMBERED = {
    "no", "nos", "p", "pp", "vol", "ch", "sec", "art", "fig", "figs", "eq", "jan", "feb", "mar", "apr", "jun", "jul",
    "aug", "sep", "sept", "oct", "nov", "dec",
}  # fmt: skip
_SELDOM = {
    "inc", "ltd", "co", "corp", "bros", "jr", "sr", "etc", "al", "dept", "est", "ave", "blvd", "rd", "a.m", "p.m",
}  # fmt: skip
_ABBREVIATIONS = _NEVER | _NUMBERED | _SELDOM


_LONG = 5


def _plain_end() -> str:
    """Most ends are a stop behind a small word that is no abbreviation, a space and a capital, and need no further look."""
    known = sorted(word for word in _ABBREVIATIONS if word.isalpha())
    behind = [
        f"(?<=[a-z]{{{_LONG}}}[.] )" + "".join(f"(?<!{word[-_LONG:]}[.] )" for word in known if len(word) >= _LONG),
    ]
    for length in range(2, _LONG):
        abbreviations = "|".join(word for word in known if len(word) == length)
        behind.append(f"(?<= [a-z]{{{length}}}[.] )(?<! (?:{abbreviations})[.] )")
    return f"[.] (?=[A-Z])(?:{'|'.join(behind)})"


# Each begins with characters that `re` finds quickly.
_PLAIN_ENDS = [(re.compile(_plain_end()), ".\n"), (re.compile("! (?=[A-Z])"), "!\n"), (re.compile("[?] (?=[A-Z])"), "?\n")]
# Every quantifier is possessive and a run of stops is entered at its first one only: time is linear in the text.
_END = re.compile(
    rf"[{_STOP}](?<![{_STOP}][{_STOP}])[{_STOP}]*+[\"'”’»)\]」』）]*+(\s*+)(?=[\"'“‘«(\[「『（¿¡#@]*+([^\W_a-z]))"
)
_LAST_WORD = re.compile(r"(?:[A-Za-z]\.)*[A-Za-z]+$")
_STARTER = re.compile(
    r"[\"'“‘«(\[]*(?:The|This|That|These|Those|There|Then|They|Their|It|Its|He|His|She|Her|We|Our|You|I|My|A|An|In|On|At|By|For|From"
    r"|With|But|And|So|If|As|When|While|After|Before|Since|However|Although|Also|According|What|Who|Why|How|One|Some|Many|Most|No"
    r"|Not|Both)[\s,]"
)


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text, stripped, none of them empty. Only white space between them is lost."""
    sentences: list[str] = []
    for other in "\r\x0c\u2028\u2029":
        text = text.replace(other, "\n")
    for plain, line_end in _PLAIN_ENDS:
        text = plain.sub(line_end, text)
    for line in text.split("\n"):
        start, inner = 0, line[:-1]  # a stop at the end of a line ends nothing more; other stops than these are not of ASCII
        if "." in inner or "!" in inner or "?" in inner or not inner.isascii():
            for end in _END.finditer(line):
                if _is_end(line, start, end):
                    sentences.append(line[start : end.start(1)].strip())
                    start = end.end()
        if piece := line[start:].strip():
            sentences.append(piece)
    return sentences


def _is_end(line: str, start: int, end: re.Match[str]) -> bool:
    """Return whether the sentence that began at `start` ends with this stop."""
    at, gap, following = end.start(), end[1], end[2]
    if following.islower():
        return False
    stop = line[at]
    if not gap:  # Chinese and Japanese need no space; Korean often goes without after a verb: "갔다.그리고"
        return stop in "。！？" or ("가" <= following <= "힣" and line[at - 1] in "다요죠까" and "가" <= line[at - 2] <= "힣")
    if stop != "." or line[at + 1] == ".":
        return True
    word = line[max(start, line.rfind(" ", start, at) + 1) : at]
    if len(word) > 1 and word.isalpha() and word.lower() not in _ABBREVIATIONS:
        return True
    if line[start:at].strip().isdigit():  # "1. First of a list"
        return False
    found = _LAST_WORD.search(line, max(start, at - 16), at)
    if found is None:
        return True
    name = found[0].lower()
    if name in _NEVER:
        return False
    if name in _NUMBERED:
        return not following.isdigit()
    if name in _SELDOM or (found[0][0].isupper() and (len(name) == 1 or "." in name)):  # an initial, U.S.
        return _STARTER.match(line, end.end()) is not None
    return True
