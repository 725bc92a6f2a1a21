"""Exported encoders in `transformers`, as stock ModernBERT, and back."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from made_run import make_run

from bongsu.errors import WorkspaceError
from bongsu.export.bundle import export_hf
from bongsu.export.modernbert import import_modernbert
from bongsu.files import read_json, write_json
from bongsu.model.io import load_masked_lm
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.tokens.bpe import load_tokenizer

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def exported(made_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hf") / "encoder"
    export_hf(made_run, folder)
    return folder


@pytest.fixture(scope="module")
def ours(made_run: Path) -> MaskedLanguageModel:
    return load_masked_lm(made_run / "pretrain" / "model")


@pytest.fixture(scope="module")
def batch(exported: Path, sentences: list[str]) -> dict[str, torch.Tensor]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported)
    return dict(tokenizer(sentences[:16], padding=True, truncation=True, return_tensors="pt"))


@torch.inference_mode()
def test_hidden_states_and_logits_are_ours(exported: Path, ours: MaskedLanguageModel, batch: dict[str, torch.Tensor]) -> None:
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(exported, trust_remote_code=False).eval()
    assert type(theirs).__name__ == "ModernBertForMaskedLM"
    ids, read = batch["input_ids"], batch["attention_mask"].bool()
    output = theirs(**batch, output_hidden_states=True)
    assert (output.logits - ours(ids))[read].abs().max() < 1e-4
    for one, other in zip(output.hidden_states[1:], ours.encoder.forward_layers(ids), strict=True):
        assert (one - other)[read].abs().max() < 1e-4
    encoder = transformers.AutoModel.from_pretrained(exported).eval()
    assert (encoder(**batch).last_hidden_state - ours.encoder(ids))[read].abs().max() < 1e-4


def test_the_tokenizer_and_the_pipeline_work(exported: Path, sentences: list[str], ours: MaskedLanguageModel) -> None:
    theirs, own = transformers.AutoTokenizer.from_pretrained(exported), load_tokenizer(exported)
    assert [theirs(text)["input_ids"] for text in sentences] == [own.encode(text).ids for text in sentences]
    found = transformers.pipeline("fill-mask", model=str(exported))("bada [MASK] gufe", top_k=3)
    with torch.inference_mode():
        logits = ours(torch.tensor([theirs("bada [MASK] gufe")["input_ids"]]))[0]
    assert theirs("bada [MASK] gufe")["input_ids"] == theirs("bada[MASK] gufe")["input_ids"]  # it takes the blank along
    place = theirs("bada [MASK] gufe")["input_ids"].index(theirs.mask_token_id)
    expected = logits[place].softmax(dim=-1).topk(3)
    assert [guess["token"] for guess in found] == expected.indices.tolist()
    assert [guess["score"] for guess in found] == pytest.approx(expected.values.tolist(), abs=1e-5)


def test_what_goes_out_comes_back_the_same(exported: Path, ours: MaskedLanguageModel, tmp_path: Path) -> None:
    assert import_modernbert(exported, tmp_path / "model")
    back = load_masked_lm(tmp_path / "model")
    assert back.encoder.config == ours.encoder.config
    for name, tensor in ours.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name


def test_the_verbs_do_it_too(made_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bongsu.cli import main

    for words in (["export", str(made_run), "--to", "hf", "--out", str(tmp_path / "hf")],
                  ["import", str(tmp_path / "hf"), "--out", str(tmp_path / "model")]):  # fmt: skip
        monkeypatch.setattr("sys.argv", ["bongsu", *words])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code in (0, None)
    assert load_masked_lm(tmp_path / "model").encoder.config == load_masked_lm(made_run / "pretrain" / "model").encoder.config
    for folder in (made_run, tmp_path):  # what stands there and is no export is not replaced
        with pytest.raises(WorkspaceError, match="holds something other than an export"):
            export_hf(made_run, folder)


@torch.inference_mode()
def test_what_transformers_saved_comes_in(exported: Path, batch: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """With a prediction head that was trained on, the hidden states are the same and the output is said not to be."""
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(exported).eval()
    theirs.head.dense.weight.add_(0.1)
    theirs.model.layers[0].mlp.Wi.weight.add_(0.01)
    theirs.save_pretrained(tmp_path / "trained")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(exported / name, tmp_path / "trained" / name)
    assert not import_modernbert(tmp_path / "trained", tmp_path / "model")
    hidden = load_masked_lm(tmp_path / "model").encoder(batch["input_ids"])
    expected = theirs.model(**batch).last_hidden_state
    assert (hidden - expected)[batch["attention_mask"].bool()].abs().max() < 1e-4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "bert"}, "ModernBERT folder is needed"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "window"),
        ({"layer_types": None, "global_attn_every_n_layers": 3}, "window"),
        ({"norm_bias": True}, "norm_bias"),
        ({"hidden_activation": "relu"}, "relu"),
        ({"hidden_size": 64}, "another shape"),
    ],
)
def test_a_model_ours_cannot_hold_is_refused(exported: Path, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    folder = shutil.copytree(exported, tmp_path / "theirs")
    write_json(folder / "config.json", {**read_json(folder / "config.json"), **change})
    with pytest.raises(WorkspaceError, match="has changed"):
        import_modernbert(folder, tmp_path / "model")
    (folder / "manifest.json").unlink()
    with pytest.raises(WorkspaceError, match=message):
        import_modernbert(folder, tmp_path / "model")
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(WorkspaceError, match="pickle form"):
        import_modernbert(folder, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_the_classic_encoder_is_refused_with_the_reason(tokenizer_folder: Path, sentences: list[str], tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", tokenizer_folder, sentences[:20], preset="classic")
    with pytest.raises(WorkspaceError, match="sinusoidal positions"):
        export_hf(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
