"""Documents say what the code does: recipes parse, keys and files exist, links resolve, pictures match the contract."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from pydantic import BaseModel

import bongsu
from bongsu.errors import RecipeError
from bongsu.inference.onnx import BundlePredictor
from bongsu.model.heads import build_head
from bongsu.pipeline.running import Run
from bongsu.recipe import Recipe, parse_recipe, parse_section
from bongsu.search.study import Study
from bongsu.tasks.task import Calibration

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob(".github/**/*.md")])
HISTORY = {ROOT / "docs" / "log.md", ROOT / "CHANGELOG.md"}  # name keys and files of the past
LONGEST = 100

_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_SUFFIXES = (".json", ".onnx", ".py", ".toml")  # of file names that look like keys
_FILE = re.compile(r"(?:bongsu|docs|tests|recipes|studies|benchmarks)/[\w./-]*|[\w-]+\.(?:toml|md|yaml)")

every_page = pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a page whose first line is ``` and `language`."""
    return [body for info, body in _FENCE.findall(page.read_text(encoding="utf-8")) if info.strip() == language]


def prose(page: Path) -> list[str]:
    """Return the lines of a page that are neither code nor table."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return [line for line in text.split("\n") if not line.startswith(("|", "    "))]


def test_the_pages_are_found() -> None:
    names = {page.name for page in PAGES}
    assert names >= {"README.md", "README.ko.md", "CONTRIBUTING.md", "CHANGELOG.md", "architecture.md", "tasks.md", "log.md"}


# Recipes


@every_page
def test_recipes_parse(page: Path) -> None:
    for block in blocks(page, "toml"):
        assert parse_recipe(tomllib.loads(block), page.name).name


def test_every_kind_of_task_has_a_recipe() -> None:
    recipes = [parse_recipe(tomllib.loads(block)) for block in blocks(ROOT / "docs" / "reference" / "tasks.md", "toml")]
    kinds = Recipe.model_fields["task"].annotation
    known = {str(model.model_fields["kind"].default) for model in _models_in(kinds)}
    assert {recipe.task.kind for recipe in recipes if recipe.task} == known


@every_page
def test_studies_parse(page: Path) -> None:
    for block in blocks(page, 'toml title="study"'):
        tree = tomllib.loads(block)
        small = tree.pop("small", {})
        assert parse_section(Study, tree | small, page.name).name


def test_a_wrong_recipe_would_be_found() -> None:
    with pytest.raises(RecipeError, match="no such key"):
        parse_recipe(tomllib.loads('[finetune]\ntrain = "train.csv"'))


# Keys and files


@every_page
def test_keys_exist(page: Path) -> None:
    if page in HISTORY:
        return
    sections = set(Recipe.model_fields)
    commands = re.findall(r"--set '?([a-z_0-9.]+)=", page.read_text(encoding="utf-8"))
    named = [match[1] for code in _codes(page) if (match := re.match(r"([a-z_]+(?:\.[a-z_0-9]+)+)(?: = .*)?$", code))]
    keys = [key for key in [*commands, *named] if key.split(".")[0] in sections and not key.endswith(_SUFFIXES)]
    missing = [key for key in keys if not _has(Recipe, key.split("."))]
    assert not missing, f"{page.name}: no recipe has {', '.join(missing)}"


def test_a_wrong_key_would_be_found() -> None:
    assert _has(Recipe, ["corpus", "sources", "0", "path"])
    assert _has(Recipe, ["task", "head", "filters"])
    assert not _has(Recipe, ["finetune", "train"])
    assert not _has(Recipe, ["task", "head", "filter"])


@every_page
def test_files_exist(page: Path) -> None:
    if page in HISTORY:
        return
    named = {name for code in _codes(page) for name in code.split() if _FILE.fullmatch(name)}
    commands = re.findall(r"(?:recipes|studies)/[\w./-]+\.toml", page.read_text(encoding="utf-8"))
    made = {"recipe.toml", "best.toml", "results.md"}  # by a run or a search
    made |= set(re.findall(r"(?<= )[\w-]+\.toml", "\n".join(blocks(page, "bash"))))  # or by who types the commands
    missing = [name for name in {*named, *commands} - made if not ((ROOT / name).exists() or (page.parent / name).exists())]
    assert not missing, f"{page.name}: there is no {', '.join(missing)}"


@every_page
def test_links_resolve(page: Path) -> None:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in _LINK.findall(text):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), f"{page.name}: {link}: there is no {name}"
        if anchor:
            assert anchor in _anchors(target), f"{page.name}: {link}: no such heading"


@every_page
def test_lines_are_short(page: Path) -> None:
    long = [line for line in prose(page) if len(line) > LONGEST and " " in line.strip()]
    assert not long, f"{page.name}: more than {LONGEST} characters: {long[0]}"


# Code


@every_page
def test_python_compiles_and_its_names_exist(page: Path) -> None:
    if page in HISTORY:
        return
    for block in blocks(page, "python"):
        tree = ast.parse(block, page.name)
        made = {"bongsu": bongsu} | dict(_assigned(tree))
        for node in ast.walk(tree):
            match node:
                case ast.ImportFrom(module=str(module), names=names) if module.startswith("bongsu"):
                    for each in names:
                        assert hasattr(importlib.import_module(module), each.name), f"{page.name}: {module}.{each.name}"
                case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in made:
                    assert _offers(made[name], attribute), f"{page.name}: {name}.{attribute}"
                case ast.Attribute(value=ast.Call() as call, attr=attribute) if _result(call):
                    assert _offers(_result(call), attribute), f"{page.name}: {ast.unparse(node)}"


def _result(call: ast.expr) -> type | None:
    returned = {"bongsu.load": BundlePredictor, "bongsu.run": Run}
    return returned.get(ast.unparse(call.func)) if isinstance(call, ast.Call) else None


def _offers(owner: Any, name: str) -> bool:
    return hasattr(owner, name) or name in getattr(owner, "__annotations__", {})


def _assigned(tree: ast.AST) -> Iterator[tuple[str, type]]:
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if found := _result(value):
                yield name, found


# The site and the pages that are written from the code


def test_what_is_written_from_the_code_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    for name, text in importlib.import_module("generate").pages().items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text, f"docs/{name} is old: python docs/generate.py"


def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"})
    assert built.returncode == 0, built.stdout + built.stderr
    pages = [page.read_text(encoding="utf-8") for page in tmp_path.rglob("*.html")]
    assert len(pages) > len(list(ROOT.glob("docs/**/*.md")))  # and the page of what is not found
    assets = re.findall(r"<(?:script|link|img|iframe)[^>]*\s(?:src|href)=\"([^\"]+)\"", "".join(pages))
    assert assets
    assert not [asset for asset in assets if re.match(r"(?:https?:)?//", asset)]


# Tables and versions


def test_the_table_of_rooms_is_the_contract() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"][0]
    layers = [re.sub(r"[()\s]|bongsu\.", "", room) for layer in contract["layers"] for room in layer.split("|")]
    page = (ROOT / "docs" / "concepts" / "architecture.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `bongsu/(\w+)(?:/|\.py)` \|", page, re.MULTILINE) == layers


def test_the_changelog_begins_with_the_version() -> None:
    page = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## (\d+\.\d+\.\d+)", page, re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert versions[0] == bongsu.__version__ == project["version"]


# The worked example


def test_the_task_of_contributing_works(tmp_path: Path) -> None:
    names: dict[str, Any] = {"__name__": "example"}
    for block in blocks(ROOT / "CONTRIBUTING.md", "python"):
        exec(compile(block, "CONTRIBUTING.md", "exec", dont_inherit=True), names)
    rows = [
        "id,text,grade",
        "a,roof gone,severe",
        "b,all fine,none",
        "c,window cracked,minor",
        "d,wall fell,severe",
        "e,no grade,",
    ]
    path = tmp_path / "grades.csv"
    path.write_text("\n".join(rows), encoding="utf-8")
    settings = names["Ordinal"](train=str(path), grades=["none", "minor", "severe"])
    task = names["OrdinalTask"](settings)
    examples = task.read(str(path), {})
    task.schema = task.learn_schema(examples)
    assert [example.target for example in examples] == [2, 0, 1, 2]
    head = task.head()
    assert build_head(8, head).config.n_outputs == 1
    outputs = task.naive(examples, examples)
    loss = task.criterion([])(*(_tensor(each) for each in (outputs.values, [task.target(None, each) for each in examples])))
    assert float(loss) == pytest.approx(np.mean([0.25, 2.25, 0.25, 0.25]))
    calibration = task.calibrate(examples, outputs)
    answers = task.answers(examples, task.probabilities(outputs, calibration), calibration)
    assert {answer.label for answer in answers} == {"severe"}
    scores = task.score(examples, outputs.with_values([[2.4], [0.1], [1.8], [2.0]]), Calibration())
    assert scores["accuracy"] == 0.75
    assert set(scores) == {metric.name for metric in task.metrics}
    statistics = task.statistics(examples, outputs.with_values([[2.4], [0.1], [1.8], [2.0]]), Calibration())
    assert task.main_metric(statistics.sum(axis=0)) == 0.75
    path.write_text("\n".join([*rows, "f,roof gone,huge"]), encoding="utf-8")
    with pytest.raises(ValueError, match="huge"):
        task.parse({"text": "roof gone", "grade": "huge"})


def _tensor(values: Any) -> Any:
    import torch

    return torch.tensor(np.array(values), dtype=torch.float32)


def _codes(page: Path) -> Iterator[str]:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    yield from (code for line in text.split("\n") if not line.startswith("    ") for code in _CODE.findall(line))


def _has(model: type[BaseModel], key: list[str]) -> bool:
    if key[0].isdigit():
        return _has(model, key[1:])
    if key[0] not in model.model_fields:
        return False
    annotation = model.model_fields[key[0]].annotation
    return len(key) == 1 or any(_has(each, key[1:]) for each in _models_in(annotation))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading).lower()).replace(" ", "-") for heading in headings}
