"""Text to show: a terminal must run no control sequence of a stranger's, a spreadsheet no formula; numbers with nouns."""

from __future__ import annotations

import re

_LINE_BREAK = re.compile("[\t\n\v\f\r\x85\u2028\u2029]+")
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0 and C1, which begin escape sequences
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # bidirectional controls, which reorder what is read
    "\u200b\u2060-\u2065\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # what is not seen at all
    "\ud800-\udfff]"
)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_FORMULA = re.compile("'*\\s*[=+@＝＋－＠-]|'*[\t\r\n]")


def unformula(cell: str) -> str:
    """Return a cell of a CSV file with an apostrophe in front where a spreadsheet would run it as a formula.

    That is one that begins with = + - @ (also in full width, as Korean and Japanese input methods write them, and after blanks
    or line ends) or with a tab or line end (OWASP, CSV injection). A number, such as an id or a label of -1, is none.
    `reformula` takes the apostrophe away.
    """
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell


def reformula(cell: str) -> str:
    """Return the cell that `unformula` was given."""
    return cell[1:] if cell.startswith("'") and unformula(cell[1:]) == cell else cell


def count(number: int, noun: str) -> str:
    """Return a number with its noun: "1 row", "1,234 rows"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def printable(text: str, most: int | None = None) -> str:
    """Return `text` on one line, with control characters spelled as Python spells them (an escape shows as \\x1b).

    Args:
        most: characters of the result, an ellipsis included; None for all.
    """
    shown = _CONTROL.sub(lambda match: ascii(match[0])[1:-1], _LINE_BREAK.sub(" ", text))
    return shown if most is None or len(shown) <= most else shown[: most - 1] + "…"
