"""Vectors of texts as a Parquet file."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from bongsu.arrays import Float32


def parquet_bytes(ids: Sequence[str], vectors: Float32) -> bytes:
    """Return a Parquet file with the columns `id` (text) and `vector` (a list of float32 of fixed size)."""
    columns = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    buffer = io.BytesIO()
    pq.write_table(pa.table({"id": pa.array(list(ids)), "vector": columns}), buffer)
    return buffer.getvalue()
