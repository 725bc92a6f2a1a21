"""A bundle that carries features of its training rows."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from bongsu.inference.bundle import MANIFEST, write_manifest
from bongsu.inference.onnx import BundlePredictor
from bongsu.labelling.features import FEATURES, Rows, Stored

TRAINED = 200


def stored_of(detector: BundlePredictor, texts: list[str]) -> Stored:
    """Features of texts whose class is what the detector says, but for three in ten, from two events."""
    rows = Rows.of(detector, detector.examples(texts))
    flipped = np.random.default_rng(0).random(len(texts)) < 0.3
    targets = ((rows.logits > np.median(rows.logits)) ^ flipped).astype(np.int64)
    return Stored(rows, targets, np.arange(len(texts)) % 2, ["2013 flood", "2014 storm"], 0.04)


@pytest.fixture(scope="session")
def with_features(bundle: Path, sentences: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shutil.copytree(bundle, tmp_path_factory.mktemp("features") / "bundle")
    stored_of(BundlePredictor.load(folder, "float32"), sentences[:TRAINED]).save(folder / FEATURES)
    (folder / MANIFEST).unlink()
    write_manifest(folder, "onnx")
    return folder


@pytest.fixture(scope="session")
def detector(with_features: Path) -> BundlePredictor:
    return BundlePredictor.load(with_features, "float32", sessions=2)


@pytest.fixture(scope="session")
def stored(detector: BundlePredictor) -> Stored:
    return Stored.load(detector.bundle.file(FEATURES))
