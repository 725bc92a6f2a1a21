"""What lies in a bundle's folder and is not in its manifest is never opened."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from bongsu.errors import DataError, WorkspaceError
from bongsu.files import read_json, write_json
from bongsu.inference.bundle import CONFIG, MANIFEST, MASKED_LM, MODEL, MODEL_INT8, open_bundle, write_manifest
from bongsu.inference.onnx import BundlePredictor, open_session
from bongsu.model.tfidf import FILES, constant_tfidf
from bongsu.tokens.bpe import TOKENIZER


def unlist(folder: Path, *names: str) -> None:
    manifest = read_json(folder / MANIFEST)
    for name in names:
        manifest["sha256"].pop(name, None)
    write_json(folder / MANIFEST, manifest)


@pytest.fixture
def folder(bundle: Path, tmp_path: Path) -> Path:
    return shutil.copytree(bundle, tmp_path / "bundle")


def test_an_added_int8_engine_does_not_answer(folder: Path) -> None:
    unlist(folder, MODEL_INT8)
    version = open_bundle(folder).version
    (folder / MODEL_INT8).write_bytes(b"whatever somebody put here")
    assert open_bundle(folder).version == version
    assert BundlePredictor.load(folder).engine == "float32"
    with pytest.raises(WorkspaceError, match="has no int8 engine"):
        BundlePredictor.load(folder, "int8")


def test_an_added_language_model_does_not_answer(folder: Path) -> None:
    unlist(folder, MASKED_LM)
    predictor = BundlePredictor.load(folder, "float32")
    assert not predictor.fills_masks
    with pytest.raises(DataError, match="no masked language model"):
        predictor.fill_mask("a [MASK]")


def test_an_added_partner_has_no_say(folder: Path) -> None:
    unlist(folder, *FILES)
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    before = BundlePredictor.load(folder, "float32").probabilities(["forest fire", "지진"])
    constant_tfidf(np.array([9.0, -9.0])).save(folder)
    np.testing.assert_array_equal(BundlePredictor.load(folder, "float32").probabilities(["forest fire", "지진"]), before)


@pytest.mark.parametrize("name", [MODEL, CONFIG, TOKENIZER])
def test_a_file_that_is_needed_must_be_listed(folder: Path, name: str) -> None:
    unlist(folder, name)
    with pytest.raises(WorkspaceError, match=f"{name}: {MANIFEST} does not list this file"):
        BundlePredictor.load(folder)


def test_a_model_whose_weights_are_in_another_file_is_refused(folder: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(folder / MODEL))
    path = tmp_path / "outside.onnx"
    onnx.save_model(model, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "weights.bin").is_file()
    with pytest.raises(WorkspaceError, match="keeps its weights in another file"):
        open_session(path)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a\0b", "a" * 5000, ""])
def test_a_manifest_that_lists_what_cannot_be_in_the_bundle_is_refused(folder: Path, name: str) -> None:
    manifest = read_json(folder / MANIFEST)
    write_json(folder / MANIFEST, {**manifest, "sha256": {**manifest["sha256"], name: "0" * 64}})
    with pytest.raises(WorkspaceError, match=r"outside of the bundle|no such file") as caught:
        open_bundle(folder)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "content", ["{}", "[]", '{"task": {"kind": "exec"}}', "[" * 10_000, '{"task": 5, "int8_accurate": {}}']
)
def test_a_bundle_signed_anew_with_false_settings_is_refused_in_a_line(folder: Path, content: str) -> None:
    (folder / CONFIG).write_text(content)
    (folder / MANIFEST).unlink()
    write_manifest(folder, "onnx")
    with pytest.raises(WorkspaceError):
        BundlePredictor.load(folder)
