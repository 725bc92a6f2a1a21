"""One small run and its ONNX bundle for all tests of the room."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_run import make_run


@pytest.fixture(scope="session")
def made_run(tokenizer_folder: Path, sentences: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("made") / "run", tokenizer_folder, sentences[:200])


@pytest.fixture(scope="session")
def bundle(made_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from bongsu.serving.export import export_onnx

    folder = tmp_path_factory.mktemp("made") / "bundle"
    export_onnx(made_run, folder, int8=True, licence="cc-by-4.0")
    return folder
