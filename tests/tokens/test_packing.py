"""Rows: nothing overlaps, nothing is lost when there is room, and little is empty."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bongsu.tokens.packing import batch_shape, pack, rows_needed, sentences_for_tokens


def cover(lengths: np.ndarray, rows: int, row_length: int) -> np.ndarray:
    """How often each place is used, checking segments on the way. [rows, row_length]."""
    row, column, segment = pack(lengths, rows, row_length)
    used = np.zeros((rows, row_length), dtype=int)
    for sentence in np.flatnonzero(row >= 0):
        assert 0 <= row[sentence] < rows
        assert column[sentence] + lengths[sentence] <= row_length
        used[row[sentence], column[sentence] : column[sentence] + lengths[sentence]] += 1
    for number in range(rows):
        here = np.flatnonzero(row == number)
        by_place = here[np.argsort(column[here])]
        assert segment[by_place].tolist() == list(range(1, len(here) + 1))
    return used


@given(data=st.data(), row_length=st.integers(1, 40))
def test_sentences_do_not_overlap_and_all_are_placed_when_there_is_room(data: st.DataObject, row_length: int) -> None:
    lengths = np.array(data.draw(st.lists(st.integers(1, row_length), min_size=1, max_size=60)), dtype=np.int64)
    enough = rows_needed(lengths, row_length)
    # First-fit and best-fit decreasing need at most 11/9 of the best plus 6/9 (Dosa 2007); no packing beats the total.
    bound = max(math.ceil(lengths.sum() / row_length), int((lengths > row_length / 2).sum()))
    assert bound <= enough <= len(lengths)
    used = cover(lengths, enough, row_length)
    assert used.max() == 1
    assert used.sum() == lengths.sum()

    fewer = cover(lengths, max(1, enough - 1), row_length)
    assert fewer.max() == 1


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=7))
def test_few_rows_more_than_the_best_packing(lengths: list[int]) -> None:
    """Against the fewest rows there are, by exhaustive search."""

    def best(left: list[int], rooms: tuple[int, ...]) -> int:
        if not left:
            return len(rooms)
        choices = [
            best(left[1:], (*rooms[:i], room - left[0], *rooms[i + 1 :])) for i, room in enumerate(rooms) if room >= left[0]
        ]
        return min([*choices, best(left[1:], (*rooms, 9 - left[0]))])

    assert rows_needed(np.array(lengths), 9) <= 11 / 9 * best(sorted(lengths, reverse=True), ()) + 6 / 9


def test_when_rows_are_too_few_one_sentence_makes_room_for_many() -> None:
    row, column, segment = pack(np.array([3, 8, 7, 2]), 2, 8)
    assert row.tolist() == [1, 0, -1, 1]
    assert column[[0, 3]].tolist() == [2, 0]
    assert segment[[0, 1, 3]].tolist() == [2, 1, 1]


@pytest.mark.parametrize("row_length", [64, 128])
def test_rows_of_messages_are_nearly_full(row_length: int) -> None:
    generator = np.random.default_rng(1)
    lengths = np.clip(np.round(generator.gamma(3.5, 6.5, 20_000)), 3, row_length).astype(np.int64)  # about 23 tokens
    shape = batch_shape(lengths, row_length, 0.15, 128)
    fills, left = [], []
    for _ in range(60):
        batch = generator.choice(lengths, 128)
        used = cover(batch, shape.rows, row_length)
        assert used.max() == 1
        fills.append(used.mean())
        left.append((pack(batch, shape.rows, row_length)[0] < 0).mean())
    assert np.mean(fills) >= 0.93
    assert np.mean(left) < 0.005


@pytest.mark.parametrize("sentences", [1, 2, 7, 64])
def test_a_shape_is_never_empty(sentences: int) -> None:
    shape = batch_shape(np.array([1, 5, 8]), 8, 0.15, sentences)
    assert shape.rows >= 1
    assert 1 <= shape.masked <= shape.positions == shape.rows * 8
    assert shape.sentences == sentences


def test_sentences_for_tokens() -> None:
    assert sentences_for_tokens(np.array([10, 20, 30]), 4000) == 200
    assert sentences_for_tokens(np.array([500]), 10) == 1
