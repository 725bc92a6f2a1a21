"""The language of a search's space, by its properties."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from bongsu.errors import RecipeError
from bongsu.search.searchers import parameters, point_of
from bongsu.search.space import Range, Space, apply, contains, flatten, grid_points, merge, random_points

NUMBERS = st.one_of(st.integers(-1000, 1000), st.floats(-1e3, 1e3))
VALUES = st.one_of(NUMBERS, st.text(max_size=5), st.booleans(), st.lists(st.integers(), max_size=3))
NAMES = st.lists(st.from_regex(r"[a-z]{1,6}\.[a-z]{1,6}", fullmatch=True), min_size=1, max_size=4, unique=True)
SEVERAL = st.lists(VALUES, min_size=1, max_size=4)
LISTED = st.builds(lambda word, values: {word: values}, st.sampled_from(["grid", "choice"]), SEVERAL)
WIDTHS = st.tuples(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3)).filter(lambda ends: ends[0] < ends[1])
WHOLE = st.tuples(st.integers(1, 1000), st.integers(1, 1000)).filter(lambda ends: ends[0] < ends[1])
BETWEEN = st.builds(lambda word, ends: {word: list(ends)}, st.sampled_from(["range", "log_range"]), st.one_of(WIDTHS, WHOLE))


def parse(tree: dict[str, Any]) -> Space:
    return TypeAdapter(Space).validate_python(flatten(tree))


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Any]:
    return {name: draw(st.one_of(LISTED, BETWEEN)) for name in draw(NAMES)}


@given(trees(), st.integers(0, 5), st.integers(0, 2**32))
def test_every_draw_is_of_the_space_and_the_same_seed_draws_the_same(tree: dict[str, Any], draws: int, seed: int) -> None:
    space = parse(tree)
    points = list(random_points(space, draws, random.Random(seed)))
    assert points == list(random_points(space, draws, random.Random(seed)))
    crossed = 1
    for table in tree.values():
        crossed *= len(table.get("grid", [0]))
    assert len(points) == draws * crossed
    for point in points:
        assert contains(space, point)
        for name, value in point.items():
            for low, high in (table for word, table in tree[name].items() if word.endswith("range")):
                assert low <= value <= high
                assert isinstance(value, int) == (isinstance(low, int) and isinstance(high, int))


@given(st.dictionaries(st.sampled_from("abcdef"), LISTED, min_size=1, max_size=4))
def test_a_grid_has_every_combination_once(tree: dict[str, Any]) -> None:
    space = parse(tree)
    points = grid_points(space)
    expected = 1
    for domain in space.values():
        expected *= len(domain.values())  # type: ignore[union-attr]
    assert len(points) == expected
    assert all(contains(space, point) for point in points)


@given(trees())
def test_optuna_gets_back_what_it_was_given(tree: dict[str, Any]) -> None:
    space = parse(tree)
    for point in random_points(space, 2, random.Random(0)):
        assert point_of(space, parameters(space, point)) == point


@given(st.dictionaries(st.sampled_from(["one", "two", "three"]), st.lists(VALUES, min_size=1, max_size=3), min_size=1))
def test_sections_may_be_written_with_dots_or_as_tables(settings: dict[str, list[Any]]) -> None:
    assert flatten({"model": settings}) == flatten({f"model.{name}": values for name, values in settings.items()})


def test_arms_change_several_settings_and_leave_the_rest() -> None:
    space = parse({"shape": {"arms": {"wide": {"model": {"d_model": 64, "n_layers": 1}}, "deep": {"model": {"n_layers": 9}}}}})
    tree = {"model": {"d_model": 8, "n_heads": 2}, "corpus": {"sources": [{"path": "a"}]}}
    assert [apply(space, point, tree)["model"] for point in grid_points(space)] == [
        {"d_model": 64, "n_heads": 2, "n_layers": 1},
        {"d_model": 8, "n_heads": 2, "n_layers": 9},
    ]
    assert tree["model"] == {"d_model": 8, "n_heads": 2}


def test_a_key_in_a_list_can_vary() -> None:
    space = parse({"corpus.sources.0.limit": [5]})
    tree = {"corpus": {"sources": [{"path": "a"}]}}
    assert apply(space, grid_points(space)[0], tree)["corpus"]["sources"] == [{"path": "a", "limit": 5}]
    with pytest.raises(RecipeError, match="not a section"):
        apply(parse({"corpus.sources.3.limit": [5]}), {"corpus.sources.3.limit": 5}, tree)


def test_lists_are_replaced_and_tables_merged() -> None:
    assert merge({"a": {"b": [1], "c": 2}}, {"a": {"b": [3]}}) == {"a": {"b": [3], "c": 2}}


def test_whole_ends_draw_whole_numbers_up_to_both_ends() -> None:
    domain = Range(range=(1, 3))
    generator = random.Random(0)
    assert {domain.draw(generator) for _ in range(100)} == {1, 2, 3}
