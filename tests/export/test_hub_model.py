"""A model on an encoder of `transformers`: from the folder to a bundle that needs neither `transformers` nor torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hub_folders import hub_folder
from transformers import AutoTokenizer

import bongsu
from bongsu.cli import main
from bongsu.errors import RecipeError
from bongsu.export.bundle import export_onnx
from bongsu.inference.onnx import BundlePredictor
from bongsu.pipeline.running import run as run_recipe
from bongsu.recipe import load_recipe
from bongsu.tokens.inputs import encode

pytestmark = pytest.mark.slow

ODD = ["", "a", "[MASK] [SEP] <mask> bada", "bada gufe " * 60, "재난 문자 🔥", "rimo kota [LINK]"]


@pytest.fixture(scope="module", params=["bert", "xlm-roberta", "modernbert"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, sentences: list[str]) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    hub_folder(folder / "encoder", request.param, sentences)
    rows = [f'{number},"{text}",{number % 2}' for number, text in enumerate(sentences[:60])]
    (folder / "train.csv").write_text("\n".join(["id,text,target", *rows]), encoding="utf-8")
    (folder / "recipe.toml").write_text(
        f'name = "hub"\n[task]\ntrain = "{folder}/train.csv"\nmax_length = 24\n[task.head]\nfilters = 4\n'
        f'[finetune]\nencoder = "hf:{folder}/encoder"\nepochs = 1\naugmentation = "aeda"\nlayer_decay = 0.8\n'
        "remove_last = 1\nencoder_dropout = 0.2\nrefit = false\n[validation]\nfolds = 0\ndiagnose = false\n"
        "[ensemble]\ntfidf = true\n"
    )
    return run_recipe(load_recipe(folder / "recipe.toml"), folder / "run", "finetune").path


def test_texts_are_read_as_the_models_own_tokenizer_reads_them(run: Path, sentences: list[str]) -> None:
    theirs = AutoTokenizer.from_pretrained(run.parent / "encoder")
    predictor = bongsu.load(run)
    texts = [text for text in [*sentences[:50], *ODD] if "[" not in text and "<" not in text]
    expected = theirs(texts, truncation=True, max_length=24)["input_ids"]
    assert [ids.tolist() for ids in encode(predictor.tokenizer, texts, 24)] == expected
    # What stands around a text is the tokenizer's, never the text's: these signs are read as signs.
    marked = encode(predictor.tokenizer, ["[MASK] [SEP] </s>"], 24)[0].tolist()
    assert marked[0] == theirs.cls_token_id
    assert marked.index(theirs.sep_token_id) == len(marked) - 1 or theirs.sep_token == "</s>"  # in Unigram's own pieces


def test_the_graph_answers_as_torch_does(run: Path, tmp_path: Path, sentences: list[str]) -> None:
    by_torch = bongsu.load(run)
    export_onnx(run, tmp_path / "bundle")
    predictor = BundlePredictor.load(tmp_path / "bundle", "float32")
    texts = [*sentences[60:100], *ODD]
    assert np.abs(predictor.probabilities(texts) - by_torch.probabilities(texts)).max() < 1e-5
    assert np.abs(predictor.embed(texts) - by_torch.embed(texts)).max() < 1e-5
    alone = np.concatenate([predictor.probabilities([text]) for text in texts])
    assert np.abs(predictor.probabilities(texts) - alone).max() < 1e-5
    for text in [*ODD, *sentences[60:63]]:
        ours, theirs = predictor.explain(text), by_torch.explain(text)
        assert [word.text for word in ours] == text.split()
        np.testing.assert_allclose([word.weight for word in ours], [word.weight for word in theirs], atol=2e-5)

    without = "import sys\nsys.modules.update(dict.fromkeys(['torch', 'transformers', 'sklearn'], None))\n"
    script = f"{without}import bongsu\nprint(bongsu.load({str(tmp_path / 'bundle')!r}).predict(['bada gufe'])[0].probability)"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(found.stdout) == pytest.approx(by_torch.predict(["bada gufe"])[0].probability, abs=1e-5)


def test_what_needs_a_masked_language_model_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text('[task]\ntrain = "train.csv"\n[finetune]\nencoder = "hf:somewhere"\n')
    with pytest.raises(RecipeError, match="only an encoder that Bongsu pre-trained"):
        load_recipe(tmp_path / "recipe.toml", ["adapt.epochs=1"])


def test_a_missing_folder_is_told_before_anything_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipe.toml").write_text(f'[task]\ntrain = "train.csv"\n[finetune]\nencoder = "hf:{tmp_path}/nowhere"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["bongsu", "run", str(tmp_path / "recipe.toml"), "--out", str(tmp_path / "run")])
        with pytest.raises(SystemExit) as stop:
            main()
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert "are missing" in error
    assert "nowhere (finetune.encoder)" in error.replace("\n", "")
