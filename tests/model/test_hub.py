"""Encoders of `transformers` against `transformers` itself: hidden states, layers taken away, frozen, saved and read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from hub_folders import KINDS, hub_folder
from torch import nn

from bongsu.errors import WorkspaceError
from bongsu.model.heads import CNNConfig
from bongsu.model.hub import HubEncoder
from bongsu.model.io import load_encoder, load_task_model, read_config, save_task_model
from bongsu.model.task_model import TaskModel


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, sentences: list[str]) -> Path:
    return hub_folder(tmp_path_factory.mktemp(request.param), request.param, sentences)


def rows(encoder: HubEncoder) -> tuple[torch.Tensor, torch.Tensor]:
    """Two texts, the second one padded: ids and segment ids."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, encoder.config.vocab_size, (2, 9), generator=generator)
    ids[1, 6:] = encoder.config.pad_id
    return ids, (ids != encoder.config.pad_id).long()


def stock(folder: Path) -> Any:
    from transformers import AutoModel

    return AutoModel.from_pretrained(folder).eval()


def test_hidden_states_are_those_of_transformers(folder: Path) -> None:
    encoder = load_encoder(folder)
    assert isinstance(encoder, HubEncoder)
    ids, segments = rows(encoder)
    with torch.no_grad():
        theirs = stock(folder)(input_ids=ids, attention_mask=segments, output_hidden_states=True)
        last, layers = encoder(ids, segments), encoder.forward_layers(ids, segments)
    seen = segments.bool()
    torch.testing.assert_close(last[seen], theirs.last_hidden_state[seen], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layers[0][seen], theirs.hidden_states[1][seen], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layers[-1], last)
    assert len(layers) == encoder.config.n_layers == 3
    assert encoder.config.max_length == 40


def test_every_parameter_has_its_place_from_the_top_down(folder: Path) -> None:
    encoder = HubEncoder.open(folder)
    parts = encoder.modules_top_down()
    places = [id(parameter) for part in parts for parameter in part.parameters()]
    assert sorted(places) == sorted(id(parameter) for parameter in encoder.parameters())
    assert parts[1:4] == [encoder.layers[2], encoder.layers[1], encoder.layers[0]]


def test_layers_taken_away_and_the_rest_frozen(folder: Path) -> None:
    model = TaskModel(HubEncoder.open(folder), CNNConfig(2, (1, 2), 4))
    ids, segments = rows(model.encoder)  # type: ignore[arg-type]
    outputs = model.encoder.forward_layers(ids, segments)
    model.remove_last(1)
    assert model.encoder.config.n_layers == len(model.encoder.layers) == 2
    left = model.encoder.forward_layers(ids, segments)
    torch.testing.assert_close(left[0], outputs[0])
    if not hasattr(stock(folder), "final_norm"):
        torch.testing.assert_close(model.encoder(ids, segments), outputs[1])

    model.freeze(unfreeze_last=1)
    model.train()
    model(ids).sum().backward()
    learned = [all(p.grad is not None for p in part.parameters()) for part in model.encoder.modules_top_down()]
    assert learned == [True, True, False, False]
    assert not model.encoder.layers[0].training
    assert model.encoder.layers[1].training
    model.freeze(unfreeze_last=2)  # anew: what was frozen before is not
    assert all(parameter.requires_grad for parameter in model.encoder.layers.parameters())


def test_the_second_text_of_a_pair_has_its_token_type_where_there_are_some(folder: Path) -> None:
    encoder = HubEncoder.open(folder).eval()
    ids, segments = rows(encoder)
    text_ids = torch.tensor([[0] * 4 + [1] * 5] * 2)
    theirs = stock(folder)
    types = {"token_type_ids": text_ids} if getattr(theirs.config, "type_vocab_size", 0) > 1 else {}
    model = TaskModel(encoder, CNNConfig(2, (1, 2), 4), pairs=True).eval()
    assert not hasattr(model, "second_text")
    with torch.no_grad():
        found, plain = model.hidden(ids, text_ids)[0], model.hidden(ids)[0]
        expected = theirs(input_ids=ids, attention_mask=segments, **types).last_hidden_state
    seen = segments.bool()
    torch.testing.assert_close(found[seen], expected[seen], rtol=1e-4, atol=1e-5)
    assert torch.equal(found, plain) != bool(types)


def test_dropout_is_set_everywhere(folder: Path) -> None:
    encoder = HubEncoder.open(folder).train()
    ids, segments = rows(encoder)
    encoder.set_dropout(0.0)
    assert torch.equal(encoder(ids, segments), encoder(ids, segments))
    encoder.set_dropout(0.5)
    assert not torch.equal(encoder(ids, segments), encoder(ids, segments))
    assert {part.p for part in encoder.modules() if isinstance(part, nn.Dropout)} <= {0.5}


def test_a_fine_tuned_model_comes_back(folder: Path, tmp_path: Path) -> None:
    model = TaskModel(HubEncoder.open(folder), CNNConfig(2, (1, 3), 4)).eval()
    model.remove_last(1)
    save_task_model(tmp_path, model, {"labels": ["a", "b"]})
    state = torch.random.get_rng_state()
    again, extra = load_task_model(tmp_path)
    assert torch.equal(torch.random.get_rng_state(), state)
    ids, _ = rows(again.encoder)  # type: ignore[arg-type]
    assert torch.equal(again(ids), model(ids))
    assert again.encoder.config == model.encoder.config
    assert extra == {"labels": ["a", "b"]}


def test_pickles_and_unknown_folders_are_refused(tmp_path: Path, sentences: list[str]) -> None:
    made = hub_folder(tmp_path / "bert", "bert", sentences)
    torch.save({}, made / "pytorch_model.bin")
    HubEncoder.open(made)  # beside safetensors it is never opened
    (made / "model.safetensors").rename(tmp_path / "away")
    with pytest.raises(WorkspaceError, match=r"no weights in safetensors.*save_pretrained"):
        HubEncoder.open(made)
    (tmp_path / "away").rename(made / "model.safetensors")
    (made / "tokenizer.json").unlink()
    with pytest.raises(WorkspaceError, match=r"tokenizer\.json is missing\. Write it with AutoTokenizer"):
        HubEncoder.open(made)
    with pytest.raises(WorkspaceError, match="no such folder"):
        HubEncoder.open(tmp_path / "nowhere")
    with pytest.raises(WorkspaceError, match=r'write finetune\.encoder = "hf:'):
        read_config(made)


def test_code_that_comes_with_a_model_is_not_run(tmp_path: Path, sentences: list[str]) -> None:
    made = hub_folder(tmp_path / "bert", "bert", sentences)
    config = orjson.loads((made / "config.json").read_bytes())
    own = {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    (made / "config.json").write_bytes(orjson.dumps(config | own))
    (made / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(WorkspaceError, match="transformers cannot open it"):
        HubEncoder.open(made)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["gpt2", "albert"])
def test_what_is_no_encoder_of_layers_is_refused(tmp_path: Path, kind: str, sentences: list[str]) -> None:
    with pytest.raises(WorkspaceError, match=kind):
        HubEncoder.open(hub_folder(tmp_path / kind, kind, sentences))
