"""Draw what packing and masking do, as SVG, with the tokenizer that ships and the code that trains."""

from __future__ import annotations

from html import escape

import numpy as np
from tokenizers import Tokenizer

from bongsu.models import packaged
from bongsu.tokens.bpe import load_tokenizer
from bongsu.tokens.masking import mask_tokens
from bongsu.tokens.packing import pack, rows_needed
from bongsu.tokens.random import mix
from bongsu.tokens.special import MASK_ID

SENTENCES = [
    "The river is over the road in Oxford and two cars are in it.",
    "Anyone else feel that?",
    "다리가 무너졌어요",
    "Sirens in Hilo, go uphill now!",
    "this album is fire",
    "산불이 마을 뒤까지 내려왔어요 대피하세요",
    "Power is out in the whole valley since last night.",
    "ok",
]
ROW_LENGTH = 24
HUES = [210, 30, 120, 270, 350, 175, 55, 310]
STYLE = """<style>
text { font: 12px system-ui, sans-serif; fill: #222 } .small { font-size: 10px }
rect { stroke: #8888; stroke-width: .5 } .empty { fill: #8882 } .plain { fill: #8881 } .hidden { fill: #e67e22aa }
@media (prefers-color-scheme: dark) { text { fill: #ddd } }
</style>"""


def packing() -> str:
    """Return the sentences one a row, padded, and below the same sentences as `pack` lays them."""
    encoded = _encode(SENTENCES)
    lengths = np.array([len(tokens) for tokens in encoded])
    packed = rows_needed(lengths, ROW_LENGTH)
    row, column, _ = pack(lengths, packed, ROW_LENGTH)
    alone = [(place, 0) for place in range(len(encoded))]
    together = list(zip(row.tolist(), column.tolist(), strict=True))
    top, above = _rows("One sentence a row", alone, lengths, len(encoded), 0)
    bottom, height = _rows("Packed", together, lengths, packed, above + 16)
    return _svg(640, height, [*top, *bottom])


def masking() -> str:
    """Return the tokens of a sentence, and what the encoder sees of them in three epochs."""
    tokenizer = _tokenizer()
    tokens = np.array(_encode(SENTENCES[:1])[0])
    sentence = np.zeros(len(tokens), dtype=np.int64)
    parts = _lines(
        "the sentence", [_piece(tokenizer, token) for token in tokens.tolist()], np.zeros(len(tokens), dtype=bool), 0
    )
    for epoch in range(3):
        seen, chosen = mask_tokens(tokens, sentence, mix(0, epoch, np.arange(1)), 0.15, tokenizer.get_vocab_size())
        parts += _lines(f"epoch {epoch + 1}", [_piece(tokenizer, token) for token in seen.tolist()], chosen, 40 * (epoch + 1))
    return _svg(90 + 54 * len(tokens), 160, parts)


def _rows(title: str, places: list[tuple[int, int]], lengths: np.ndarray, rows: int, top: int) -> tuple[list[str], int]:
    full = lengths.sum() / (rows * ROW_LENGTH)
    parts = [f'<text x="0" y="{top + 12}">{title}: {rows} rows, {full:.0%} full</text>']
    cell = 640 / ROW_LENGTH
    for line in range(rows):
        parts.append(f'<rect class="empty" x="0" y="{top + 20 + 18 * line}" width="640" height="16"/>')
    for number, ((line, column), length) in enumerate(zip(places, lengths.tolist(), strict=True)):
        for place in range(length):
            x, y = (column + place) * cell, top + 20 + 18 * line
            fill = f"hsl({HUES[number]} 60% 60%)"
            parts.append(f'<rect x="{x:g}" y="{y}" width="{cell:g}" height="16" style="fill: {fill}"/>')
    return parts, top + 20 + 18 * rows


def _lines(title: str, pieces: list[str], marked: np.ndarray, top: int) -> list[str]:
    parts = [f'<text x="0" y="{top + 19}">{title}</text>']
    for place, (piece, hidden) in enumerate(zip(pieces, marked.tolist(), strict=True)):
        x, kind = 86 + 54 * place, "hidden" if hidden else "plain"
        parts.append(f'<rect class="{kind}" x="{x}" y="{top}" width="52" height="30"/>')
        parts.append(f'<text class="small" x="{x + 26}" y="{top + 19}" text-anchor="middle">{escape(piece)}</text>')
    return parts


def _piece(tokenizer: Tokenizer, token: int) -> str:
    return "[MASK]" if token == MASK_ID else tokenizer.decode([token]).strip()


def _encode(texts: list[str]) -> list[list[int]]:
    return [each.ids for each in _tokenizer().encode_batch(texts)]


def _tokenizer() -> Tokenizer:
    folder = packaged("bongsu:beacon", "encoder")
    assert folder is not None
    return load_tokenizer(folder)


def _svg(width: int, height: int, parts: list[str]) -> str:
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    return "\n".join([opening, STYLE, *parts, "</svg>"]) + "\n"
