"""A byte that flipped in a run's model folders is noticed before anything is trained on it or predicted with it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import bongsu
from bongsu.errors import WorkspaceError
from bongsu.files import HASHES
from bongsu.model.io import load_encoder, read_config
from bongsu.model.tfidf import constant_tfidf, load_tfidf
from bongsu.tokens.bpe import load_tokenizer


def change(path: Path) -> None:
    """Change a file so that it can still be read."""
    content = bytearray(path.read_bytes())
    if path.suffix == ".json":
        content += b"\n"
    else:
        content[-4] ^= 1  # the last bits of a weight
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_changed_model_does_not_predict(made_run: Path, tmp_path: Path, name: str) -> None:
    run = shutil.copytree(made_run, tmp_path / "run")
    assert len(bongsu.load(run).predict(["fire"])) == 1
    change(run / "finetune" / "model" / name)
    with pytest.raises(WorkspaceError, match=f"{name}: its content has changed"):
        bongsu.load(run)


def test_a_changed_encoder_is_not_trained_on(made_run: Path, tmp_path: Path) -> None:
    [weights] = (made_run / "pretrain").rglob("model/model.safetensors")
    folder = shutil.copytree(weights.parent, tmp_path / "encoder")
    load_encoder(folder)
    load_tokenizer(folder)
    change(folder / "model.safetensors")
    with pytest.raises(WorkspaceError, match="content has changed"):
        load_encoder(folder)
    change(folder / "tokenizer.json")
    with pytest.raises(WorkspaceError, match="content has changed"):
        load_tokenizer(folder)


def test_a_changed_partner_is_refused(tmp_path: Path) -> None:
    constant_tfidf(np.array([0.5, -0.5])).save(tmp_path)
    assert load_tfidf(tmp_path) is not None
    change(tmp_path / "tfidf.safetensors")
    with pytest.raises(WorkspaceError, match="content has changed"):
        load_tfidf(tmp_path)


def test_a_folder_without_hashes_is_opened_and_damaged_hashes_are_not(made_run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(made_run / "finetune" / "model", tmp_path / "model")
    (folder / HASHES).write_text("[]")
    with pytest.raises(WorkspaceError, match=f"{HASHES}: damaged"):
        read_config(folder)
    (folder / HASHES).unlink()
    assert len(bongsu.load(folder).predict(["fire"])) == 1
