"""Documents into sentences, by a few rules that hold for English and Korean prose."""

from __future__ import annotations

import re

# An end: a stop with what closes after it, then space, then something a sentence begins with. Or a new line.
_END = re.compile(r"(?<=[.!?。！？…])[\"'”’)\]]*(\s+)(?=[\"'“‘(\[]*[A-Z0-9가-힣一-龥])|\s*\n\s*")
_ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|vs|etc|No|Fig|Inc|Ltd|Co|Corp|Gen|Col|Sgt|Lt|Gov|Sen|Rep|Rev|Mt|approx|cf|al|pp|vol"
    r"|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec)|\b[A-Z]|\b(?:[A-Za-z]\.)+[A-Za-z]|\be\.g|\bi\.e)\.$"
)


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, stripped, none of them empty. Only white space between them is lost."""
    sentences: list[str] = []
    start = 0
    for end in _END.finditer(text):
        if "\n" not in end.group() and _ABBREVIATION.search(text, max(start, end.start() - 12), end.start()):
            continue
        stop = end.start(1) if end.group(1) is not None else end.start()
        if piece := text[start:stop].strip():
            sentences.append(piece)
        start = end.end()
    if piece := text[start:].strip():
        sentences.append(piece)
    return sentences
