"""An exported bundle against the run it is of, in torch."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_run import MAX_LENGTH, make_run

from bongsu.errors import DataError, WorkspaceError
from bongsu.export.bundle import export_onnx, run_recipe
from bongsu.files import read_json, write_json
from bongsu.finetuning.data import load_data
from bongsu.inference.bundle import MANIFEST, MASKED_LM, MODEL, MODEL_INT8, open_bundle, write_manifest
from bongsu.inference.onnx import BundlePredictor
from bongsu.inference.predictor import Predictor
from bongsu.inference.torch_backend import load_predictor
from bongsu.model.io import load_masked_lm
from bongsu.tokens.special import MASK_ID


@pytest.fixture(scope="module")
def detector(made_run: Path) -> Predictor:
    return load_predictor(made_run)


@pytest.fixture(scope="module")
def exact(bundle: Path) -> BundlePredictor:
    return BundlePredictor.load(bundle, "float32", sessions=2)


@pytest.fixture(scope="module")
def small(bundle: Path) -> BundlePredictor:
    return BundlePredictor.load(bundle, "int8", sessions=2)


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(st.text(max_size=30) | st.text("bada gufe 바다 [LINK]🔥", max_size=400), max_size=5))
def test_probabilities_are_those_of_torch(detector: Predictor, exact: BundlePredictor, texts: list[str]) -> None:
    expected = detector.probabilities(texts)
    assert exact.probabilities(texts).shape == expected.shape == (len(texts), 2)
    assert np.abs(exact.probabilities(texts) - expected).max(initial=0) < 1e-5


def test_verdicts_context_and_explanations_are_those_of_torch(
    detector: Predictor, exact: BundlePredictor, sentences: list[str]
) -> None:
    fronts = [["storm%20surge"] if index % 2 else [""] for index in range(60)]
    ours, theirs = exact.predict(sentences[:60], fronts), detector.predict(sentences[:60], fronts)
    assert [p.label for p in ours] == [p.label for p in theirs]
    assert {p.label for p in ours} == {"other", "disaster"}
    assert (exact.task.schema.labels, exact.task.names, exact.threshold) == (["0", "1"], ["other", "disaster"], 0.4)
    for one, other in zip(exact.explain(sentences[0]), detector.explain(sentences[0]), strict=True):
        assert one.text == other.text
        assert one.weight == pytest.approx(other.weight, abs=2e-5)


def test_the_tfidf_partner_is_exported_too(made_run: Path, sentences: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(made_run, run)
    data = load_data(run_recipe(run), run / "finetune" / "data")
    data.task.fit_tfidf(data.training).save(run / "finetune" / "model")
    loss = export_onnx(run, tmp_path / "bundle", int8=True)
    exported, kept = BundlePredictor.load(tmp_path / "bundle", "float32"), load_predictor(run)
    rows = data.take(data.splits[0][1])
    assert loss is not None
    assert loss.float32 == pytest.approx(kept.task.score(rows, kept.outputs_of(rows), kept.calibration)["accuracy"])
    expected = kept.probabilities(sentences[:50])
    np.testing.assert_allclose(exported.probabilities(sentences[:50]), expected, atol=1e-5)
    assert np.abs(expected - load_predictor(made_run).probabilities(sentences[:50])).max() > 0.05
    for one, other in zip(exported.explain(sentences[3]), kept.explain(sentences[3]), strict=True):
        assert one.weight == pytest.approx(other.weight, abs=2e-5)


def test_vectors_are_those_of_torch_and_of_length_one(
    detector: Predictor, exact: BundlePredictor, sentences: list[str]
) -> None:
    vectors = exact.embed([*sentences[:40], ""])
    np.testing.assert_allclose(vectors, detector.embed([*sentences[:40], ""]), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("engine", ["exact", "small"])
def test_a_text_is_answered_alike_in_any_company(engine: str, sentences: list[str], request: pytest.FixtureRequest) -> None:
    predictor: BundlePredictor = request.getfixturevalue(engine)
    batch = predictor.probabilities(sentences[:150])
    alone = np.concatenate([predictor.probabilities([text]) for text in sentences[:150]])
    with ThreadPoolExecutor(8) as clients:
        halves = list(clients.map(predictor.probabilities, (sentences[start : start + 7] for start in range(0, 150, 7))))
    assert np.abs(batch - alone).max() < (1e-5 if engine == "exact" else 1e-7)
    assert np.abs(np.concatenate(halves)[:150] - alone).max() < (1e-5 if engine == "exact" else 1e-7)


def test_int8_is_close_and_its_loss_is_told(
    small: BundlePredictor, exact: BundlePredictor, bundle: Path, made_run: Path, sentences: list[str]
) -> None:
    apart = np.abs(small.probabilities(sentences) - exact.probabilities(sentences))
    assert 0 < apart.max() < 0.2
    assert apart.mean() < 0.01
    config = read_json(bundle / "bundle.json")
    data = load_data(run_recipe(made_run), made_run / "finetune" / "data")
    rows = data.take(data.splits[0][1])
    for engine in (exact, small):
        score = engine.task.score(rows, engine.outputs_of(rows), engine.calibration)
        assert config["int8"][engine.engine] == pytest.approx(score["accuracy"])
    assert config["int8"]["rows"] == 100
    assert config["int8_accurate"] == (config["int8"]["points"] <= 0.5)
    assert (bundle / MODEL_INT8).stat().st_size < (bundle / MODEL).stat().st_size


def test_a_bundle_without_a_good_int8_engine_uses_the_exact_one(bundle: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bundle, tmp_path / "bundle")
    config = {**read_json(folder / "bundle.json"), "int8_accurate": False}
    write_json(folder / "bundle.json", config)
    _list_anew(folder)
    assert BundlePredictor.load(folder).engine == "float32"
    assert BundlePredictor.load(folder, "int8").engine == "int8"
    (folder / MODEL_INT8).unlink()
    _list_anew(folder)
    with pytest.raises(WorkspaceError, match="--int8"):
        BundlePredictor.load(folder, "int8")


def test_guesses_are_those_of_the_masked_language_model(exact: BundlePredictor, made_run: Path) -> None:
    model, tokenizer = load_masked_lm(made_run / "pretrain" / "model"), exact.tokenizer
    found = exact.fill_mask("bada [MASK] gufe 바다 [MASK]", top_k=4)
    before, between = tokenizer.encode("bada ").ids, tokenizer.encode(" gufe 바다 ").ids
    ids = torch.tensor([[*before, MASK_ID, *between, MASK_ID]])
    with torch.inference_mode():
        likeliest = model(ids)[0, ids[0] == MASK_ID].softmax(dim=-1).topk(4)
    for guesses, scores, tokens in zip(found, likeliest.values.tolist(), likeliest.indices.tolist(), strict=True):
        assert [share for _, share in guesses] == pytest.approx(scores, abs=1e-5)
        assert [text for text, _ in guesses] == [tokenizer.decode([token], skip_special_tokens=False) for token in tokens]


@pytest.mark.parametrize("text", ["no mask", "", "bada gufe " * MAX_LENGTH + "[MASK]"])
def test_a_text_without_a_mask_is_refused(exact: BundlePredictor, text: str) -> None:
    with pytest.raises(DataError, match="Put \\[MASK\\]"):
        exact.fill_mask(text)


def test_the_studys_encoder_and_three_classes_are_exported_too(
    tokenizer_folder: Path, sentences: list[str], tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", tokenizer_folder, sentences[:40], classes=3, preset="classic")
    shutil.rmtree(run / "pretrain")
    export_onnx(run, tmp_path / "bundle")
    predictor = BundlePredictor.load(tmp_path / "bundle")
    expected = load_predictor(run)
    assert np.abs(predictor.probabilities(sentences[:40]) - expected.probabilities(sentences[:40])).max() < 1e-5
    assert predictor.predict(sentences[:40])[0].label == expected.predict(sentences[:40])[0].label
    with pytest.raises(DataError, match="no masked language model"):
        predictor.fill_mask("[MASK]")


@pytest.mark.parametrize("name", [MODEL, MODEL_INT8, MASKED_LM, "tokenizer.json", "bundle.json", "README.md"])
def test_a_changed_or_missing_file_is_refused(bundle: Path, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(bundle, tmp_path / "bundle")
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(WorkspaceError, match=f"{name}: its content has changed"):
        BundlePredictor.load(folder)
    (folder / name).unlink()
    with pytest.raises(WorkspaceError, match=f"{name}: no such file"):
        BundlePredictor.load(folder)


def test_pickles_and_strange_manifests_are_refused(bundle: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bundle, tmp_path / "bundle")
    for name in ("pytorch_model.bin", "model.pt", "head.pkl"):
        (folder / name).write_bytes(b"\x80\x04.")
        with pytest.raises(WorkspaceError, match="pickle form are not opened"):
            open_bundle(folder)
        (folder / name).unlink()
    manifest = read_json(folder / MANIFEST)
    write_json(folder / MANIFEST, {**manifest, "sha256": {"../outside": "0"}})
    with pytest.raises(WorkspaceError, match="outside"):
        open_bundle(folder)
    write_json(folder / MANIFEST, {**manifest, "format": 99})
    with pytest.raises(WorkspaceError, match="format 99"):
        open_bundle(folder)
    (folder / MANIFEST).write_text("[]")
    with pytest.raises(WorkspaceError, match="damaged"):
        open_bundle(folder)
    with pytest.raises(WorkspaceError, match="no such folder"):
        open_bundle(tmp_path / "nowhere")


def test_versions_tell_bundles_apart(bundle: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bundle, tmp_path / "bundle")
    assert open_bundle(folder).version == open_bundle(bundle).version
    (folder / "README.md").write_text("another card")
    _list_anew(folder)
    assert open_bundle(folder).version != open_bundle(bundle).version


def test_the_card_tells_what_was_measured(bundle: Path) -> None:
    card = (bundle / "README.md").read_text()
    for expected in (
        "license: cc-by-4.0",
        "train.csv, 200 rows",
        "disaster: ",
        "bits per byte",
        "int8 engine, on 100 rows held out",
        "first 48 tokens",
        'name = "made"',
    ):
        assert expected in card


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="is missing"):
        export_onnx(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def _list_anew(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    write_manifest(folder, "onnx")
