"""Every kind of task the whole way: rows, folds, report, predictions, export, and the answers of both engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

import bongsu
from bongsu.export.bundle import export_onnx
from bongsu.files import read_json
from bongsu.inference.onnx import BundlePredictor
from bongsu.model.encoder import EncoderConfig
from bongsu.model.initialization import initialize
from bongsu.model.io import save_encoder
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.pipeline.predicting import predict_file
from bongsu.pipeline.running import run
from bongsu.recipe import parse_recipe
from bongsu.tokens.bpe import save_tokenizer

pytestmark = pytest.mark.slow

WORDS = ["bada", "gufe", "rimo", "kota", "lapi", "바다"]
TEXTS = [f"{WORDS[n % 6]} {WORDS[n % 5]} number {n * 37} {WORDS[(n * n) % 6]}" for n in range(60)]


def lines(*rows: str) -> str:
    return "\n".join(rows) + "\n"


def squad() -> str:
    questions = [
        {"context": text, "qas": [{"id": str(n), "question": f"what is {WORDS[n % 6]}?", "answers": [
            {"text": f"number {n * 37}", "answer_start": text.index("number")}] if n % 4 else []}]}
        for n, text in enumerate(TEXTS)
    ]  # fmt: skip
    return json.dumps({"data": [{"title": "t", "paragraphs": questions}]})


FILES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "multilabel": (
        "train.csv",
        lines("text,labels", *(f'{text},"{",".join(w for w in WORDS[:3] if w in text)}"' for text in TEXTS)),
        {"min_rows": 2},
    ),
    "regression": ("train.csv", lines("text,score", *(f"{text},{n % 7}" for n, text in enumerate(TEXTS))), {}),
    "pair": (
        "train.csv",
        lines("sentence1,sentence2,label", *(f"{text},{TEXTS[n - n % 2]},{n % 2}" for n, text in enumerate(TEXTS))),
        {"symmetric": True},
    ),
    "tagging": (
        "train.jsonl",
        lines(*(json.dumps({"text": text, "spans": [[0, text.index(" "), "W"]]}) for text in TEXTS)),
        {},
    ),
    "answering": ("train.json", squad(), {"max_length": 32, "stride": 8}),
}


@pytest.fixture(scope="module")
def encoder(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kinds") / "encoder"
    model = MaskedLanguageModel(EncoderConfig(tokenizer.get_vocab_size(), "modern", 16, 1, 2, 32, "geglu", 0.0, 64))
    initialize(model, 1)
    save_encoder(folder, model)
    save_tokenizer(tokenizer, folder, 64)
    return folder


@pytest.mark.parametrize("kind", sorted(FILES))
def test_a_kind_goes_the_whole_way(kind: str, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The masked language model that goes along is the same for all kinds, and looked at elsewhere.
    monkeypatch.setattr("bongsu.export.bundle.masked_lm_folder", lambda run, recipe: None)
    name, content, settings = FILES[kind]
    source = tmp_path / name
    source.write_text(content, encoding="utf-8")
    recipe = parse_recipe(
        {
            "name": kind,
            "task": {"kind": kind, "train": str(source), "test": str(source), "max_length": 32, **settings},
            "finetune": {"encoder": str(encoder), "epochs": 1, "device": "cpu"},
            "validation": {"folds": 2, "seeds": 2},
            "predict": {"input": str(source), "format": "csv"},
        }
    )
    out = run(recipe, tmp_path / "run").path
    summary = read_json(out / "evaluation" / "summary.json")
    assert len(summary["sentences"]) == 2
    model = summary["task"]["models"]["this model"]
    assert set(model) == {metric.name for metric in bongsu.load(out).task.metrics}
    assert all(np.isfinite(value) for value in model.values())
    page = (out / "evaluation" / "report.html").read_text()
    assert all(baseline in page for baseline in summary["task"]["models"])
    rows = (out / "predictions" / "predictions.csv").read_text().splitlines()
    assert len(rows) == 1 + len(TEXTS)

    exported = tmp_path / "bundle"
    export_onnx(out, exported, int8=True)
    ours, theirs = bongsu.load(out), BundlePredictor.load(exported, "float32")
    examples = ours.task.read_unlabelled(str(source))
    encoded = ours.task.encode(ours.tokenizer, examples)
    for torch_output, onnx_output in zip(ours.backend.run(encoded), theirs.backend.run(encoded), strict=True):
        np.testing.assert_allclose(onnx_output, torch_output, atol=1e-5)
    assert len(theirs.predict_examples(examples[:5])) == len(ours.predict([example.raw for example in examples[:5]])) == 5
    found = predict_file(theirs, str(source), "jsonl")
    assert found.stats.used == len(found.content.splitlines()) == len(TEXTS)
    assert kind.capitalize() in (exported / "README.md").read_text()
    if not ours.task.pairs:
        np.testing.assert_allclose(ours.embed(TEXTS[:3]), theirs.embed(TEXTS[:3]), atol=1e-5)
