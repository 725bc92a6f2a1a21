"""Study files: those that ship, and what is said of those that are wrong."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from bongsu.errors import DataError, RecipeError
from bongsu.recipe import Recipe, parse_recipe
from bongsu.search import study
from bongsu.search.feasibility import check_feasibility
from bongsu.search.inputs import check_sources, file_fingerprints
from bongsu.search.ledger import Ledger
from bongsu.search.report import conclusion
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
        ("pretrain.mask_rate = [0.15, 0.3]", "changes which tokens are masked in validation"),
        ("model.d_model = [64, 128]\n[changes.pretrain]\nstart = 'x'", "model.d_model changes nothing where pretrain.start"),
        ("a.arms = { x = { model = { n_layers = 1 } } }\n[changes.pretrain]\nstart = 'x'", "model.n_layers changes nothing"),
        ("a.arms = { x = { pretrain = { whole_words = true } }, y = {} }", "pretrain.whole_words changes which tokens"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, message: str) -> None:
    tomllib.loads(STUDY + text)
    (tmp_path / "study.toml").write_text(STUDY + text)
    with pytest.raises(RecipeError, match=message):
        load_study(tmp_path / "study.toml")


@pytest.mark.parametrize(
    ("metric", "mode", "title"),
    [("spearman", "max", "Spearman"), ("mae", "min", "MAE"), ("roc_auc", None, ""), ("bleu", None, "")],
)
def test_objectives_are_the_metrics_of_the_kind(tmp_path: Path, metric: str, mode: str | None, title: str) -> None:
    recipe, path = tmp_path / "recipe.toml", tmp_path / "study.toml"
    recipe.write_text('name = "r"\n[task]\nkind = "regression"\ntrain = "a.csv"\n[finetune]\nencoder = "bongsu:beacon"\n')
    path.write_text(f'name = "s"\nrecipe = "{recipe}"\nobjective = "finetune.{metric}"\n[space]\nfinetune.epochs = [1, 2]\n')
    if mode is None:
        with pytest.raises(RecipeError, match=r"objective: .*spearman"):
            load_study(path)
        return
    plan = load_study(path)
    assert (plan.study.mode, plan.study.title) == (mode, title)
    assert plan.metrics == ["pearson", "spearman", "mae"]


def test_a_recipe_is_built_once_for_each_point(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []

    def parse(tree: dict[str, Any], where: str) -> Recipe:
        built.append(where)
        return parse_recipe(tree, where)

    monkeypatch.setattr(study, "parse_recipe", parse)
    plan = load_study(ROOT / "studies" / "first.toml")
    check_feasibility(plan, "cpu")
    check_sources(plan)
    file_fingerprints(plan)
    check_feasibility(plan, "cpu")
    assert len(built) <= len(plan.survey()) + 1  # and one to see that the study is valid


def test_files_are_looked_for_before_a_trial_starts(tmp_path: Path) -> None:
    check_sources(load_study(ROOT / "studies" / "first.toml"))
    plan = load_study(ROOT / "studies" / "first.toml", ["corpus.sources.0.path=nowhere.txt"])
    with pytest.raises(DataError, match=r"nowhere\.txt \(corpus\.sources\.0\.path\)"):
        check_sources(plan)


def test_a_trial_that_failed_is_tried_again_and_a_finished_one_is_not(tmp_path: Path) -> None:
    ledger = Ledger(load_study(ROOT / "studies" / "first.toml"), tmp_path, 8e9, "cpu")
    first, second = ledger.plan.trials()[:2]
    ledger.end(first, "failed", "no such file")
    ledger.end(second, "finished", metrics={"bits_per_byte": 2.5})
    lines = conclusion(ledger, ledger.records())
    assert lines[0].startswith("best (lower is better): ")
    assert "bits per byte 2.5000" in lines[0]
    ledger.judge_again()
    assert list(ledger.records()) == [second.name]


def test_small_is_laid_over(tmp_path: Path) -> None:
    space = "pretrain.weight_decay = [0.1, 0.2]\npretrain.learning_rate = [0.001, 0.002]\n"
    small = "[small]\nseeds = 4\nspace.pretrain.learning_rate = [0.003]\n"
    (tmp_path / "study.toml").write_text(STUDY + space + small)
    assert len(load_study(tmp_path / "study.toml").trials()) == 4
    plan = load_study(tmp_path / "study.toml", ["pretrain.steps=3"], small=True)
    assert len(plan.trials()) == 8
    assert plan.recipe(plan.trials()[0]).pretrain.steps == 3  # type: ignore[union-attr]
