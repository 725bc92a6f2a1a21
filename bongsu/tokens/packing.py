"""Packing of sentences into rows of fixed length, so that little is padding and every batch has one shape.

Best-fit decreasing (Johnson 1974) fills rows of 64 tokens to about 95 % with messages. Segment ids keep the sentences of a row
apart, and positions restart with each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bongsu.arrays import Int64

_TRIALS = 64


@dataclass(frozen=True)
class BatchShape:
    """The shape every batch of a run has."""

    sentences: int
    rows: int
    row_length: int
    masked: int
    """Positions a batch reads predictions from; those not needed carry the target -100."""

    @property
    def positions(self) -> int:
        return self.rows * self.row_length


def batch_shape(lengths: Int64, row_length: int, mask_rate: float, sentences: int) -> BatchShape:
    """Return the shape of batches of `sentences` sentences, found by packing a few batches.

    The rows suffice for four batches in five: the others leave out a sentence or two, which costs less than rows that are
    empty in nearly every batch.
    """
    generator = np.random.default_rng(0)
    drawn = [generator.choice(lengths, sentences) for _ in range(_TRIALS)]
    rows = int(np.quantile([rows_needed(batch, row_length) for batch in drawn], 0.8, method="higher"))
    tokens = min(rows * row_length, max(int(batch.sum()) for batch in drawn))
    masked = math.ceil(mask_rate * tokens + math.sqrt(sentences))
    return BatchShape(sentences, rows, row_length, min(masked, rows * row_length))


def rows_needed(lengths: Int64, row_length: int) -> int:
    """Return the rows that `pack` fills when there are enough of them."""
    row, _, _ = pack(lengths, len(lengths), row_length)
    return int(row.max()) + 1


def sentences_for_tokens(lengths: Int64, tokens: int) -> int:
    """Return how many sentences have about `tokens` tokens."""
    return max(1, round(tokens / float(lengths.mean())))


def pack(lengths: Int64, rows: int, row_length: int) -> tuple[Int64, Int64, Int64]:
    """Place sentences into rows: the longest first, each where it leaves the least room.

    When there are too few rows, the shortest sentences, which would be left out, replace a longer one.

    Args:
        lengths: [sentences] int64, each in [1, row_length].

    Returns:
        row, column and segment (1 for the first sentence of a row) of each sentence, [sentences] int64 each; the row is -1
        for a sentence that found no room.
    """
    row_of = np.full(len(lengths), -1, dtype=np.int64)
    column_of = np.zeros(len(lengths), dtype=np.int64)
    rows_with_room: list[list[int]] = [[] for _ in range(row_length + 1)]
    used = [0] * rows
    opened = 0
    for index in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[index])
        room = next((room for room in range(length, row_length) if rows_with_room[room]), None)
        if room is not None:
            row = rows_with_room[room].pop()
        elif opened < rows:
            row, opened = opened, opened + 1
        else:
            continue
        row_of[index], column_of[index] = row, used[row]
        used[row] += length
        rows_with_room[row_length - used[row]].append(row)
    _make_room(lengths, row_of, column_of)
    return row_of, column_of, _segments(row_of, column_of)


def _make_room(lengths: Int64, row_of: Int64, column_of: Int64) -> None:
    """Replace a long sentence by those that found no room, the shortest that is long enough, while that helps."""
    while len(out := np.flatnonzero(row_of < 0)) > 1:
        placed = np.flatnonzero(row_of >= 0)
        out = out[np.argsort(lengths[out], kind="stable")]
        ends = np.cumsum(lengths[out])
        roomy = placed[lengths[placed] >= ends[-1]]
        yields = roomy[np.argmin(lengths[roomy])] if len(roomy) else placed[np.argmax(lengths[placed])]
        fit = int(np.searchsorted(ends, lengths[yields], side="right"))
        if fit < 2:
            return
        row_of[out[:fit]] = row_of[yields]
        column_of[out[:fit]] = column_of[yields] + ends[:fit] - lengths[out[:fit]]
        row_of[yields] = -1


def _segments(row_of: Int64, column_of: Int64) -> Int64:
    """Return the number of each sentence in its row, from 1, left to right."""
    order = np.lexsort((column_of, row_of))
    first = np.searchsorted(row_of[order], row_of)  # where each sentence's row begins in `order`
    segment_of = np.empty_like(row_of)
    segment_of[order] = np.arange(len(row_of)) + 1
    return segment_of - first
