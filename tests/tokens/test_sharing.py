"""A batch dealt out: the parts are the batch, no more and no less, all of one shape."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bongsu.tokens.batches import IGNORE, Batch
from bongsu.tokens.sharing import shard_batch


def made(rows: int, length: int, counts: list[int], spare: int, seed: int) -> Batch:
    """A batch whose row r has `counts[r]` targets, with `spare` positions that are read in vain."""
    draw = np.random.default_rng(seed)
    read = np.concatenate(
        [row * length + np.sort(draw.choice(length, count, replace=False)) for row, count in enumerate(counts)]
    ).astype(np.int64)
    return Batch(
        input_ids=draw.integers(3, 1000, (rows, length)),
        segment_ids=draw.integers(0, 4, (rows, length)),
        positions=draw.integers(0, length, (rows, length)),
        query_positions=np.concatenate([read, np.zeros(spare, dtype=np.int64)]),
        targets=np.concatenate([draw.integers(3, 1000, len(read)), np.full(spare, IGNORE)]),
    )


def told(batch: Batch) -> list[tuple[object, ...]]:
    """Each target with what its row shows around it."""
    length = batch.input_ids.shape[1]
    rows = [arrays.tolist() for arrays in (batch.input_ids, batch.segment_ids, batch.positions)]
    return [
        (int(target), int(place) % length, *(tuple(array[int(place) // length]) for array in rows))
        for place, target in zip(batch.query_positions, batch.targets, strict=True)
        if target != IGNORE
    ]


@given(
    counts=st.lists(st.integers(0, 8), min_size=1, max_size=12),
    spare=st.integers(0, 5),
    parts=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_the_parts_are_the_batch(counts: list[int], spare: int, parts: int, seed: int) -> None:
    length = 8
    batch = made(len(counts), length, counts, spare, seed)
    shares = [shard_batch(batch, part, parts) for part in range(parts)]
    assert sorted(line for share in shares for line in told(share)) == sorted(told(batch))
    assert sum(share.share for share in shares) == pytest.approx(1.0 if sum(counts) else float(parts == 1))
    shapes = {(share.input_ids.shape, share.query_positions.shape, share.targets.shape) for share in shares}
    assert len(shapes) == 1
    assert shares[0].input_ids.shape == (math.ceil(len(counts) / parts), length)
    shown = [row for share in shares for row in share.input_ids.tolist() if any(row)]
    assert sorted(shown) == sorted(batch.input_ids.tolist())


def test_the_work_is_spread_evenly() -> None:
    counts = np.random.default_rng(0).poisson(18, 184).tolist()
    batch = made(184, 128, counts, 40, 0)
    shares = [told(shard_batch(batch, part, 8)) for part in range(8)]
    assert max(map(len, shares)) - min(map(len, shares)) <= 8
    assert shard_batch(batch, 0, 8).share == pytest.approx(1 / 8, rel=0.02)
