"""Study files: those that ship, and what is said of those that are wrong."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from bongsu.errors import RecipeError
from bongsu.search.study import load_study

ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / "studies").glob("*.toml"))


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # a study names its recipe relative to the current folder


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_that_ships_can_be_run(path: Path, small: bool) -> None:
    plan = load_study(path, small=small)
    assert plan.study.name.replace("-", "_") == path.stem
    assert plan.study.question
    assert len({trial.name for trial in plan.trials()}) == len(plan.trials())


def test_the_fine_tuning_trials_have_as_many_points_as_the_study_had() -> None:
    counts = [len(load_study(ROOT / "studies" / f"finetuning_{number}.toml").points()) for number in range(1, 7)]
    assert counts == [72, 48, 24, 48, 36, 36]
    assert sum(counts[:3]) == 144


def test_seeds_repeat_every_point() -> None:
    plan = load_study(ROOT / "studies" / "activation.toml")
    assert len(plan.trials()) == 3 * len(plan.points()) == 9
    assert [trial.seed for trial in plan.trials()[:4]] == [0, 0, 0, 1]
    assert plan.trials() == load_study(ROOT / "studies" / "activation.toml").trials()


STUDY = """
name = "s"
recipe = "recipes/demo.toml"
objective = "pretrain.loss"
[space]
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model.d_modle = [64]", "did you mean 'd_model'"),
        ("model.d_model = { between = [1, 2] }", "space.model.d_model.between: 'd_model' is not a section"),
        ("model.d_model = 64", "one of choice, grid, arms, range, log_range"),
        ("model.d_model = { range = [3, 2] }\n[search]\nsearcher = 'random'", "must be below"),
        ("model.d_model = { range = [64, 128] }", "searcher to random or tpe"),
        ("pretrain.learning_rate = { log_range = [0, 1] }\n[search]\nsearcher = 'random'", "greater than 0"),
        ("model.n_heads = [3, 5]", "does not divide"),
        ("model.dropout = [0.1]\n[search]\nscheduler = 'pbt'", "'pbt' is not one of none, asha"),
        ("model.dropout = [0.1]\n[serach]\nx = 1", "did you mean 'search'"),
        ("", "nothing varies"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, message: str) -> None:
    tomllib.loads(STUDY + text)
    (tmp_path / "study.toml").write_text(STUDY + text)
    with pytest.raises(RecipeError, match=message):
        load_study(tmp_path / "study.toml")


def test_small_is_laid_over(tmp_path: Path) -> None:
    small = "model.dropout = [0.1, 0.2]\nmodel.d_model = [64, 128]\n[small]\nseeds = 4\nspace.model.d_model = [32]\n"
    (tmp_path / "study.toml").write_text(STUDY + small)
    assert len(load_study(tmp_path / "study.toml").trials()) == 4
    plan = load_study(tmp_path / "study.toml", ["pretrain.steps=3"], small=True)
    assert len(plan.trials()) == 8
    assert plan.recipe(plan.trials()[0]).pretrain.steps == 3  # type: ignore[union-attr]
