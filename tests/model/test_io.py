"""Model folders: what is saved comes back, and what cannot be opened is refused in words."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_encoders import shake, small

from bongsu.errors import WorkspaceError
from bongsu.model.encoder import Encoder
from bongsu.model.heads import CNNConfig, HeadConfig, PairConfig, TokenConfig
from bongsu.model.io import load_encoder, load_masked_lm, load_task_model, read_config, save_encoder, save_task_model
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.model.task_model import TaskModel


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_encoder(tmp_path / "model", MaskedLanguageModel(small()))
    return tmp_path / "model"


@pytest.mark.parametrize("preset", ["classic", "modern"])
def test_masked_lm_comes_back(tmp_path: Path, preset: str) -> None:
    model = MaskedLanguageModel(small(preset)).eval()
    shake(model)
    save_encoder(tmp_path, model, {"validation": {"loss": 2.5}})
    again = load_masked_lm(tmp_path)
    ids = torch.randint(0, 50, (2, 9))
    assert torch.equal(again(ids), model(ids))
    assert again.encoder.config == model.encoder.config
    assert read_config(tmp_path)["extra"] == {"validation": {"loss": 2.5}}
    assert len(load_file(tmp_path / "model.safetensors")) == len(list(model.parameters()))  # the tied matrix once
    again(ids).sum().backward()  # what was loaded can be trained on


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("head", [CNNConfig(2, (1, 4), 5), PairConfig(3), TokenConfig(4)])
def test_a_fine_tuned_model_comes_back_without_removed_layers_and_thawed(tmp_path: Path, head: HeadConfig, pairs: bool) -> None:
    model = TaskModel(Encoder(small()), head, pairs).eval()
    shake(model)
    model.remove_last(1)
    model.freeze()
    save_task_model(tmp_path, model, {"labels": ["other", "재난"]})
    again, extra = load_task_model(tmp_path)
    ids, text_ids = torch.randint(0, 50, (2, 3)), torch.tensor([[0, 1, 1], [0, 0, 1]])
    assert torch.equal(again(ids, text_ids), model(ids, text_ids))
    assert again.head.config == model.head.config
    assert again.pairs == pairs
    assert again.encoder.config.n_layers == 2
    assert all(parameter.requires_grad for parameter in again.parameters())
    assert extra == {"labels": ["other", "재난"]}


def test_an_encoder_is_read_without_its_output_layer(folder: Path) -> None:
    ids = torch.randint(0, 50, (2, 9))
    encoder = load_encoder(folder)
    assert torch.equal(encoder(ids), load_masked_lm(folder).encoder(ids))
    assert not hasattr(encoder, "output_bias")


def test_loading_leaves_the_random_numbers_alone(folder: Path) -> None:
    state = torch.random.get_rng_state()
    load_masked_lm(folder)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_other_kind_is_refused(folder: Path) -> None:
    with pytest.raises(WorkspaceError, match="of kind masked_lm, and one of kind task is needed; fine-tune it first"):
        load_task_model(folder)
    save_task_model(folder, TaskModel(Encoder(small()), TokenConfig(2)), {})
    with pytest.raises(WorkspaceError, match="kind masked_lm is needed; name the pre-trained model's folder"):
        load_masked_lm(folder)


def test_pickles_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(WorkspaceError, match=r"pytorch_model\.bin: .*pickle.*safetensors"):
        load_masked_lm(tmp_path)


@pytest.mark.parametrize("text", [None, "{", "[]", '{"sizes": [3]}'])
def test_a_folder_without_a_model_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(WorkspaceError, match=r"config\.json"):
        load_masked_lm(tmp_path)


@pytest.mark.parametrize("change", [{"d_modle": 3}, {"n_heads": "four"}, {"activation": "tanh"}, {"vocab_size": -1}])
def test_a_changed_config_is_refused(folder: Path, change: dict[str, object]) -> None:
    config = orjson.loads((folder / "config.json").read_bytes())
    config["encoder"].update(change)
    (folder / "config.json").write_bytes(orjson.dumps(config))
    with pytest.raises(WorkspaceError, match=r"config\.json"):
        load_masked_lm(folder)


def test_tensors_that_do_not_fit_are_named(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["output_bias"]
    tensors["encoder.final_norm.weight"] = torch.ones(3)
    tensors["encoder.pooler"] = torch.ones(1)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(WorkspaceError) as error:
        load_masked_lm(folder)
    assert "output_bias is missing" in str(error.value)
    assert "encoder.pooler belongs to no part" in str(error.value)
    assert "encoder.final_norm.weight has shape [3] instead of [16]" in str(error.value)


def test_missing_and_cut_off_weights_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(WorkspaceError, match="damaged"):
        load_masked_lm(folder)
    weights.unlink()
    with pytest.raises(WorkspaceError, match="no such file"):
        load_masked_lm(folder)
