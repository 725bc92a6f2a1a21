"""Batch n as a pure function, and what a batch must hold."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import numpy as np
import pytest

from bongsu.recipe import Pretrain
from bongsu.tokens.batches import IGNORE, Batch, Batches, training_shape
from bongsu.tokens.shards import Shards

VOCAB = 30_000
SENTENCES = 1000


def make_shards(longest: int = 40, sentences: int = SENTENCES) -> Shards:
    """Sentences of 2 to `longest` tokens, spread as those of messages; the first token of each is its own, so that a batch
    tells who is in it."""
    lengths = np.clip(np.round(np.random.default_rng(0).gamma(3.5, longest / 6, sentences)), 2, longest).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = np.random.default_rng(1).integers(10_000, VOCAB, offsets[-1])
    tokens[offsets[:-1]] = 3 + np.arange(sentences)
    return Shards(tokens.astype(np.uint16), offsets, lengths * 4)


def make(shards: Shards, seed: int = 0, **changes: object) -> Batches:
    settings = Pretrain.model_validate({"batch_sentences": 64, "row_length": 64, **changes})
    return Batches(shards, training_shape(shards, settings), settings, VOCAB, seed)


def same(one: Batch, other: Batch) -> bool:
    return all(np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(Batch))


def original(batch: Batch) -> np.ndarray:
    """The rows before masking. [R, L]."""
    ids = batch.input_ids.copy().reshape(-1)
    real = batch.targets != IGNORE
    ids[batch.query_positions[real]] = batch.targets[real]
    return ids.reshape(batch.input_ids.shape)


def sentences_of(batch: Batch) -> list[list[int]]:
    """The original tokens of each sentence of a batch, read off segments."""
    rows = original(batch)
    return [
        rows[row][batch.segment_ids[row] == segment].tolist()
        for row in range(len(rows))
        for segment in range(1, batch.segment_ids[row].max() + 1)
    ]


@pytest.mark.parametrize("masking", ["dynamic", "static"])
def test_a_batch_depends_on_its_number_alone(masking: str) -> None:
    batches = make(make_shards(), masking=masking)
    numbers = [3, 0, 40, 3, 17, 40, 1]
    first = {n: make(make_shards(), masking=masking).batch(n) for n in set(numbers)}
    assert all(same(batches.batch(n), first[n]) for n in numbers)
    with ThreadPoolExecutor(4) as pool:
        assert all(same(batch, first[n]) for n, batch in zip(numbers, pool.map(batches.batch, numbers), strict=True))
    assert not same(first[0], make(make_shards(), seed=1, masking=masking).batch(0))


def test_shapes_and_types_never_change() -> None:
    batches = make(make_shards())
    shape = batches.shape
    for n in range(40):
        batch = batches.batch(n)
        for part in (batch.input_ids, batch.segment_ids, batch.positions):
            assert part.shape == (shape.rows, 64)
            assert part.dtype == np.int64
        assert batch.query_positions.shape == batch.targets.shape == (shape.masked,)
        assert batch.query_positions.min() >= 0
        assert batch.query_positions.max() < shape.positions


def test_sentences_stand_whole_and_in_order() -> None:
    shards = make_shards()
    batch = make(shards).batch(5)
    for tokens in sentences_of(batch):
        sentence = tokens[0] - 3
        assert tokens == shards.tokens[shards.offsets[sentence] : shards.offsets[sentence + 1]].tolist()
    for row in range(len(batch.segment_ids)):
        segments = batch.segment_ids[row]
        for segment in range(1, segments.max() + 1):
            places = np.flatnonzero(segments == segment)
            assert np.array_equal(places, np.arange(places[0], places[0] + len(places)))
            assert np.array_equal(batch.positions[row, places], np.arange(len(places)))
        padding = segments == 0
        assert not batch.input_ids[row, padding].any()
        assert not batch.positions[row, padding].any()


def test_targets_are_distinct_places_within_sentences() -> None:
    batch = make(make_shards()).batch(2)
    read = batch.query_positions[batch.targets != IGNORE]
    assert len(np.unique(read)) == len(read)
    assert (batch.segment_ids.reshape(-1)[read] > 0).all()
    assert abs(len(read) / (batch.segment_ids > 0).sum() - 0.15) < 0.02
    fates = batch.input_ids.reshape(-1)[read] == 2
    assert 0.65 < fates.mean() < 0.95


def test_every_epoch_visits_every_sentence_once() -> None:
    """1000 sentences in batches of 128: three epochs are 3000 sentences, 23 full batches and 56 sentences more."""
    batches = make(make_shards(), batch_sentences=128)
    visits = [tokens[0] - 3 for n in range(23) for tokens in sentences_of(batches.batch(n))]
    stream = 23 * 128
    count = np.bincount(visits, minlength=SENTENCES)
    assert count.max() <= 3
    assert len(visits) > 0.995 * stream  # in some batches one sentence finds no room
    assert (count == 3).sum() > 0.92 * SENTENCES  # the 56 of the last epoch still to come are among the others


def test_every_epoch_has_its_own_order() -> None:
    """1000 sentences in batches of 125: an epoch is 8 batches, and its first batch holds others than the last epoch's first."""
    batches = make(make_shards(), batch_sentences=125)
    first, second, third = ({tokens[0] for tokens in sentences_of(batches.batch(n))} for n in (0, 8, 16))
    for one, other in ((first, second), (second, third), (first, third)):
        assert len(one & other) < 40  # by chance 125 * 125 / 1000


def masks_of(batches: Batches, numbers: range) -> dict[int, list[tuple[int, ...]]]:
    """For each sentence what the encoder saw of it, visit by visit."""
    masks: dict[int, list[tuple[int, ...]]] = {}
    for n in numbers:
        batch = batches.batch(n)
        rows = original(batch)
        for row in range(len(rows)):
            for segment in range(1, batch.segment_ids[row].max() + 1):
                here = batch.segment_ids[row] == segment
                masks.setdefault(int(rows[row][here][0]), []).append(tuple(batch.input_ids[row][here]))
    return masks


def test_masks_are_drawn_anew_each_epoch_unless_static() -> None:
    dynamic = masks_of(make(make_shards()), range(31))
    static = masks_of(make(make_shards(), masking="static"), range(31))
    twice = [seen for seen in dynamic.values() if len(seen) == 2 and len(seen[0]) >= 20]
    assert len(twice) > 300
    assert sum(one == other for one, other in twice) < 5
    # Positions that more than fit in a batch are shown unmasked, which is rare.
    again = [seen for seen in static.values() if len(seen) == 2]
    assert sum(one != other for one, other in again) <= 0.01 * len(again)


def test_long_sentences_show_another_window_each_epoch() -> None:
    shards = make_shards(longest=300, sentences=50)
    batches = make(shards, batch_sentences=10)
    windows: dict[int, set[int]] = {}
    text = shards.tokens.tolist()
    for n in range(30):
        for tokens in sentences_of(batches.batch(n)):
            assert len(tokens) <= 64
            # Tokens beyond the first are drawn from 20,000, so two of them tell where the window is.
            at = next(i for i in range(len(text)) if text[i : i + len(tokens)] == tokens)
            sentence = int(np.searchsorted(shards.offsets, at, side="right")) - 1
            assert at + len(tokens) <= shards.offsets[sentence + 1]
            windows.setdefault(sentence, set()).add(at - int(shards.offsets[sentence]))
    lengths = np.diff(shards.offsets)
    assert all(len(windows[s]) >= 3 for s in windows if lengths[s] > 150)
    assert all(windows[s] == {0} for s in windows if lengths[s] <= 64)
    assert max(max(starts) for starts in windows.values()) > 100


@pytest.mark.parametrize("batch_sentences", [1, 3, 64])
@pytest.mark.parametrize("limit", [1, 100, 5000])
def test_validation_holds_each_sentence_once_and_never_changes(limit: int, batch_sentences: int) -> None:
    shards = make_shards(sentences=300)
    batches = make(shards, batch_sentences=batch_sentences)
    parts = batches.validation(limit)
    visits = [tokens[0] - 3 for batch in parts for tokens in sentences_of(batch)]
    assert sorted(visits) == sorted(set(visits))
    assert len(visits) == min(limit, 300)
    assert all(same(one, other) for one, other in zip(parts, batches.validation(limit), strict=True))
    assert {batch.input_ids.shape for batch in parts} == {(batches.shape.rows, 64)}


def test_validation_holds_sentences_longer_than_training_showed() -> None:
    short, long = make_shards(longest=10), make_shards(longest=60, sentences=300)
    settings = Pretrain(batch_sentences=20, row_length=64)
    parts = Batches(long, training_shape(short, settings), settings, VOCAB, 0).validation(300)
    visits = [tokens[0] - 3 for batch in parts for tokens in sentences_of(batch)]
    assert sorted(visits) == list(range(300))


def test_validation_masks_do_not_hang_on_how_many_are_measured() -> None:
    batches = make(make_shards())
    few, all_of_them = (
        {tuple(tokens) for batch in batches.validation(limit) for tokens in sentences_of(batch)} for limit in (100, 1000)
    )
    assert few < all_of_them


def test_batches_by_tokens() -> None:
    shards = make_shards()
    settings = Pretrain(batch_tokens=2048, row_length=64)
    shape = training_shape(shards, settings)
    assert shape.sentences == round(2048 / shards.lengths(64).mean())
    real = np.mean([(Batches(shards, shape, settings, VOCAB, 0).batch(n).segment_ids > 0).sum() for n in range(20)])
    assert abs(real - 2048) < 150


def test_the_mask_rate_changes_evenly_and_validation_is_left_alone() -> None:
    shards = make_shards()
    settings = Pretrain.model_validate({"batch_sentences": 64, "row_length": 64, "mask_rate": 0.15, "mask_rate_start": 0.3})
    falling = Batches(shards, training_shape(shards, settings), settings, VOCAB, 0, total=101)
    assert [falling.mask_rate(n) for n in (0, 50, 100, 200)] == pytest.approx([0.3, 0.225, 0.15, 0.15])

    def share(batches: list[Batch]) -> float:
        hidden = sum(int((batch.targets != IGNORE).sum()) for batch in batches)
        return hidden / sum(int((batch.segment_ids > 0).sum()) for batch in batches)

    assert share([falling.batch(n) for n in range(5)]) == pytest.approx(0.3, abs=0.01)
    assert share([falling.batch(n) for n in range(100, 110)]) == pytest.approx(0.15, abs=0.01)
    assert share(falling.validation(500)) == pytest.approx(0.15, abs=0.01)
    assert {len(falling.batch(n).query_positions) for n in (0, 60, 120)} == {falling.shape.masked}
