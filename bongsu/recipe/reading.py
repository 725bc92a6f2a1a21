"""Recipes from TOML and back, with overrides and errors that name the nearest valid key."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import tomli_w
from pydantic import BaseModel, ValidationError

from bongsu.errors import RecipeError
from bongsu.files import redacted_tree, write_text
from bongsu.recipe.section import Section, SectionT, Tree
from bongsu.recipe.whole import Recipe

_SYNONYMS = {
    "silu": "swish",
    "adam": "adamw",
    "fp32": "float32",
    "float": "float32",
    "bf16": "bfloat16",
    "ner": "tagging",
    "token-classification": "tagging",
    "qa": "answering",
    "question-answering": "answering",
    "nli": "pair",
    "sts": "pair",
    "multi-label": "multilabel",
    "text-classification": "classification",
    "binary": "classification",
    "txt": "text",
    "json": "jsonl",
    "ndjson": "jsonl",
    "xlsx": "aihub",
    "korean": "ko",
    "english": "en",
}
"""What others call a value of a recipe."""
_KEY_FIRST = re.compile(r"[\w.]+: ")
"""How the messages of a section begin, which name a key of it; those of a key alone do not."""
_OF_STUDIES = ("objective", "space")
"""Keys that every study has, and no recipe."""


def load_recipe(path: Path, overrides: list[str] | None = None) -> Recipe:
    """Read a recipe and apply `section.key=value` overrides (values are TOML, or plain text; `none` leaves a key empty).

    Raises:
        RecipeError: naming the key's path and the nearest valid name.
    """
    tree = read_tree(path)
    override(tree, overrides or [])
    return parse_recipe(tree, str(path))


def read_tree(path: Path) -> Tree:
    """Read a TOML file as it stands.

    Raises:
        RecipeError: when the file cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe. Paths are relative to the current folder, {os.getcwd()}.") from None
    except (IsADirectoryError, UnicodeDecodeError):
        raise RecipeError(f"{path}: not a recipe (a TOML text file is needed).") from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not valid TOML: {error}") from None
    except (RecursionError, ValueError) as error:  # brackets within brackets, numbers of thousands of digits
        raise RecipeError(f"{path}: not a recipe ({str(error)[:100]}).") from None


def override(tree: Tree, changes: list[str]) -> None:
    """Apply `section.key=value` to a tree of plain values; see `load_recipe`.

    Raises:
        RecipeError: when a change is not written so, or a part of its key is no section.
    """
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or not key.strip():
            raise RecipeError(f"--set {change}: write it as section.key=value")
        put(tree, key.strip(), _value(text), f"--set {change}")


def parse_recipe(tree: Tree, where: str = "recipe") -> Recipe:
    """Check a tree of plain values; see `load_recipe`."""
    if all(key in tree for key in _OF_STUDIES):
        raise RecipeError(f"{where}: a study, not a recipe: bongsu tune {where}")
    return parse_section(Recipe, tree, where)


def parse_section(kind: type[SectionT], tree: Tree, where: str) -> SectionT:
    """Check a tree of plain values against a section.

    Raises:
        RecipeError: beginning with `where`, with a line for each key that is wrong.
    """
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        lines = [_explain(item, kind) for item in error.errors()]
        raise RecipeError(f"{where}:\n" + "\n".join(f"  {line}" for line in lines)) from None


def dump_recipe(recipe: Recipe) -> str:
    """Return the recipe as TOML with every setting written out; reading it back gives an equal recipe.

    It may hold passwords and tokens in URLs: use `write_recipe` to keep it, and `show_recipe` for what others will read.
    """
    return tomli_w.dumps(_without_null(recipe.model_dump()))


def show_recipe(recipe: Recipe) -> str:
    """Return what `dump_recipe` does, without user names, passwords and queries in URLs."""
    return tomli_w.dumps(_without_null(redacted_tree(recipe.model_dump())))


def write_recipe(path: Path, recipe: Recipe, comment: str = "") -> None:
    """Write a recipe to a file, which only its owner may read (mode 0600) when there are secrets in it.

    Args:
        comment: lines in front of it.
    """
    content = dump_recipe(recipe)
    write_text(path, comment + content, private=content != show_recipe(recipe))


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_null(item) for item in value]
    return "none" if value is None else value


def put(tree: Tree, key: str, value: Any, where: str) -> None:
    """Set `section.key`, or the n-th of a list as `corpus.sources.0.path`, in a tree of plain values.

    Raises:
        RecipeError: beginning with `where`, when a part of the key is no section.
    """
    *sections, last = key.split(".")
    node: Any = tree
    for section in sections:
        if isinstance(node, list) and section.isdigit() and int(section) < len(node):
            node = node[int(section)]
        elif isinstance(node, dict):
            node = node.setdefault(section, {})
        else:
            raise RecipeError(f"{where}: {section!r} is not a section")
    if isinstance(node, list) and last.isdigit() and int(last) < len(node):
        node[int(last)] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise RecipeError(f"{where}: {sections[-1]!r} is not a section")


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _explain(item: Any, kind: type[Section]) -> str:
    # Between "task" and its key pydantic names the kind, which is no part of the key's path.
    parts = [str(part) for number, part in enumerate(item["loc"]) if not (number == 1 and item["loc"][0] == "task")]
    path = ".".join(parts)
    if item["type"] == "extra_forbidden":
        names = _keys_at(kind, item["loc"][:-1])
        name = str(item["loc"][-1])
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.7)
        elsewhere = [section for section in _sections_with(name) if kind is Recipe and section != item["loc"][0]]
        if elsewhere and not near:
            hint = f"it is a key of {' and '.join(f'[{section}]' for section in elsewhere)}"
        else:
            near = near or difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"the keys here are {', '.join(sorted(names))}"
        return f"{path}: no such key; {hint}"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":
        if not path:
            return str(message)
        return f"{path}.{message}" if _KEY_FIRST.match(message) else f"{path}: {message}"
    if item["type"] == "missing":
        return f"{path}: this key must be given"
    if item["type"] == "union_tag_invalid":
        expected = item["ctx"]["expected_tags"].replace("'", "")
        near = _meant(item["ctx"]["tag"], expected.split(", "))
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{path}.kind: {item['ctx']['tag']!r} is not one of {expected}{hint}"
    if item["type"] == "literal_error":
        expected = item["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        near = _meant(str(item["input"]), expected)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{path}: {item['input']!r} is not one of {', '.join(expected)}{hint}"
    return f"{path}: {message[0].lower()}{message[1:]} (given: {item['input']!r})"


def _meant(given: str, expected: list[str]) -> list[str]:
    """Return the value that was meant, if any: another name of one of `expected`, or the one that is spelled most alike."""
    name = given.lower()
    if _SYNONYMS.get(name) in expected:
        return [_SYNONYMS[name]]
    return difflib.get_close_matches(name, expected, n=1, cutoff=0.5)


def _keys_at(kind: type[Section], location: tuple[Any, ...]) -> list[str]:
    """Return the valid keys of the section at a location such as ("corpus", "sources", 0)."""
    section: type[BaseModel] = kind
    for part in location:
        if isinstance(part, int) or part not in section.model_fields:
            continue
        section = next(
            (kind for kind in _models_in(section.model_fields[part].annotation)),
            section,
        )
    return list(section.model_fields)


def _sections_with(name: str) -> list[str]:
    """Return the sections of a recipe that have a key, nested ones as `task.head`."""
    found = []
    for section, field in Recipe.model_fields.items():
        for model in _models_in(field.annotation):
            found += [section] if name in model.model_fields else []
            for inner, part in model.model_fields.items():
                found += [f"{section}.{inner}" for nested in _models_in(part.annotation) if name in nested.model_fields]
    return found


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
