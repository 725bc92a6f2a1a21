"""The student of several classifiers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from test_finetuning import make
from tokenizers import Tokenizer

from bongsu.errors import DataError
from bongsu.files import read_json
from bongsu.finetuning.baselines import tfidf_logistic
from bongsu.finetuning.cross_validation import Finetuning
from bongsu.finetuning.data import read_labelled
from bongsu.finetuning.distillation import Distillation
from bongsu.finetuning.refit import finetune
from bongsu.finetuning.selection import most_like
from bongsu.finetuning.splits import distinct
from bongsu.recipe import Recipe, parse_recipe


def recipe_of(tokenizer: Tokenizer, folder: Path, **changes: object) -> Recipe:
    words = ["fire", "flood", "joke", "song"]
    texts = [f"a {words[n % 4]} of number {n * 41} by the river {n * 7}" for n in range(40)]
    twin = "the fire number 0 of 0 in street 0"  # a row of the training file
    (folder / "more.txt").write_text("\n".join([*texts, twin, texts[3]]) + "\n")
    distill = {"sources": [{"path": str(folder / "more.txt")}], "texts": 30, "epochs": 1}
    return make(tokenizer, folder, seeds=2, distill=distill, extra=[], learning_rate=0.01, **changes)


def work_of(recipe: Recipe, folder: Path, out: str) -> Finetuning:
    settings = recipe.finetune
    assert settings is not None
    return Finetuning(recipe, settings, folder / "encoder", folder / out, read_labelled(settings, settings.train, {}), None)


def test_neither_teachers_nor_student_see_a_label_of_the_rows_measured_on(tokenizer: Tokenizer, tmp_path: Path) -> None:
    recipe = recipe_of(tokenizer, tmp_path)
    said = []
    split = work_of(recipe, tmp_path, "x").splits()[0]
    for out, flipped in (("one", False), ("other", True)):
        work = work_of(recipe, tmp_path, out)
        if flipped:
            work.data.labels[split[1]] = 1 - work.data.labels[split[1]]
            work.labels = work.data.labels
        assert work.settings.distill is not None
        members = [work.measure(split, 0, seed, 3) for seed in range(2)]
        student = Distillation(work, work.settings.distill).measure(split, 0, members)
        said.append((student["probabilities"], student["teacher"]))
        if not flipped:
            # The teacher is the product of both seeds and TF-IDF.
            rows, labels = distinct(work.cleaned, work.labels, work.rows(split, 0)[0])
            tfidf = tfidf_logistic([work.texts[row] for row in rows], labels, [work.texts[row] for row in split[1]])
            tables = [np.array(table) for table in (*(member["probabilities"] for member in members), tfidf)]
            odds = np.mean([np.log(table[:, 1] / table[:, 0]) for table in tables], axis=0)
            np.testing.assert_allclose(np.array(student["teacher"])[:, 1], 1 / (1 + np.exp(-odds)), rtol=1e-6)
    assert said[0] == said[1]


def test_the_student_learns_what_the_teachers_say_and_is_kept(tokenizer: Tokenizer, tmp_path: Path) -> None:
    recipe = recipe_of(tokenizer, tmp_path)
    work = work_of(recipe, tmp_path, "out")
    assert work.settings.distill is not None
    distillation = Distillation(work, work.settings.distill)
    assert len(distillation.texts) == 30
    assert "the fire number 0 of 0 in street 0" not in distillation.texts
    soft = np.random.default_rng(0).dirichlet([1, 1], len(distillation.texts))
    task = distillation._task(np.arange(20), work.take(np.arange(3)), soft, 0)
    np.testing.assert_allclose(task.targets[-30:], soft, rtol=1e-6)
    assert set(map(tuple, task.targets[:-30].tolist())) == {(0.0, 1.0), (1.0, 0.0)}

    finetune(recipe, tmp_path / "encoder", tmp_path / "out")
    known = read_json(tmp_path / "out" / "predictions.json")
    assert np.array(known["members"]).shape == (2, 50, 2)
    assert np.array(known["teacher"]).shape == np.array(known["probabilities"]).shape == (50, 2)
    assert {name.name for name in (tmp_path / "out").glob("final*")} == {"final", "final-seed-1"}
    assert (tmp_path / "out" / "student" / "checkpoints").is_dir()
    assert (tmp_path / "out" / "model" / "model.safetensors").is_file()


def test_the_texts_most_like_ones_own() -> None:
    texts = ["a b", "c d", "a a c", "...", "d d"]
    # Own counts +1 of a, b, c, d: 3, 2, 1, 1 of 7; theirs: 3, 2, 3, 3 of 11.
    ratio = {"a": math.log(3 / 7 / (3 / 11)), "b": math.log(2 / 7 / (2 / 11)), "c": math.log(1 / 7 / (3 / 11))}
    assert ratio["a"] == pytest.approx(ratio["b"])
    assert (ratio["a"] + ratio["c"]) / 2 > ratio["c"]  # "a a c" before "c d" and "d d", which are alike
    own = ["a", "a b"]
    assert most_like(texts, own, 1).tolist() == [0]
    assert most_like(texts, own, 2).tolist() == [0, 2]
    assert most_like(texts, own, 4).tolist() == [0, 1, 2, 4]
    assert most_like(texts, own, 9).tolist() == [0, 1, 2, 3, 4]
    assert most_like(["!", "?"], own, 1).tolist() == [0]
    assert most_like([], own, 3).tolist() == []


def test_says_that_no_text_is_left(tokenizer: Tokenizer, tmp_path: Path) -> None:
    recipe = recipe_of(tokenizer, tmp_path)
    (tmp_path / "more.txt").write_text("the fire number 0 of 0 in street 0\n")
    work = work_of(recipe, tmp_path, "out")
    assert work.settings.distill is not None
    with pytest.raises(DataError, match=r"distill\.sources: no text is left"):
        Distillation(work, work.settings.distill)
    with pytest.raises(Exception, match="refit = true"):
        parse_recipe({"finetune": {**work.settings.model_dump(exclude_none=True), "refit": False}})
