"""What varies in a search, and how: each setting a choice, a grid, a range, a log range, or named arms.

A point is one value for each setting. `grid` and `arms` are crossed with everything; `choice` and ranges are drawn, unless the
searcher is the grid, which takes every value of a choice too.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Annotated, Any, TypeAlias

import orjson
from pydantic import Discriminator, Field, Tag, model_validator

from bongsu.recipe import Section, Tree, put

Number: TypeAlias = int | float
Point: TypeAlias = dict[str, Any]
"""Setting -> value; of arms: the arm's name."""


class Choice(Section):
    """One of these, drawn."""

    choice: list[Any] = Field(min_length=1)

    def values(self) -> list[Any]:
        return self.choice

    def draw(self, generator: random.Random) -> Any:
        return generator.choice(self.choice)


class Grid(Section):
    """Each of these, with everything else."""

    grid: list[Any] = Field(min_length=1)

    def values(self) -> list[Any]:
        return self.grid


class Arms(Section):
    """Named changes to several settings at once, each a part of a recipe."""

    arms: dict[str, Tree] = Field(min_length=1)

    def values(self) -> list[Any]:
        return list(self.arms)


class _Between(Section):
    """Whole numbers when both ends are whole."""

    @property
    def ends(self) -> tuple[Number, Number]:
        raise NotImplementedError

    @property
    def whole(self) -> bool:
        return all(isinstance(end, int) for end in self.ends)

    @model_validator(mode="after")
    def _rises(self) -> _Between:
        low, high = self.ends
        if not low < high:
            raise ValueError(f"the first end ({low}) must be below the second ({high})")
        return self


class Range(_Between):
    """A number between two, each as likely."""

    range: tuple[Number, Number]

    @property
    def ends(self) -> tuple[Number, Number]:
        return self.range

    def draw(self, generator: random.Random) -> Number:
        low, high = self.range
        return generator.randint(int(low), int(high)) if self.whole else generator.uniform(low, high)


class LogRange(_Between):
    """A number between two, its logarithm each as likely."""

    log_range: tuple[Annotated[Number, Field(gt=0)], Annotated[Number, Field(gt=0)]]

    @property
    def ends(self) -> tuple[Number, Number]:
        return self.log_range

    def draw(self, generator: random.Random) -> Number:
        low, high = self.log_range
        value = min(max(math.exp(generator.uniform(math.log(low), math.log(high))), low), high)
        return round(value) if self.whole else value


_WORDS = ("choice", "grid", "arms", "range", "log_range")


def _word(value: Any) -> str | None:
    """Return the key that says which kind of domain a table is."""
    return next((word for word in _WORDS if word in value), None) if isinstance(value, Mapping) else None


Domain: TypeAlias = Annotated[
    Annotated[Choice, Tag("choice")]
    | Annotated[Grid, Tag("grid")]
    | Annotated[Arms, Tag("arms")]
    | Annotated[Range, Tag("range")]
    | Annotated[LogRange, Tag("log_range")],
    Discriminator(_word, "domain", "give a list of values, or a table with one of choice, grid, arms, range, log_range"),
]
Space: TypeAlias = dict[str, Domain]


def flatten(tree: Mapping[str, Any], before: str = "") -> Tree:
    """`{"model": {"d_model": [64, 128]}}` -> `{"model.d_model": {"grid": [64, 128]}}`; a bare list is a grid."""
    flat: Tree = {}
    for key, value in tree.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping) and value and _word(value) is None:
            flat.update(flatten(value, f"{name}."))
        else:
            flat[name] = {"grid": value} if isinstance(value, list) else value
    return flat


def grid_points(space: Space) -> list[Point]:
    """Return every combination, the last setting changing fastest; of a space without ranges."""
    listed = {name: domain for name, domain in space.items() if isinstance(domain, Choice | Grid | Arms)}
    columns = [[(name, value) for value in domain.values()] for name, domain in listed.items()]
    return [dict(combination) for combination in itertools.product(*columns)]


def random_points(space: Space, draws: int, generator: random.Random) -> Iterator[Point]:
    """Yield draws of choices and ranges, each crossed with the grids and arms."""
    drawn = {name: domain for name, domain in space.items() if isinstance(domain, Choice | Range | LogRange)}
    crossed = grid_points({name: domain for name, domain in space.items() if name not in drawn})
    for _ in range(draws):
        values = {name: domain.draw(generator) for name, domain in drawn.items()}
        for point in crossed:
            yield {name: values[name] if name in values else point[name] for name in space}


def contains(space: Space, point: Point) -> bool:
    """Return whether a point is in this space, which may have changed since."""
    return set(point) == set(space) and all(
        isinstance(domain, Range | LogRange) or point[name] in domain.values() for name, domain in space.items()
    )


def apply(space: Space, point: Point, tree: Mapping[str, Any]) -> Tree:
    """Return the recipe of a point as plain values.

    Raises:
        RecipeError: when a setting is not a key a recipe can have.
    """
    result = deepcopy(dict(tree))
    for name, value in point.items():
        domain = space[name]
        if isinstance(domain, Arms):
            result = merge(result, domain.arms[value])
        else:
            put(result, name, deepcopy(value), f"space.{name}")
    return result


def merge(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> Tree:
    """Return `tree` with `changes`; tables are merged, all else (lists too) is replaced."""
    result = dict(tree)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else deepcopy(value)
    return result


def label(value: Any) -> str:
    """Format a value: text as it is, numbers with four digits, anything else as JSON."""
    if isinstance(value, str):
        return value
    return f"{value:.4g}" if isinstance(value, float) else orjson.dumps(value).decode()


def describe(point: Point) -> str:
    """Format a point in one line, such as "d_model 256, activation swish"."""
    return ", ".join(f"{name.rpartition('.')[2]} {label(value)}" for name, value in point.items())
