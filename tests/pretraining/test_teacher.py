"""A teacher's sentence vectors: computed as `transformers` does, learned from, and gone on with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
import torch
from hub_folders import hub_folder
from tokenizers import Tokenizer
from transformers import AutoModel, AutoTokenizer

from bongsu.errors import BongsuError
from bongsu.files import read_json
from bongsu.model.encoder import EncoderConfig
from bongsu.model.initialization import initialize
from bongsu.model.io import load_masked_lm
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.pipeline.running import run
from bongsu.pretraining import teacher
from bongsu.pretraining.masked_lm import MaskedLanguageModelling
from bongsu.pretraining.teacher import StudentModel
from bongsu.recipe import Pretrain, Recipe, parse_recipe
from bongsu.tokens.batches import Batches, training_shape
from bongsu.tokens.bpe import load_tokenizer
from bongsu.tokens.shards import Shards, open_shards
from bongsu.tokens.sharing import shard_batch

pytestmark = pytest.mark.slow

KOREAN = [f"강물이 넘쳐 다리 {n}개가 잠겼다" for n in range(40)]


def recipe_of(folder: Path, sentences: list[str], **pretrain: object) -> Recipe:
    text = folder / "text.txt"
    text.write_text("\n".join([*sentences, *KOREAN]), encoding="utf-8")
    hub = folder / "teacher"
    if not hub.exists():
        hub_folder(hub, "bert", sentences)
    return parse_recipe(
        {
            "corpus": {"sources": [{"path": str(text)}], "validation": 0.2},
            "tokenizer": {"vocab_size": 400, "lowercase": True},
            "model": {"d_model": 16, "n_layers": 1, "n_heads": 2, "max_length": 32},
            "pretrain": {
                "teacher": f"hf:{hub}",
                "teacher_scripts": ["latin"],
                "steps": 40,
                "row_length": 32,
                "batch_sentences": 16,
                "device": "cpu",
                "learning_rate": 1e-2,
                **pretrain,
            },
        }
    )


def test_vectors_are_the_teachers_means_and_the_student_learns_them(
    tmp_path: Path, sentences: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher, "PART", 64)  # several parts
    out = run(recipe_of(tmp_path, sentences), tmp_path / "run").path
    shards, tokenizer = open_shards(out / "tokens", "train"), load_tokenizer(out / "tokenizer")
    vectors = np.load(out / "pretrain" / "teacher" / "train.npy")
    model, reader = AutoModel.from_pretrained(tmp_path / "teacher"), AutoTokenizer.from_pretrained(tmp_path / "teacher")
    english = korean = 0
    for index in range(shards.sentences):
        ids = shards.tokens[shards.offsets[index] : shards.offsets[index + 1]].tolist()
        text = tokenizer.decode(ids)
        if len(ids) > 32 or not text.isascii():
            korean += "다리" in text
            if len(ids) <= 32 and "다리" not in text:
                continue  # of several scripts
            assert not vectors[index].any()
        else:
            english += 1
            with torch.inference_mode():
                read = reader(text, return_tensors="pt", truncation=True, max_length=40, padding=False)
                mean = model(input_ids=read["input_ids"]).last_hidden_state[0].mean(0)
            np.testing.assert_allclose(vectors[index], mean / mean.norm(), atol=0.02)  # the run may compute in bfloat16
    assert english > 100
    assert korean > 10
    lines = [orjson.loads(line) for line in (out / "pretrain" / "checkpoints" / "metrics.jsonl").read_bytes().splitlines()]
    cosines = [line["validation_teacher_cosine"] for line in lines if "validation_teacher_cosine" in line]
    assert cosines[-1] > max(0.5, cosines[0])
    kept = load_masked_lm(out / "pretrain" / "model").state_dict()
    assert not [name for name in kept if "projection" in name]


def test_goes_on_where_it_was_ended(tmp_path: Path, sentences: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher, "PART", 32)
    recipe = recipe_of(tmp_path, sentences[:200], steps=10, evaluations=1)
    whole = run(recipe, tmp_path / "whole").path
    parts, ended = teacher.Teacher._vectors, []

    def end_at_the_third(self: teacher.Teacher, texts: list[str]) -> np.ndarray:
        ended.append(len(texts))
        if len(ended) == 3:
            raise KeyboardInterrupt
        return parts(self, texts)

    monkeypatch.setattr(teacher.Teacher, "_vectors", end_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "again")
    state = read_json(tmp_path / "again" / "pretrain" / "teacher" / "train.json")
    assert state["done"] == 64
    again = run(recipe, tmp_path / "again").path
    assert np.array_equal(*(np.load(each / "pretrain" / "teacher" / "train.npy") for each in (whole, again)))


def test_shares_of_several_processes_add_up(sentences: list[str], tokenizer: Tokenizer) -> None:
    encoded = [tokenizer.encode(text).ids for text in sentences]
    lengths = np.array([len(each) for each in encoded])
    shards = Shards(np.concatenate(encoded).astype(np.uint16), np.concatenate([[0], np.cumsum(lengths)]), lengths)
    settings = Pretrain(batch_sentences=24, row_length=64)
    vocab_size = tokenizer.get_vocab_size()
    vectors = np.random.default_rng(0).normal(size=(len(sentences), 8)).astype(np.float16)
    vectors[::3] = 0
    batch = Batches(shards, training_shape(shards, settings), settings, vocab_size, 0, vectors=vectors).batch(0)
    model = MaskedLanguageModel(EncoderConfig(vocab_size, "modern", 16, 1, 2, 32, "geglu", 0.0, 64))
    initialize(model, 0)
    task = MaskedLanguageModelling(
        model,
        None,  # type: ignore[arg-type]
        [],
        torch.zeros(0),
        1e-3,
        0.0,
        student=StudentModel(model, 8, 0),
        teacher_weight=5.0,
    )
    whole = task.loss(batch).loss.item()
    shares = [task.loss(shard_batch(batch, part, 2)) for part in range(2)]
    assert sum(each.loss.item() * each.share for each in shares) == pytest.approx(whole, rel=1e-5)
    without = replace(batch, sentences=None, vectors=None)
    plain = MaskedLanguageModelling(model, None, [], torch.zeros(0), 1e-3, 0.0)  # type: ignore[arg-type]
    assert whole > plain.loss(without).loss.item()


def test_a_teacher_that_is_not_there_is_named_before_anything_starts(tmp_path: Path, sentences: list[str]) -> None:
    recipe = recipe_of(tmp_path, sentences)
    for name, said in (("hf:nowhere", "nowhere: no such folder"), ("nowhere", "hf:FOLDER")):
        changed = recipe.model_copy(update={"pretrain": recipe.pretrain.model_copy(update={"teacher": name})})  # type: ignore[union-attr]
        with pytest.raises(BongsuError, match=said):
            run(changed, tmp_path / "run")
    assert not (tmp_path / "run" / "corpus").exists()
