"""Repair of text whose bytes were read in the wrong encoding.

The disaster tweets went UTF-8 → cp1252 → MacRoman → latin-1 in part, which ftfy does not undo: an apostrophe became `\\x89Ûª`.
Such runs are turned back by hand. Everything else goes to ftfy, which is slow and so sees only texts with a sign of damage.
"""

from __future__ import annotations

import re

import ftfy

# What UTF-8's lead bytes became: E2 80 -> \x89Û, C2 -> å, C3 -> Ì. A healthy text has no such pairs.
_TWICE = re.compile("\x89Û[\x80-\xff_]|å[£¨©Ê«»¡¼¢´]|Ì[\x80-\xff]")
_SIGN = re.compile("[ÂÃâ][\x80-\xbf€™œ”“‚„…†‡ˆ‰Š‹ŒŽ‘’•–—˜š›žŸ]|ï»¿|[\x80-\x9f]|ðŸ")
# MacRoman has no ¦, the last byte of an ellipsis, and put _ in its place; cp1252 has no 9D, the last byte of a closing quote.
_ODD = {"\x89Û_": "…", "\x89Û\x9d": "”"}
_FTFY = ftfy.TextFixerConfig(unescape_html=False, normalization=None, fix_latin_ligatures=False, uncurl_quotes=False,
                               fix_character_width=False, remove_terminal_escapes=False, fix_line_breaks=False,
                               remove_control_chars=False, fix_surrogates=True, explain=False)  # fmt: skip


def repair(text: str) -> str:
    """The text as it was meant; a healthy text comes back unchanged."""
    if text.isascii():
        return text
    text = _TWICE.sub(_undo, text)
    return ftfy.fix_text(text, _FTFY) if _SIGN.search(text) else text


def _undo(match: re.Match[str]) -> str:
    run = match.group()
    if run in _ODD:
        return _ODD[run]
    try:
        return run.encode("latin-1").decode("mac_roman").encode("cp1252").decode("utf-8")
    except UnicodeError:
        return run
