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
from bongsu.export.bundle import export_onnx
from bongsu.export.card import model_card
from bongsu.export.quantization import Int8Loss
from bongsu.files import read_json, write_json
from bongsu.finetuning.data import Data, load_data
from bongsu.finetuning.ensemble import MEASURED, Measured
from bongsu.finetuning.ensemble import _save as save_measured
from bongsu.inference.bundle import MANIFEST, MASKED_LM, MODEL, MODEL_INT8, open_bundle, write_manifest
from bongsu.inference.onnx import BundlePredictor
from bongsu.inference.predictor import Predictor
from bongsu.inference.torch_backend import load_predictor
from bongsu.labelling.features import FEATURES, Stored
from bongsu.model.io import load_masked_lm
from bongsu.recipe import load_recipe
from bongsu.tasks.task import Calibration, Outputs
from bongsu.tokens.special import MASK_ID

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def by_torch(made_run: Path) -> Predictor:
    return load_predictor(made_run)


@pytest.fixture(scope="module")
def exact(bundle: Path) -> BundlePredictor:
    return BundlePredictor.load(bundle, "float32", sessions=2)


@pytest.fixture(scope="module")
def small(bundle: Path) -> BundlePredictor:
    return BundlePredictor.load(bundle, "int8", sessions=2)


@settings(max_examples=40)
@given(texts=st.lists(st.text(max_size=30) | st.text("bada gufe 바다 [LINK]🔥", max_size=400), max_size=5))
def test_probabilities_are_those_of_torch(by_torch: Predictor, exact: BundlePredictor, texts: list[str]) -> None:
    expected = by_torch.probabilities(texts)
    assert exact.probabilities(texts).shape == expected.shape == (len(texts), 2)
    assert np.abs(exact.probabilities(texts) - expected).max(initial=0) < 1e-5


def test_verdicts_context_and_explanations_are_those_of_torch(
    by_torch: Predictor, exact: BundlePredictor, sentences: list[str]
) -> None:
    fronts = [["storm%20surge"] if index % 2 else [""] for index in range(60)]
    ours, theirs = exact.predict(sentences[:60], fronts), by_torch.predict(sentences[:60], fronts)
    assert [p.label for p in ours] == [p.label for p in theirs]
    assert {p.label for p in ours} == {"other", "disaster"}
    assert (exact.details, exact.threshold) == (by_torch.details, 0.4)
    np.testing.assert_allclose(exact.embed(sentences[:60]), by_torch.embed(sentences[:60]), atol=1e-5)
    for one, other in zip(exact.explain(sentences[0]), by_torch.explain(sentences[0]), strict=True):
        assert one.text == other.text
        assert one.weight == pytest.approx(other.weight, abs=2e-5)


def held_out(run: Path) -> tuple[Data, list[str], np.ndarray]:
    """The rows that a run measured, their texts as they stand in the file, and their classes."""
    data = load_data(load_recipe(run / "recipe.toml"), run / "finetune" / "data")
    examples = data.take(np.sort(data.splits[0][1]))
    return data, [example.raw[0] for example in examples], np.array([int(example.target) for example in examples])


@pytest.mark.usefixtures("known_graphs")
def test_an_ensembles_partner_goes_along(made_run: Path, sentences: list[str], tmp_path: Path) -> None:
    run = shutil.copytree(made_run, tmp_path / "run")
    data, texts, labels = held_out(run)
    data.task.fit_tfidf(data.training).save(run / "finetune" / "model")
    loss = export_onnx(run, tmp_path / "bundle", int8=True)
    kept = load_predictor(run)
    right = (kept.probabilities(texts)[:, 1] >= 0.4) == labels
    assert loss is not None
    assert (loss.rows, loss.source, loss.metric) == (len(texts), "rows held out", "Accuracy")
    assert loss.float32 == pytest.approx(right.mean())
    exported = BundlePredictor.load(tmp_path / "bundle", "float32")
    expected = kept.probabilities(sentences[:50])
    np.testing.assert_allclose(exported.probabilities(sentences[:50]), expected, atol=1e-5)
    assert np.abs(expected - load_predictor(made_run).probabilities(sentences[:50])).max() > 0.05
    for one, other in zip(exported.explain(sentences[3]), kept.explain(sentences[3]), strict=True):
        assert one.weight == pytest.approx(other.weight, abs=2e-5)


@pytest.mark.parametrize("engine", ["exact", "small"])
def test_a_text_is_answered_alike_in_any_company(engine: str, sentences: list[str], request: pytest.FixtureRequest) -> None:
    predictor: BundlePredictor = request.getfixturevalue(engine)
    together = predictor.probabilities(sentences[:150])
    alone = np.concatenate([predictor.probabilities([text]) for text in sentences[:150]])
    with ThreadPoolExecutor(8) as clients:
        halves = list(clients.map(predictor.probabilities, (sentences[start : start + 7] for start in range(0, 150, 7))))
    assert np.abs(together - alone).max() < 1e-5
    assert np.abs(np.concatenate(halves)[:150] - alone).max() < 1e-5


def test_int8_is_close_and_its_loss_is_told(
    small: BundlePredictor, exact: BundlePredictor, bundle: Path, made_run: Path, sentences: list[str]
) -> None:
    apart = np.abs(small.probabilities(sentences) - exact.probabilities(sentences))
    assert 0 < apart.max() < 0.2
    assert apart.mean() < 0.01
    config = read_json(bundle / "bundle.json")
    _, texts, labels = held_out(made_run)
    said = [engine.probabilities(texts)[:, 1] >= 0.4 for engine in (exact, small)]
    for name, answers in zip(("float32", "int8"), said, strict=True):
        assert config["int8"][name] == pytest.approx((answers == labels).mean())
    assert config["int8"]["changed"] == (said[0] != said[1]).sum()
    assert config["int8"]["rows"] == len(texts) > 80
    assert config["int8"]["points"] == pytest.approx(100 * (config["int8"]["float32"] - config["int8"]["int8"]))
    assert config["int8_accurate"] == (config["int8"]["points"] <= 0.5)
    assert (bundle / MODEL_INT8).stat().st_size < (bundle / MODEL).stat().st_size


def test_a_bundle_without_a_good_int8_engine_uses_the_exact_one(bundle: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bundle, tmp_path / "bundle")
    config = read_json(folder / "bundle.json")
    for accurate, faster in ((False, True), (True, False), (True, True), (False, True)):
        write_json(folder / "bundle.json", {**config, "int8_accurate": accurate, "int8_faster": faster})
        _list_anew(folder)
        assert BundlePredictor.load(folder).engine == ("int8" if accurate and faster else "float32")
    assert BundlePredictor.load(folder, "int8").engine == "int8"
    (folder / MODEL_INT8).unlink()
    _list_anew(folder)
    with pytest.raises(WorkspaceError, match="--int8"):
        BundlePredictor.load(folder, "int8")


def test_guesses_are_those_of_the_masked_language_model(exact: BundlePredictor, made_run: Path) -> None:
    model, tokenizer = load_masked_lm(made_run / "pretrain" / "model"), exact.tokenizer
    found = exact.fill_mask("bada [MASK] gufe 바다 [MASK]", top_k=4)
    before, between = tokenizer.encode("bada").ids, tokenizer.encode(" gufe 바다").ids
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


def test_other_shapes_of_model_are_exported_too(tokenizer_folder: Path, sentences: list[str], tmp_path: Path) -> None:
    """The study's encoder, three classes, and kernels wider than most texts."""
    run = make_run(tmp_path / "run", tokenizer_folder, sentences[:40], 3, "classic", kernel_sizes=(1, 9))
    shutil.rmtree(run / "pretrain")
    export_onnx(run, tmp_path / "bundle")
    predictor, expected = BundlePredictor.load(tmp_path / "bundle"), load_predictor(run)
    assert np.abs(predictor.probabilities(sentences[:40]) - expected.probabilities(sentences[:40])).max() < 1e-5
    assert [p.label for p in predictor.predict(sentences[:40])] == [p.label for p in expected.predict(sentences[:40])]
    with pytest.raises(DataError, match="no masked language model"):
        predictor.fill_mask("[MASK]")
    assert not predictor.fills_masks


@pytest.mark.usefixtures("known_graphs")
def test_a_graph_that_answers_otherwise_is_not_written(made_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bongsu.export.bundle.TOLERANCE", 0.0)
    with pytest.raises(WorkspaceError, match="away from torch's; nothing is written"):
        export_onnx(made_run, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.usefixtures("known_graphs")
def test_int8_is_measured_on_test_rows_where_there_are_some_and_on_none_where_there_are_none(
    made_run: Path, sentences: list[str], tmp_path: Path
) -> None:
    run = shutil.copytree(made_run, tmp_path / "run")
    lines = (run / "finetune" / "data" / "train.jsonl").read_bytes().splitlines(keepends=True)
    (run / "finetune" / "data" / "test.jsonl").write_bytes(b"".join(lines[:30]))
    loss = export_onnx(run, tmp_path / "one", int8=True)
    assert loss is not None
    assert (loss.rows, loss.source) == (30, "test rows")
    shutil.rmtree(run / "finetune" / "data")
    assert export_onnx(run, tmp_path / "two", int8=True) is None
    assert BundlePredictor.load(tmp_path / "two").engine == "float32"  # of unknown loss
    assert BundlePredictor.load(tmp_path / "two", "int8").engine == "int8"


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


def test_the_card_tells_what_was_measured(bundle: Path, made_run: Path, tmp_path: Path) -> None:
    card = (bundle / "README.md").read_text()
    rows = len(held_out(made_run)[1])
    for expected in (
        "license: cc-by-4.0",
        "train.csv, 200 rows",
        "  - disaster: ",
        "bits per byte",
        f"int8 engine, on {rows} rows held out (which it was trained on",
        "first 48 tokens",
        'name = "made"',
    ):
        assert expected in card
    run = shutil.copytree(made_run, tmp_path / "run")
    (run / "evaluation").mkdir()
    write_json(run / "evaluation" / "summary.json", {"sentences": ["Accuracy 0.81 (0.79 to 0.83)."]})
    recipe = load_recipe(run / "recipe.toml", ["ensemble.tfidf=true", "finetune.refit=false"])
    loss = Int8Loss(rows, "rows held out", "Accuracy", 0.9, 0.8, 3)
    card = model_card(run, recipe, "onnx", None, loss)
    for expected in (
        "- Accuracy 0.81 (0.79 to 0.83).",
        "an ensemble of an encoder and TF-IDF",
        f"int8 engine, on {rows} rows held out: 3 answers changed, Accuracy 0.9000 in float32, 0.8000 in int8",
        "used only when asked for",
        "Not stated by whoever exported it",
    ):
        assert expected in card


@pytest.mark.usefixtures("known_graphs")
def test_features_are_those_of_rows_that_were_measured(made_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = shutil.copytree(made_run, tmp_path / "run")
    data = load_data(load_recipe(run / "recipe.toml"), run / "finetune" / "data")
    rows = np.sort(data.splits[0][1])
    said = np.random.default_rng(0).uniform(0.05, 0.95, len(rows))
    table = Outputs.of_rows(np.stack([1 - said, said], axis=1))
    empty, fold = Outputs.of_rows(np.zeros((0, 2))), np.zeros(len(rows), dtype=np.int64)
    measured = Measured(rows, fold, table, [table], table, [Calibration()], Calibration(), empty, {}, [], [1.0])
    save_measured(measured, run / "finetune" / "model" / MEASURED)
    export_onnx(run, tmp_path / "bundle")
    bundle = open_bundle(tmp_path / "bundle")
    stored = Stored.load(bundle.file(FEATURES))
    examples = data.take(rows)
    assert stored.targets.tolist() == [int(example.target) for example in examples]
    np.testing.assert_allclose(stored.rows.logits, np.log(said / (1 - said)), atol=0.01)  # not what the kept model says
    expected = load_predictor(run).backend.embed(data.task.encode(load_predictor(run).tokenizer, examples))
    np.testing.assert_allclose(stored.rows.pooled, expected, atol=0.01)
    assert (stored.names, stored.expected_error) == ([""], None)  # no event was left out
    size = bundle.file(FEATURES).stat().st_size
    monkeypatch.setattr("bongsu.export.features.LARGEST", size // 2)
    export_onnx(run, tmp_path / "small")
    half = Stored.load(open_bundle(tmp_path / "small").file(FEATURES))
    assert (tmp_path / "small" / FEATURES).stat().st_size <= size // 2
    assert 0.35 < len(half.targets) / len(stored.targets) < 0.55
    assert half.targets.mean() == pytest.approx(stored.targets.mean(), abs=0.02)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="is missing"):
        export_onnx(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def _list_anew(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    write_manifest(folder, "onnx")
