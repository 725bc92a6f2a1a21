"""Repair of text whose bytes were read in the wrong encoding.

The disaster tweets went UTF-8 → cp1252 → MacRoman → latin-1, which ftfy does not undo: an apostrophe became `\\x89Ûª`. Such
runs are turned back here. Everything else goes to ftfy, which is slow and so sees only texts with a sign of damage.

A healthy text must come back unchanged. Danish has `på»` and `blåøyd`, Italian `LUNEDÌ»`, Portuguese `AMANHÃ…`, French `été »`:
a pair that some language writes counts as damage only next to one that none does.
"""

from __future__ import annotations

import re

import ftfy
from ftfy.fixes import fix_c1_controls

_CONTINUATION = range(0x80, 0xC0)
_LEADS = {"\x89": b"\xe2", "å": b"\xc2", "Ì": b"\xc3"}  # the lead bytes E2, C2 and C3 after the journey


def _cp1252(byte: int) -> str:
    """Return the character cp1252 has for a byte; its five holes are read as latin-1, as browsers do."""
    return bytes([byte]).decode("cp1252", "ignore") or chr(byte)


def _twice(byte: int) -> str:
    """Return what a byte looks like after cp1252 → MacRoman → latin-1; `_` where MacRoman lacks the character."""
    character = _cp1252(byte)
    if 0x80 <= ord(character) < 0xA0:
        return character
    return character.encode("mac_roman", "replace").replace(b"?", b"_").decode("latin-1")


_BYTES = {seen: bytes([byte]) for byte in _CONTINUATION if (seen := _twice(byte)) != "_"}
_ANY = re.escape("".join(_BYTES))
_TWICE = re.compile(f"\x89[{_ANY}][{_ANY}_]|[åÌ][{_ANY}]")
_VISIBLE = re.escape("".join(seen for seen in _BYTES if ord(seen) >= 0xA0))
# A continuation byte behind a run would make it three bytes of another journey: 山 read as latin-1 is `å±±`.
_CERTAIN = re.compile(
    f"(?:\x89Û[{_ANY}_]|\x89[âã][{_VISIBLE}]|å[¢£¤¬©¨¡±µ¦¼ÊÁÇÂÈÀ]|å«(?<=[a-z]..)(?=[a-z])|Ì[¢£¤¬©¨¡±µ¦¼¥÷ªÑÐÝÛÄÜÎÔÕÏÇÂÊü])"
    "(?![\x80-\x88\x8a-\xbf])"
)

# UTF-8 read as cp1252 or latin-1: a lead byte's character and continuation bytes' characters behind it.
_OPEN = "\xa0«»‹›“”‘’‚„…–—•·°ºª™®©¡¿†‡´¨¹²³"  # those that healthy text also puts behind an accented letter
_CLOSED = "".join(
    character
    for character in dict.fromkeys([*map(_cp1252, _CONTINUATION), *map(chr, range(0xA0, 0xC0))])
    if character not in _OPEN and ord(character) >= 0xA0
)
_SIGN = re.compile(
    "[\x80-\x9f\xc2-\xf4‚√](?:"
    "(?<=[\x80-\x9f])"
    f"|(?<=[\xc2-\xd1\xd8\xd9])[{_CLOSED}]"  # Latin, Greek, Cyrillic, Arabic; not × and ß
    f"|(?<=(?<![A-ZÀ-Þ“‘„«])[ÂÃ])[{_OPEN}]"
    f"|(?<=[\xe0-\xef])(?:[{_CLOSED}][{_OPEN}{_CLOSED}]|[{_OPEN}][{_CLOSED}])"
    "|(?<=â)€|(?<=ð)Ÿ|(?<=ï)»¿"
    "|(?<=‚)Ä[^A-Za-z\\s]|(?<=√)[©≠®¢°´ß§±ºª∂•£¶∫])"  # read as MacRoman
)
# Control characters without a lead byte's character next to them can only stand for the characters that cp1252 has there.
_CONTROLS_ALONE = re.compile("[\x00-\x9f]*")
_ENCODING_ONLY = ftfy.TextFixerConfig(
    unescape_html=False,
    remove_terminal_escapes=False,
    fix_latin_ligatures=False,
    fix_character_width=False,
    uncurl_quotes=False,
    fix_line_breaks=False,
    remove_control_chars=False,
    normalization=None,
    explain=False,
)


def may_be_damaged(text: str) -> bool:
    """Return whether `repair` might change something."""
    return not text.isascii() and (_SIGN.search(text) or _CERTAIN.search(text)) is not None


def repair(text: str) -> str:
    """Return the text with its encoding damage undone; a healthy text is unchanged."""
    if text.isascii():
        return text
    if _CONTROLS_ALONE.fullmatch(text):
        return fix_c1_controls(text)
    if _CERTAIN.search(text):  # then every accented letter of the text has been through it
        text = _TWICE.sub(_undo, text)
    return ftfy.fix_text(text, _ENCODING_ONLY) if _SIGN.search(text) else text


def _undo(match: re.Match[str]) -> str:
    run = match.group()
    if run == "\x89Û_":  # MacRoman has no ¦, the last byte of an ellipsis
        return "…"
    try:
        return b"".join([_LEADS[run[0]], *(_BYTES[character] for character in run[1:])]).decode()
    except (KeyError, UnicodeDecodeError):
        return run
