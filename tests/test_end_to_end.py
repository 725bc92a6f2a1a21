"""The whole way on a tiny recipe: kill -9 during each stage and going on gives the same weights as never stopping."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

import bongsu
from bongsu import progress
from bongsu.files import file_hash, read_json
from bongsu.recipe import load_recipe

pytestmark = pytest.mark.slow

RECIPE = """
name = "tiny"
[corpus]
validation = 0.1
[[corpus.sources]]
path = "bongsu:demo.csv"
where = { split = "train" }
[tokenizer]
vocab_size = 600
[model]
d_model = 16
n_layers = 2
n_heads = 2
max_length = 64
dropout = 0.1
[pretrain]
steps = 9
row_length = 32
batch_sentences = 16
log_every = 3
evaluations = 3
checkpoint_minutes = 1e-9
validation_sentences = 50
[adapt]
steps = 4
row_length = 32
batch_sentences = 16
evaluations = 2
checkpoint_minutes = 1e-9
[task]
train = "bongsu:demo.csv"
where = { split = "test" }
max_length = 32
[task.head]
filters = 8
[finetune]
epochs = 2
checkpoint_minutes = 1e-9
[validation]
folds = 2
[predict]
input = "bongsu:demo.csv"
format = "kaggle"
"""
OUTCOMES = ("pretrain/model/model.safetensors", "finetune/model/model.safetensors", "predictions/submission.csv")


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def uninterrupted(recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bongsu.run(recipe_file, out=tmp_path_factory.mktemp("runs") / "whole").path


def test_leaves_everything(uninterrupted: Path) -> None:
    for name in (*OUTCOMES, "evaluation/report.html", "evaluation/summary.json", "corpus/corpus.json", "recipe.toml"):
        assert (uninterrupted / name).is_file(), name
    summary = read_json(uninterrupted / "evaluation" / "summary.json")
    assert 0 <= summary["classification"]["model"]["accuracy"] <= 1
    assert "TF-IDF + logistic regression" in summary["classification"]
    assert "majority class" in summary["classification"]
    lines = (uninterrupted / "predictions" / "submission.csv").read_text().splitlines()
    assert lines[0] == "id,target"
    assert len(lines) == 1 + len({line.split(",")[0] for line in lines[1:]})
    assert {line.split(",")[1] for line in lines[1:]} <= {"0", "1"}


def test_the_second_time_nothing_is_done(recipe_file: Path, uninterrupted: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("stage.json")}
    bongsu.run(recipe_file, out=uninterrupted)
    assert before == {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("stage.json")}


def test_the_resolved_recipe_is_the_same_recipe(recipe_file: Path, uninterrupted: Path) -> None:
    assert load_recipe(uninterrupted / "recipe.toml") == load_recipe(recipe_file)


def test_the_detector_answers(uninterrupted: Path) -> None:
    detector = bongsu.load(uninterrupted)
    texts = ["Forest fire near La Ronge", "", "화재 발생"]
    batch = detector.predict(texts)
    alone = [detector.predict([text])[0] for text in texts]
    assert [p.label for p in batch] == [p.label for p in alone]
    assert [p.probability for p in batch] == pytest.approx([p.probability for p in alone], abs=1e-5)


def test_the_model_folder_opens_in_transformers(uninterrupted: Path) -> None:
    from transformers import AutoTokenizer

    from bongsu.tokens.bpe import load_tokenizer

    folder = uninterrupted / "pretrain" / "model"
    theirs, ours = AutoTokenizer.from_pretrained(folder), load_tokenizer(folder)
    for text in ("A fire in 서울! 🔥", "see [LINK] now"):
        assert theirs(text)["input_ids"] == ours.encode(text).ids


MOMENTS = (
    "killed/corpus",
    "killed/tokenizer",
    "killed/tokens",
    "pretrain/checkpoints/step-00000007",
    "pretrain/model",
    "adapt/model",
    "killed/finetune/data",
    "finetune/folds/fold-0/checkpoints/step-00000003",
    "finetune/folds/fold-1/result.json",
    "finetune/refit/checkpoints/step-00000003",
    "killed/finetune/model",
    "killed/evaluation",
    "killed/predictions",
)


def deadly_run(recipe_file: Path, out: Path, moment: str) -> None:
    """Sends itself kill -9 when a file or folder whose path ends in `moment` is about to take its final name."""
    replace = os.replace

    def deadly(source: Any, target: Any) -> None:
        if str(target).endswith(moment):
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.replace = deadly  # type: ignore[assignment]
    os.fsync = lambda fd: None
    progress.console.quiet = True
    bongsu.run(recipe_file, out=out)


def test_killed_in_every_stage_the_weights_are_the_same(
    recipe_file: Path, uninterrupted: Path, processes: Any, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    for moment in MOMENTS:
        child = processes.Process(target=deadly_run, args=(recipe_file, out, moment))
        child.start()
        child.join(600)
        assert child.exitcode == -signal.SIGKILL, moment
    bongsu.run(recipe_file, out=out)
    for name in OUTCOMES:
        assert file_hash(out / name) == file_hash(uninterrupted / name), name
