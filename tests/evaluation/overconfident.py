"""A classifier that knows something, and says it too loudly."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax


def overconfident(rows: int = 4000, by: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Return labels [N] and logits [N, 2], which are `by` times as large as they should be."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(rows, 2)) * 1.5
    labels = (generator.random(rows) < softmax(logits, axis=1)[:, 1]).astype(np.int64)
    return labels, by * logits
