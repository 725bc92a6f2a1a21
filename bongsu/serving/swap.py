"""The bundle that serves, and how another takes its place under load.

A new bundle is opened and tried beside the old one, and takes its place only when it works. Requests already accepted are
answered by the bundle they were accepted for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np

from bongsu.errors import WorkspaceError
from bongsu.inference.onnx import BundlePredictor
from bongsu.serving.model import Model

_TRIAL = ["Forest fire near the town, people are being evacuated.", "규모 5.1 지진으로 건물이 무너졌습니다.", "", "🔥"]


class Slot:
    """Holds the model that serves."""

    def __init__(self, load: Callable[[], BundlePredictor]) -> None:
        """Loads the first model.

        Raises:
            BongsuError: what `load` raises.
        """
        self._load = load
        self._swapping = asyncio.Lock()
        self.model = self._loaded()

    async def swap(self) -> Model:
        """Loads again and, when what was loaded works, serves from it.

        Raises:
            BongsuError: when it does not; the old model serves on.
        """
        async with self._swapping:
            self.model = await asyncio.to_thread(self._loaded)
            return self.model

    def _loaded(self) -> Model:
        """A fresh model, once it has answered as it should; this warms it up too."""
        predictor = self._load()
        pairs = predictor.task.pairs
        table = predictor.probabilities([(text, text) for text in _TRIAL] if pairs else _TRIAL)
        if not np.isfinite(table).all():
            raise WorkspaceError(f"Bundle {predictor.version}: answers what is no number. Export the run again.")
        return Model(predictor)
