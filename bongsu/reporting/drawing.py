"""Drawing charts with matplotlib, to SVG that adopts the style of the page it stands in.

Every colour in the SVG is a CSS variable with a fallback (`var(--blue, #2f6fde)`), and text stays text in the page's own font.
So a figure follows the page's light or dark look, and standing alone it still is a plain SVG. The same data give the same
bytes.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from bongsu.arrays import Array
from bongsu.files import write_bytes

# Mid tones, to be read on white and on near-black; the page may give its own for either.
COLOURS = {
    "text": "#1d232c", "ink": "#46505e", "grid": "#8b95a3",
    "blue": "#2f6fde", "orange": "#e0762f", "green": "#2a9d6a", "violet": "#8e63ce",
}  # fmt: skip
_KOREAN_FONTS = (
    "Noto Sans KR", "Noto Sans CJK KR", "Pretendard", "NanumGothic", "Malgun Gothic", "Apple SD Gothic Neo", "AppleGothic",
    "Source Han Sans KR", "UnDotum", "Noto Sans CJK JP",
)  # fmt: skip

_HANGUL_FIRST = 0xAC00
_INITIALS = ["g", "kk", "n", "d", "tt", "r", "m", "b", "pp", "s", "ss", "", "j", "jj", "ch", "k", "t", "p", "h"]
_VOWELS = [
    "a", "ae", "ya", "yae", "eo", "e", "yeo", "ye", "o", "wa", "wae", "oe", "yo", "u", "wo", "we", "wi", "yu", "eu", "ui", "i",
]  # fmt: skip
_FINALS = [
    "", "k", "k", "ks", "n", "nj", "nh", "t", "l", "lk", "lm", "lp", "ls", "lt", "lp", "lh", "m", "p", "ps", "t", "t", "ng",
    "t", "t", "k", "t", "p", "t",
]  # fmt: skip

_TAG = re.compile(r"<[^>]+>")  # what stands between tags may be a class's name, and is left alone


def canvas(panels: int, width: float = 3.3, height: float = 2.55) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width * panels, height), layout="constrained")
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])


def frame(axis: Axes, title: str, x: str, y: str = "") -> None:
    ink, grid = COLOURS["ink"], COLOURS["grid"]
    axis.set_title(title, loc="left", fontsize=11, fontweight="bold", color=ink, pad=10)
    axis.set_xlabel(x, fontsize=9, color=ink)
    axis.set_ylabel(y, fontsize=9, color=ink)
    axis.tick_params(labelsize=8.5, colors=ink, length=0, pad=5)
    axis.grid(True, color=grid, alpha=0.28, linewidth=0.7)
    axis.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set(color=grid, alpha=0.6, linewidth=0.8)
    axis.xaxis.set_major_locator(MaxNLocator(6))
    axis.yaxis.set_major_locator(MaxNLocator(6))
    axis.patch.set_alpha(0.0)


def line(axis: Axes, x: Array, y: Array, colour: str, label: str, alpha: float = 1.0, marker: str = "") -> None:
    style: dict[str, Any] = {"color": COLOURS[colour], "linewidth": 1.7, "markersize": 3.6, "solid_capstyle": "round"}
    axis.plot(x, y, alpha=alpha, label=label, marker=marker, **style)


def shown(name: str, length: int = 20) -> str:
    """Return a class's name for a chart: on one line, cut, without control characters, which XML forbids."""
    line = "".join(sign if sign.isprintable() else " " for sign in name)
    return line if len(line) <= length else line[: length - 1] + "…"


def legend(axis: Axes, columns: int = 1) -> None:
    if axis.get_legend_handles_labels()[1]:
        axis.legend(frameon=False, fontsize=8.5, labelcolor=COLOURS["ink"], handlelength=1.4, ncols=columns)


@cache
def _korean_font() -> str | None:
    """Return the best-known of the installed fonts with Hangul, or any that has it; None when there is none.

    The "Last Resort" font, which ships with matplotlib, has a box for every sign there is.
    """
    installed = {
        font.name: font.fname for font in reversed(font_manager.fontManager.ttflist) if not font.name.startswith("Last Resort")
    }
    known = next((name for name in _KOREAN_FONTS if name in installed), None)
    return known or next((name for name, path in installed.items() if _has_hangul(path)), None)


def _has_hangul(path: str) -> bool:
    try:
        return _HANGUL_FIRST in FT2Font(path).get_charmap()
    except (OSError, RuntimeError):  # a font that FreeType cannot read
        return False


def romanised(name: str) -> str:
    """Return a name with Hangul in Latin letters, syllable by syllable (Revised Romanization, without changes of sound)."""
    letters = []
    for sign in name:
        place = ord(sign) - _HANGUL_FIRST
        if 0 <= place < len(_INITIALS) * len(_VOWELS) * len(_FINALS):
            syllable, final = divmod(place, len(_FINALS))
            initial, vowel = divmod(syllable, len(_VOWELS))
            letters.append(_INITIALS[initial] + _VOWELS[vowel] + _FINALS[final])
        else:
            letters.append(sign)
    return "".join(letters)


def _latin_names(names: Sequence[str]) -> dict[str, str]:
    """Return names without signs that a font of Latin letters lacks: in Latin letters, or where that is not enough a number."""
    latin = {name: romanised(name) for name in names if not name.isascii()}
    numbers = {name: f"class {place}" for place, name in enumerate(names)}
    shown = [latin.get(name, name) for name in names]
    return {name: made if made.isascii() and shown.count(made) == 1 else numbers[name] for name, made in latin.items()}


def finish(figure: Figure, kind: str, png: Path | None, names: Sequence[str] = ()) -> str:
    """Return the chart as SVG text; `names` are the words that may need a Korean font in the PNG."""
    korean = _korean_font()
    settings: Any = {
        "font.family": ["DejaVu Sans", *([korean] if korean else [])],
        "svg.fonttype": "none",
        "svg.hashsalt": "bongsu",
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a sign no font here has: the browser has one
        for text in figure.findobj(Text):
            text.set(family=settings["font.family"], parse_math=False)  # a class may be called "$"
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
        if png is not None:
            _save_png(figure, png, names)
    return _for_page(buffer.getvalue().decode(), kind)


def _save_png(figure: Figure, path: Path, names: Sequence[str]) -> None:
    """Save a PNG; without a Korean font, names of classes are written in Latin letters."""
    if _korean_font() is None:
        plain = _latin_names(names)
        for text in figure.findobj(Text):
            for name, number in plain.items():
                text.set_text(text.get_text().replace(name, number))
        for axis in figure.axes:
            for axle in (axis.xaxis, axis.yaxis):
                labels = [label.get_text() for label in axle.get_ticklabels()]
                if any(label in plain for label in labels):
                    axle.set_ticklabels([plain.get(label, label) for label in labels])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160, facecolor="white", metadata={"Software": None})
    write_bytes(path, buffer.getvalue())


def _for_page(svg: str, kind: str) -> str:
    """Return SVG that takes colours, fonts and width from the page, with ids that no other chart has."""
    svg = re.sub(r"<(metadata|style).*?</\1>\s*", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    mark = f"{kind}-{hashlib.sha256(svg.encode()).hexdigest()[:8]}-"

    def dress(match: re.Match[str]) -> str:
        tag = re.sub(r"'DejaVu Sans'(, '[^']*')*", "var(--sans, sans-serif)", match[0])
        for name, colour in COLOURS.items():
            tag = tag.replace(colour, f"var(--{name}, {colour})")
        return re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", tag)

    svg = own_ids(re.sub(_TAG, dress, svg), mark)
    head, rest = svg.split(">", 1)
    width = re.search(r' width="([\d.]+)pt"', head)
    assert width is not None
    style = f"width: 100%; max-width: {float(width[1]) * 1.9:.0f}px; stroke-linejoin: round; stroke-linecap: butt"
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    return f'{head} style="{style}" role="img" aria-label="{kind}">{rest}'.strip() + "\n"


def own_ids(svg: str, mark: str) -> str:
    """Return the SVG with `mark` before each id and each reference to one, so that a page can hold it twice."""
    return re.sub(_TAG, lambda tag: re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{mark}", tag[0]), svg)
