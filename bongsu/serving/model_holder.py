"""The model that serves, and how another one replaces it under load.

A new bundle is opened and tried while the old one serves, and replaces it only when it works. Requests already accepted are
answered by the bundle they were accepted for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np

from bongsu.errors import WorkspaceError, panics_as_errors
from bongsu.inference.onnx import BundlePredictor
from bongsu.serving.model import Model

_TRIAL = ["Forest fire near the town, people are being evacuated.", "규모 5.1 지진으로 건물이 무너졌습니다.", "", "🔥"]


class ModelHolder:
    """Holds the model that serves."""

    def __init__(self, load: Callable[[], BundlePredictor]) -> None:
        """Load the first model.

        Raises:
            BongsuError: what `load` raises, or when the model does not answer as it should.
        """
        self._load = load
        self._swapping = asyncio.Lock()
        self.model = self._loaded()

    async def swap(self) -> Model:
        """Load again and, when the new model works, serve from it.

        Raises:
            BongsuError: when it does not; the old model keeps serving.
        """
        async with self._swapping:
            self.model = await asyncio.to_thread(self._loaded)
            return self.model

    def use(self, predictor: BundlePredictor) -> None:
        """Serve from a predictor that is loaded already, when it works; may be called from any thread.

        Raises:
            BongsuError: when it does not; the old model keeps serving.
        """
        _try(predictor)
        self.model = Model(predictor)

    async def works(self) -> bool:
        """Return whether the model that serves answers a few known texts."""
        try:
            await asyncio.to_thread(_try, self.model.predictor)
        except Exception:  # whatever it is, such a model answers nobody
            return False
        return True

    def _loaded(self) -> Model:
        predictor = self._load()
        _try(predictor)
        return Model(predictor)


def _try(predictor: BundlePredictor) -> None:
    """Let a predictor answer a few texts; this warms it up too.

    Raises:
        BongsuError: when it cannot, or its answers are not numbers.
    """
    with panics_as_errors(f"Bundle {predictor.version}: cannot answer a trial text"):
        pairs = predictor.task.pairs
        table = predictor.probabilities([(text, text) for text in _TRIAL] if pairs else _TRIAL)
    if not np.isfinite(table).all():
        raise WorkspaceError(f"Bundle {predictor.version}: its answers are not finite numbers. Export the run again.")
