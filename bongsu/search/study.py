"""A study: one TOML file that says which recipe, what varies in it, how to search, how often to repeat, and with what."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, field_validator, model_validator

from bongsu.errors import RecipeError
from bongsu.recipe import Positive, Recipe, Section, Tree, override, parse_recipe, parse_section, read_tree
from bongsu.search.space import (
    Arms,
    Choice,
    Grid,
    LogRange,
    Point,
    Range,
    Space,
    apply,
    describe,
    flatten,
    grid_points,
    merge,
    random_points,
)
from bongsu.tasks.registry import METRICS, build_task
from bongsu.tasks.task import Metric

_SURVEYED = 200  # points at least, where ranges are drawn
_METRICS = {
    "pretrain": {
        "loss": Metric("loss", "Loss", higher_is_better=False),
        "accuracy": Metric("accuracy", "Accuracy"),
        "bits_per_byte": Metric("bits_per_byte", "Bits per byte", higher_is_better=False),
    },
    "finetune": METRICS,
}


class Search(Section):
    """The search algorithm."""

    searcher: Literal["grid", "random", "tpe"] = "grid"
    """`tpe`: tree-structured Parzen estimator (Bergstra et al. 2011), by Optuna."""
    scheduler: Literal["none", "asha"] = "none"
    """`asha`: end poor trials early by asynchronous successive halving (Li et al. 2020)."""
    trials: Positive = 20
    """Points to draw (random, tpe)."""
    hours: Annotated[float, Field(gt=0)] | None = None
    """Start nothing after this time, and end what runs; the same command resumes later."""
    grace: Positive = 2
    """asha: evaluations every trial has before it may be ended."""
    reduction: Annotated[int, Field(ge=2)] = 3
    """asha: one trial in so many continues at each rung."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


class Resources(Section):
    """What one trial gets."""

    cpus: Annotated[float, Field(gt=0)] = 1
    gpus: Annotated[float, Field(ge=0)] = 0
    """A fraction lets trials share a GPU, and each has that share of its memory."""
    memory_gb: Annotated[float, Field(gt=0)] | None = None
    """Memory of a device; by default what this machine has."""


class Study(Section):
    """A search, or a comparison."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    question: str = ""
    original: str = ""
    """The result of the original study, shown with this one."""
    recipe: str
    """The recipe whose settings vary (a path, relative to the current folder)."""
    changes: Tree = Field(default={})
    """Parts of a recipe that differ from it in every trial."""
    objective: str
    """The metric that decides: of pre-training, such as `pretrain.bits_per_byte`, or one that the recipe's kind of task has,
    such as `finetune.accuracy`."""
    space: Space
    seeds: Positive = 1
    """How often to repeat each point, with seeds that follow the recipe's."""
    search: Search = Search()
    resources: Resources = Resources()
    keep_weights: bool = False
    """Keep every trial's checkpoints; otherwise a finished trial keeps its curves, metrics and last model only."""

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("space"), dict):
            return {**values, "space": flatten(values["space"])}
        return values

    @model_validator(mode="after")
    def _searchable(self) -> Study:
        if not self.space:
            raise ValueError("space: nothing varies; name at least one setting")
        ranges = [name for name, domain in self.space.items() if isinstance(domain, Range | LogRange)]
        if self.search.searcher == "grid" and ranges:
            raise ValueError(f"space.{ranges[0]}: a grid needs its values listed; or set search.searcher to random or tpe")
        return self

    @field_validator("objective")
    @classmethod
    def _known(cls, value: str) -> str:
        stage, _, metric = value.partition(".")
        if metric not in _METRICS.get(stage, {}):
            known = [f"{stage}.{name}" for stage, metrics in _METRICS.items() for name in metrics]
            raise ValueError(f"it is one of {', '.join(known)}")
        return value

    @property
    def stage(self) -> Literal["pretrain", "finetune"]:
        """The stage whose metrics decide, and the last that a trial runs."""
        return "pretrain" if self.objective.startswith("pretrain.") else "finetune"

    @property
    def metric(self) -> str:
        """The metric that decides, such as `accuracy`."""
        return self.objective.partition(".")[2]

    @property
    def title(self) -> str:
        """The metric's name on a chart."""
        return _METRICS[self.stage][self.metric].title

    @property
    def mode(self) -> Literal["min", "max"]:
        return "max" if _METRICS[self.stage][self.metric].higher_is_better else "min"


_HIDING = ("mask_rate", "whole_words", "validation_sentences")
"""Settings of [pretrain] that change which tokens are masked in validation."""
# A trial that diverges ends at once, and only its metrics matter.
_OF_TRIALS: dict[str, Tree] = {
    "pretrain": {"max_skipped": 1},
    "finetune": {"max_skipped": 1},
    "validation": {"diagnose": False},
}


@dataclass(frozen=True)
class Trial:
    """One run of a search: a point and a seed. Its name is a hash of both, so that a resumed search finds it."""

    point: Point
    seed: int

    @cached_property
    def group(self) -> str:
        """The name of the point, which its repetitions share."""
        return hashlib.sha256(orjson.dumps(self.point, option=orjson.OPT_SORT_KEYS)).hexdigest()[:10]

    @property
    def name(self) -> str:
        return f"{self.group}-seed{self.seed}"

    def __str__(self) -> str:
        return describe(self.point)


@dataclass(frozen=True)
class Plan:
    """A study with the recipe it changes."""

    study: Study
    tree: Tree
    """The recipe as plain values, before a point is applied."""

    def __getstate__(self) -> dict[str, object]:
        """Return the fields alone: trials in other processes need no survey."""
        return {"study": self.study, "tree": self.tree}

    def recipe(self, trial: Trial) -> Recipe:
        """Return the recipe of a trial.

        Raises:
            RecipeError: when the point is no valid recipe, such as heads that do not divide the width.
        """
        return self._recipe(trial, f"{self.study.name}-{trial.name}", _OF_TRIALS)

    def to_keep(self, trial: Trial) -> Recipe:
        """Return the recipe of a trial for a run of its own, without the settings for trials alone."""
        return self._recipe(trial, f"{self.study.name}-best", {})

    def _recipe(self, trial: Trial, name: str, defaults: dict[str, Tree]) -> Recipe:
        tree = apply(self.study.space, trial.point, self.tree) | {"name": name, "seed": trial.seed}
        tree |= {
            section: {**values, **tree.get(section, {})}
            for section, values in defaults.items()
            if section in tree or section == "validation"
        }
        recipe = parse_recipe(tree, str(trial))
        needed = "pretrain" if self.study.stage == "pretrain" else "task"
        if getattr(recipe, needed) is None:
            raise RecipeError(f"{self.study.recipe}: objective {self.study.objective} needs a [{needed}] section")
        return recipe

    def settings_of(self, point: Point) -> list[str]:
        """Return the settings that a point changes, those of its arms included."""
        found: list[str] = []
        for name, value in point.items():
            domain = self.study.space[name]
            found += flatten(domain.arms[value]) if isinstance(domain, Arms) else [name]
        return found

    def points(self) -> list[Point]:
        """Return the points of a grid, the draws of a random search; for `tpe` draws that show the space."""
        search = self.study.search
        if search.searcher == "grid":
            return grid_points(self.study.space)
        return list(random_points(self.study.space, search.trials, random.Random(search.seed)))

    @cached_property
    def surveyed(self) -> list[tuple[Trial, Recipe | RecipeError]]:
        """The points of the survey with the recipe's seed, each with its recipe or why there is none; built once."""
        seed = int(self.tree.get("seed", 0))
        trials = {trial.name: trial for trial in (Trial(point, seed) for point in self.survey())}
        found: list[tuple[Trial, Recipe | RecipeError]] = []
        for trial in trials.values():
            try:
                found.append((trial, self.recipe(trial)))
            except RecipeError as error:
                found.append((trial, error))
        return found

    @cached_property
    def first_recipe(self) -> Recipe:
        """The recipe of the first point that has a valid one.

        Raises:
            RecipeError: that of the first point, when none has.
        """
        first: RecipeError | None = None
        for trial in self.trials():
            try:
                return self.recipe(trial)
            except RecipeError as error:
                first = first or error
        raise first or RecipeError(f"{self.study.name}: the space has no points")

    @cached_property
    def metrics(self) -> list[str]:
        """The names of the metrics of the stage that decides."""
        task = self.first_recipe.task
        if task is None or self.study.stage == "pretrain":
            return list(_METRICS["pretrain"])
        return [metric.name for metric in build_task(task).metrics]

    def surveyed_recipes(self) -> list[Recipe]:
        """Return the valid recipes of the survey."""
        return [recipe for _, recipe in self.surveyed if isinstance(recipe, Recipe)]

    def survey(self) -> list[Point]:
        """Return points that show the space: every combination of listed values, with draws of the ranges."""
        space = self.study.space
        listed = grid_points(space)
        if not any(isinstance(domain, Range | LogRange) for domain in space.values()):
            return listed
        as_grid: Space = {name: Grid(grid=part.choice) if isinstance(part, Choice) else part for name, part in space.items()}
        return list(random_points(as_grid, max(1, _SURVEYED // len(listed)), random.Random(self.study.search.seed)))

    def trials(self) -> list[Trial]:
        """Return every point with every seed, all points with the first seed first; none twice."""
        first = int(self.tree.get("seed", 0))
        every = [Trial(point, first + repeat) for repeat in range(self.study.seeds) for point in self.points()]
        return list({trial.name: trial for trial in every}.values())


def load_study(path: Path, changes: list[str] | None = None, small: bool = False) -> Plan:
    """Read a study and the recipe it changes.

    Args:
        changes: settings of the recipe to change, each `section.key=value`.
        small: apply the study's [small] table, a size that takes minutes on two cores.

    Raises:
        RecipeError: naming the key that is wrong.
    """
    tree = read_tree(path)
    if "recipe" not in tree and any(key in Recipe.model_fields and key != "name" for key in tree):
        raise RecipeError(f"{path}: a recipe, not a study: bongsu run {path}. A study names one, and what varies in it.")
    smaller = tree.pop("small", None)
    if small:
        if not isinstance(smaller, dict):
            raise RecipeError(f"{path}: has no [small] table")
        space = {**flatten(tree.get("space", {})), **flatten(smaller.pop("space", {}))}
        tree = {**merge(tree, smaller), "space": space}
    study = parse_section(Study, tree, str(path))
    recipe = merge(read_tree(Path(study.recipe)), study.changes)
    override(recipe, changes or [])
    plan = Plan(study, recipe)
    if study.metric not in plan.metrics:
        raise RecipeError(f"{path}: objective: {study.recipe} has no {study.metric}, but {', '.join(plan.metrics)}.")
    _require_effective_settings(plan)
    if study.stage == "pretrain":
        _require_the_same_masks(plan)
    return plan


def _require_the_same_masks(plan: Plan) -> None:
    """Refuse to compare encoders on different masked tokens: fewer masked ones are easier to predict.

    Raises:
        RecipeError: naming the setting that changes the masks.
    """
    seen: dict[str, object] = {}
    for recipe in plan.surveyed_recipes():
        for key in _HIDING:
            value = getattr(recipe.pretrain, key)
            if seen.setdefault(key, value) != value:
                raise RecipeError(
                    f"space: pretrain.{key} changes which tokens are masked in validation, so {plan.study.objective} of two "
                    "values cannot be compared. Compare them by an objective of fine-tuning, or vary "
                    "pretrain.mask_rate_start, which leaves validation as it is."
                )


def _require_effective_settings(plan: Plan) -> None:
    """Refuse to vary the encoder's settings where an existing encoder is used, which would change nothing.

    Raises:
        RecipeError: naming the setting.
    """
    for trial, recipe in plan.surveyed:
        if isinstance(recipe, RecipeError):
            continue
        start = recipe.pretrain.start if recipe.pretrain else None
        source = "pretrain.start" if start else "finetune.encoder" if recipe.finetune.encoder else None
        changed = plan.settings_of(trial.point)
        if source and (useless := [name for name in changed if name.startswith(("model.", "tokenizer."))]):
            raise RecipeError(
                f"space: {useless[0]} changes nothing where {source} names an encoder, whose size and tokenizer are used; "
                f"remove {source} from the recipe, or vary something else."
            )
