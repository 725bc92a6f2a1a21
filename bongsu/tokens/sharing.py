"""Sharding a batch over processes, with masked positions, and so the work, spread evenly."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from bongsu.arrays import Int64
from bongsu.tokens.batches import IGNORE, Batch


def shard_batch(batch: Batch, part: int, parts: int) -> Batch:
    """Return the rows of `batch` for process `part` of `parts`.

    Rows are assigned from the one with the most targets down, in snake order, so that two parts differ by no more targets than
    two rows do. Every part of every batch has one shape: ⌈R / parts⌉ rows, and ⌈M / parts⌉ + L positions to
    predict.
    """
    if parts == 1:
        return batch
    rows, length = batch.input_ids.shape
    counted = batch.targets != IGNORE
    row, column = np.divmod(batch.query_positions, length)
    targets_in = np.bincount(row[counted], minlength=rows)
    height = math.ceil(rows / parts)
    mine = snake_partition(np.argsort(-targets_in, kind="stable"), height, parts)[part]

    place = np.full(rows, -1, dtype=np.int64)
    place[mine] = np.arange(len(mine))
    kept = counted & (place[row] >= 0)
    count = int(kept.sum())
    queries = np.zeros(
        min(len(batch.query_positions), math.ceil(len(batch.query_positions) / parts) + length, height * length), dtype=np.int64
    )
    targets = np.full(len(queries), IGNORE, dtype=np.int64)
    queries[:count], targets[:count] = place[row[kept]] * length + column[kept], batch.targets[kept]
    return dataclasses.replace(
        batch,
        input_ids=_padded(batch.input_ids[mine], height),
        segment_ids=_padded(batch.segment_ids[mine], height),
        positions=_padded(batch.positions[mine], height),
        query_positions=queries,
        targets=targets,
        share=count / max(1, int(counted.sum())),
        sentences=None
        if batch.sentences is None or batch.vectors is None
        else _padded(batch.sentences[mine], height, len(batch.vectors)),
    )


def snake_partition(order: Int64, height: int, parts: int) -> list[Int64]:
    """Partition `order` in snake order, one for each part in a round."""
    places = np.full(height * parts, -1, dtype=np.int64)
    places[: len(order)] = order
    rounds = places.reshape(height, parts)
    rounds[1::2] = rounds[1::2, ::-1]
    return [column[column >= 0] for column in rounds.T]


def _padded(rows: Int64, height: int, padding: int = 0) -> Int64:
    """Return the rows padded with rows of [PAD] to the full height."""
    return np.pad(rows, ((0, height - len(rows)), (0, 0)), constant_values=padding)
