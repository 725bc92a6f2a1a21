"""A bundle that carries features of its training rows, opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from bongsu.inference.onnx import BundlePredictor
from bongsu.labelling.features import FEATURES, Stored


@pytest.fixture(scope="session")
def detector(with_features: Path) -> BundlePredictor:
    return BundlePredictor.load(with_features, "float32", sessions=2)


@pytest.fixture(scope="session")
def stored(detector: BundlePredictor) -> Stored:
    return Stored.load(detector.bundle.file(FEATURES))
