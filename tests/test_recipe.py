"""Recipes: there and back, and errors that say where."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bongsu.errors import RecipeError
from bongsu.recipe import Recipe, dump_recipe, load_recipe, parse_recipe

TEXT = """
name = "tweets"
[corpus]
sources = [{path = "a.csv"}, {path = "b.csv", limit = 5}]
[pretrain]
steps = 10
[task]
train = "train.csv"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(TEXT, encoding="utf-8")
    return path


def changed(**changes: Any) -> Recipe:
    """A small valid recipe with sections changed or added."""
    return parse_recipe({**tomllib.loads(TEXT), **changes})


# Any text TOML can hold. The word "none" is how a recipe says that a key is left empty.
WORD = st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: text != "none")
POSITIVE = st.floats(1e-9, 1e9)
PRETRAIN = st.fixed_dictionaries(
    {"learning_rate": POSITIVE, "betas": st.tuples(st.floats(0, 0.999), st.floats(0, 0.999))},
    optional={
        "clip": st.none() | POSITIVE,
        "steps": st.none() | st.integers(1, 10**12),
        "batch_tokens": st.none() | st.integers(1, 10**9),
        "schedule": st.sampled_from(["constant", "linear", "cosine", "cosine_restarts", "exponential", "wsd"]),
        "whole_words": st.booleans(),
        "checkpoint_minutes": POSITIVE,
    },
)
HEAD = st.fixed_dictionaries(
    {}, optional={"max_norm": st.none() | POSITIVE, "kernel_sizes": st.lists(st.integers(1, 9), min_size=1, max_size=4)}
)
TASK = st.fixed_dictionaries(
    {"train": WORD},
    optional={
        "kind": st.just("classification"),
        "names": st.dictionaries(WORD, WORD, max_size=3),
        "context": st.lists(WORD, max_size=3),
        "positive": st.none() | WORD,
        "class_weights": st.sampled_from(["none", "balanced"]),
        "head": HEAD,
    },
) | st.fixed_dictionaries(
    {"train": WORD, "kind": st.just("tagging")}, optional={"unit": st.sampled_from(["auto", "word", "character"])}
)
FINETUNE = st.fixed_dictionaries({}, optional={"patience": st.none() | st.integers(1, 99)})
SOURCE = st.fixed_dictionaries(
    {"path": WORD},
    optional={
        "where": st.dictionaries(WORD, WORD, max_size=2),
        "sentences": st.none() | st.booleans(),
        "limit": st.none() | st.integers(1, 99),
    },
)


@given(
    pretrain=PRETRAIN,
    task=st.none() | TASK,
    finetune=FINETUNE,
    sources=st.lists(SOURCE, min_size=1, max_size=3),
    cleaning=st.fixed_dictionaries({}, optional={"normalize": st.sampled_from(["none", "nfc", "nfkc"])}),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_recipe_comes_back_from_toml(
    pretrain: Any, task: Any, finetune: Any, sources: list[Any], cleaning: dict[str, Any], seed: int
) -> None:
    corpus = {"sources": sources, "cleaning": cleaning}
    tree = {"corpus": corpus, "pretrain": pretrain, "task": task, "finetune": finetune, "seed": seed}
    recipe = parse_recipe(tree)
    assert parse_recipe(tomllib.loads(dump_recipe(recipe))) == recipe
    assert dump_recipe(parse_recipe(tomllib.loads(dump_recipe(recipe)))) == dump_recipe(recipe)


def test_every_setting_is_written_out() -> None:
    def keys(model: Any) -> set[str]:
        return set(type(model).model_fields)

    recipe = changed()
    tree = tomllib.loads(dump_recipe(recipe))
    assert set(tree) == keys(recipe)
    assert recipe.pretrain is not None
    assert recipe.task is not None
    assert set(tree["pretrain"]) == keys(recipe.pretrain)
    assert set(tree["task"]) == keys(recipe.task)
    assert set(tree["finetune"]) == keys(recipe.finetune)


def test_the_recipes_that_ship_are_valid() -> None:
    recipes = list((Path(__file__).parent.parent / "recipes").glob("*.toml"))
    assert recipes
    for path in recipes:
        recipe = load_recipe(path)
        assert parse_recipe(tomllib.loads(dump_recipe(recipe))) == recipe


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("seed=7", "seed", 7),
        ("pretrain.steps=20", "pretrain.steps", 20),
        ("pretrain.learning_rate=2e-3", "pretrain.learning_rate", 0.002),
        ("pretrain.learning_rate = 1", "pretrain.learning_rate", 1.0),
        ("pretrain.whole_words=true", "pretrain.whole_words", True),
        ("pretrain.betas=[0.5, 0.6]", "pretrain.betas", (0.5, 0.6)),
        ("task.train=data/my file=1.csv", "task.train", "data/my file=1.csv"),
        ('task.train="7"', "task.train", "7"),
        ("task.context=['keyword', 'location']", "task.context", ["keyword", "location"]),
        ("task.names={0 = 'other'}", "task.names", {"0": "other"}),
        ("task.names.1=재난", "task.names", {"1": "재난"}),
        ("task.head.kernel_sizes=[3]", "task.head.kernel_sizes", [3]),
        ("corpus.sources.0.path=x.txt", "corpus.sources.0.path", "x.txt"),
        ("corpus.sources.1.limit=none", "corpus.sources.1.limit", None),
        ("corpus.sources.1={path='c.csv'}", "corpus.sources.1.path", "c.csv"),
        ("corpus.cleaning.normalize=none", "corpus.cleaning.normalize", "none"),
        ("pretrain.clip=none", "pretrain.clip", None),
        ("task.head.max_norm=none", "task.head.max_norm", None),
        ("task=none", "task", None),
        ("model.preset=classic", "model.preset", "classic"),
        ("evaluate.threshold=0.25", "evaluate.threshold", 0.25),
    ],
)
def test_overrides(file: Path, override: str, path: str, value: Any) -> None:
    found: Any = load_recipe(file, [override])
    for part in path.split("."):
        found = found[int(part)] if isinstance(found, list) else getattr(found, part)
    assert found == value


def test_later_overrides_win_and_work_together(file: Path) -> None:
    recipe = load_recipe(file, ["seed=1", "pretrain.steps=none", "pretrain.epochs=2", "seed=2"])
    assert recipe.seed == 2
    assert recipe.pretrain is not None
    assert (recipe.pretrain.steps, recipe.pretrain.epochs) == (None, 2.0)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        # unknown keys, with the nearest name
        ("pretrain.learning_rat=1", r"pretrain\.learning_rat: no such key; did you mean 'learning_rate'\?"),
        ("pretrian.steps=1", r"pretrian: no such key; did you mean 'pretrain'\?"),
        ("corpus.sources.0.pth=x", r"corpus\.sources\.0\.pth: no such key; did you mean 'path'\?"),
        ("corpus.cleaning.mentoins=keep", r"corpus\.cleaning\.mentoins: no such key; did you mean 'mentions'\?"),
        ("evaluate.zzz=1", r"evaluate\.zzz: no such key; the keys here are lang, miss_cost, threshold, worst"),
        # wrong types and values
        ("pretrain.steps=many", r"pretrain\.steps: input should be a valid integer.*'many'"),
        ("pretrain.steps=1.5", r"pretrain\.steps: .*1\.5"),
        ("pretrain.steps=0", r"pretrain\.steps: .*greater than or equal to 1"),
        ("pretrain.learning_rate=-1", r"pretrain\.learning_rate: .*greater than 0"),
        ("pretrain.learning_rate=nan", r"pretrain\.learning_rate: "),
        ("pretrain.mask_rate=15", r"pretrain\.mask_rate: .*less than 1"),
        ("pretrain.betas=[0.9]", r"pretrain\.betas"),
        ("pretrain.betas=[0.9, 2]", r"pretrain\.betas\.1: .*less than 1"),
        ("pretrain.masking=dynamc", r"pretrain\.masking: 'dynamc' is not one of dynamic, static; did you mean 'dynamic'\?"),
        ("corpus.sources=[]", r"corpus\.sources: .*at least 1"),
        ("corpus.sources.1.limit=0", r"corpus\.sources\.1\.limit: "),
        ("corpus.sources.1={limit=1}", r"corpus\.sources\.1\.path: this key must be given"),
        ("task.head.kernel_sizes=[2, 0]", r"task\.head\.kernel_sizes\.1: "),
        ("finetune=5", r"finetune: "),
        ("seed=-1", r"seed: .*greater than or equal to 0"),
        ("name=a/b", r"name: "),
        ("tokenizer.vocab_size=none", r"tokenizer\.vocab_size: "),
        # impossible sizes
        ("tokenizer.vocab_size=260", r"tokenizer\.vocab_size: .*261"),
        ("model.n_heads=3", r"model\.n_heads: 3 does not divide d_model 256; the nearest that does is [24]"),
        ("model.n_heads=256", r"model\.n_heads: rotary positions need an even head size, d_model / n_heads is 1"),
        ("model={preset='classic', d_model=9, n_heads=3}", r"model\.d_model: sinusoidal positions need an even size, not 9"),
        ("pretrain.batch_sentences=0", r"pretrain\.batch_sentences: "),
        ("pretrain={batch_sentences=1, batch_tokens=1}", r"pretrain\.batch_tokens: .*not both"),
        ("pretrain.epochs=2", r"pretrain\.steps: .*not both"),
        ("pretrain.row_length=600", r"pretrain\.row_length: rows of 600 .*model\.max_length.*512"),
        ("pretrain.row_length=4", r"pretrain\.row_length: .*8"),
        ("corpus=none", r"corpus\.sources: pre-training needs text"),
        ("pretrain=none", r"finetune\.encoder: name a model folder"),
        ("task.max_length=600", r"task\.max_length: 600 tokens are longer than model\.max_length 512"),
        ("finetune.remove_last=4", r"finetune\.remove_last: would leave no layer of 4"),
        ("finetune={freeze=true, unfreeze_last=5}", r"finetune\.unfreeze_last: the encoder has 4 layers"),
        ("finetune.unfreeze_last=1", r"finetune\.unfreeze_last: .*freeze = true"),
        ("validation.folds=1", r"validation\.folds: "),
        ("validation.development=0.5", r"validation\.development: .*less than 0\.5"),
        ("validation.development=0", r"validation\.development: 0 means no early stopping"),
        ("finetune.folds=3", r"finetune\.folds: no such key; it is a key of \[validation\]"),
        ("finetune.kernel_sizes=[3]", r"finetune\.kernel_sizes: no such key; it is a key of \[task\.head\]"),
        ("task.kind=taging", r"task\.kind: 'taging' is not one of classification, .*; did you mean 'tagging'\?"),
        ("corpus.validation=0", r"corpus\.validation: .*greater than 0"),
        # what is not an override at all
        ("seed", r"--set seed: write it as section\.key=value"),
        ("=1", r"--set =1: write it as section\.key=value"),
        ("name.x=1", r"--set name\.x=1: 'name' is not a section"),
        ("corpus.sources.9.path=x", r"--set corpus\.sources\.9\.path=x: '9' is not"),
        ("corpus.sources.x=1", r"--set corpus\.sources\.x=1: "),
    ],
)
def test_mistakes_are_named_with_their_place(file: Path, override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe(file, [override])
    assert "pydantic" not in str(caught.value)


def test_predicting_needs_a_classifier() -> None:
    with pytest.raises(RecipeError, match=r"predict: needs a \[task\] section"):
        parse_recipe({"predict": {"input": "a.csv"}})


def test_all_mistakes_are_told_at_once(file: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(file, ["model.dropout=2", "seed=x", "validation.fold=3"])
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{file}:"
    assert [line.strip().split(":")[0] for line in lines[1:]] == ["seed", "model.dropout", "validation.fold"]


def test_files_that_are_no_recipes(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no\.toml: no such recipe"):
        load_recipe(tmp_path / "no.toml")
    with pytest.raises(RecipeError, match="not a recipe"):
        load_recipe(tmp_path)
    path = tmp_path / "bad.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match="not a recipe"):
        load_recipe(path)
    path.write_text("seed = \n")
    with pytest.raises(RecipeError, match=r"bad\.toml: not valid TOML: .*line 1"):
        load_recipe(path)


def test_the_word_none_leaves_a_key_empty_in_a_file_too() -> None:
    recipe = changed(pretrain={"clip": "none", "steps": 5}, predict="none")
    assert recipe.pretrain is not None
    assert recipe.pretrain.clip is None
    assert recipe.predict is None


def test_widths_by_default() -> None:
    """Two thirds of four times the width when gated (Shazeer 2020), a multiple of 32."""
    assert Recipe().model.resolved_d_ff == 704  # 8 * 256 / 3 = 682.7
    assert changed(model={"preset": "classic"}).model.resolved_d_ff == 1024
    assert changed(model={"d_ff": 100}).model.resolved_d_ff == 100
    assert changed(model={"preset": "classic", "activation": "swiglu", "d_model": 96}).model.resolved_d_ff == 256
    assert (changed().model.resolved_activation, changed(model={"preset": "classic"}).model.resolved_activation) == (
        "geglu",
        "relu",
    )


def test_a_recipe_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Recipe().seed = 5


@pytest.mark.parametrize("content", ["a = " + "[" * 100_000, "a = " + "9" * 100_000], ids=["brackets", "digits"])
def test_a_recipe_that_no_parser_can_read_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(content)
    with pytest.raises(RecipeError, match="not a recipe"):
        load_recipe(path)
