"""Write docs/reference/ from the code: recipe keys, command line, HTTP, Python; and the drawings of packing and masking.

    python docs/generate.py

Run it again after a key, a verb or a docstring has changed.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import annotated_types
import drawings
from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.models import ArgumentInfo

import bongsu
import bongsu.cli  # adds the verbs to the application
from bongsu.cli.common import app
from bongsu.inference.explain import Word
from bongsu.inference.onnx import BundlePredictor
from bongsu.inference.predictor import Predictor
from bongsu.pipeline.running import Run
from bongsu.recipe import Recipe, Source
from bongsu.serving.app import api, open_routes
from bongsu.serving.labelling import labels
from bongsu.tasks.answering import SpanAnswer
from bongsu.tasks.classification import Prediction
from bongsu.tasks.multilabel import LabelSet
from bongsu.tasks.regression import Number
from bongsu.tasks.tagging import Span

FOLDER = Path(__file__).parent
NOTE = "<!-- Written by docs/generate.py: change the code and run it again. -->"
WIDTH = 100


def pages() -> dict[str, str]:
    """Return the text of every page and drawing by its file name."""
    return {
        "reference/recipe.md": recipe_page(),
        "reference/cli.md": cli_page(),
        "reference/http.md": http_page(),
        "reference/python.md": python_page(),
        "pictures/packing.svg": drawings.packing(),
        "pictures/masking.svg": drawings.masking(),
    }


# The recipe


def recipe_page() -> str:
    """Return every section and key of a recipe with its type, its default and its docstring."""
    lines = [
        "# Every key of a recipe",
        "",
        NOTE,
        "",
        *textwrap.wrap(
            "A recipe is a TOML file. Keys that have no default must be given when their section is. The word `none` leaves a "
            "key empty. Any key is changed for one run with `--set section.key=value`.",
            WIDTH,
        ),
        "",
        "## Top level",
        "",
        *_table(Recipe, {name: field for name, field in Recipe.model_fields.items() if not models_in(field.annotation)}),
    ]
    for name, field in Recipe.model_fields.items():
        kinds = models_in(field.annotation)
        for model in kinds:
            several = len(kinds) > 1
            heading = f'`[{name}]` with `kind = "{model.model_fields["kind"].default}"`' if several else f"`[{name}]`"
            lines += ["", f"## {heading}", *_prose(model), "", *_table(model, model.model_fields)]
    for model, heading in nested(Recipe):
        lines += ["", f"## {heading}", *_prose(model), "", *_table(model, model.model_fields)]
    return "\n".join(lines) + "\n"


def nested(root: type[BaseModel]) -> list[tuple[type[BaseModel], str]]:
    """Return the sections that stand within sections, each once, with a heading that names where."""
    places: dict[type[BaseModel], list[str]] = {}
    for name, field in root.model_fields.items():
        for model in models_in(field.annotation):
            for key, inner in model.model_fields.items():
                for part in models_in(inner.annotation):
                    written = f"`[[{name}.{key}]]`" if part is Source else f"`[{name}.{key}]`"
                    if written not in places.setdefault(part, []):
                        places[part].append(written)
    return [(model, ", ".join(names)) for model, names in places.items()]


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the sections that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in models_in(argument)]


def key_docs(model: type) -> dict[str, str]:
    """Return the docstring under each field of a class; a field that is given anew without one keeps that of the base."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if not base.__module__.startswith("bongsu."):
            continue
        (node,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(node, ast.ClassDef)
        for key, after in zip(node.body, node.body[1:], strict=False):
            match key, after:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = " ".join(text.split())
    return found


def _table(model: type[BaseModel], fields: dict[str, FieldInfo]) -> Iterator[str]:
    docs = key_docs(model)
    yield from ("| key | type | default | |", "|---|---|---|---|")
    for name, field in fields.items():
        default = "must be given" if field.is_required() else _code(_toml(field.default))
        yield f"| `{name}` | {_cell(_kind(field))} | {default} | {_cell(docs[name])} |"


def _kind(field: FieldInfo) -> str:
    """Return a key's type in words, with its bounds."""
    bounds = [bound for each in field.metadata for bound in _bound(each)]
    return ", ".join([_words(field.annotation), *bounds])


def _words(annotation: Any) -> str:
    if annotation is NoneType:
        return '"none"'
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    names = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    if annotation in names:
        return names[annotation]
    arguments = get_args(annotation)
    origin = getattr(annotation, "__origin__", None)
    if hasattr(annotation, "__metadata__"):  # Annotated
        bounds = [bound for each in annotation.__metadata__ for bound in _bound(each)]
        return ", ".join([_words(origin), *bounds])
    if origin is list:
        return f"list of: {_words(arguments[0])}"
    if origin is tuple:
        return f"{len(arguments)} of: {_words(arguments[0])}"
    if origin is dict:
        return "table of text"
    if all(isinstance(each, str) for each in arguments):
        return ", ".join(f'"{each}"' for each in arguments)
    return " or ".join(dict.fromkeys(_words(each) for each in arguments))


def _bound(constraint: Any) -> Iterator[str]:
    """Yield what a constraint says, in words."""
    for each in constraint.metadata if isinstance(constraint, FieldInfo) else [constraint]:
        match each:
            case annotated_types.Ge(ge=value):
                yield f"at least {value:,}"
            case annotated_types.Gt(gt=value):
                yield f"above {value:g}"
            case annotated_types.Le(le=value):
                yield f"at most {value:,}"
            case annotated_types.Lt(lt=value):
                yield f"below {value:,}"
            case annotated_types.MinLen(min_length=value):
                yield f"at least {value} long"


def _toml(value: Any) -> str:
    """Return a default as one writes it in a recipe."""
    if isinstance(value, BaseModel):
        changed = {name: getattr(value, name) for name in value.model_fields_set}
        return "{ " + ", ".join(f"{name} = {_toml(each)}" for name, each in changed.items()) + " }" if changed else ""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return '"none"'
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return "{}" if value == {} else str(value)


# The command line


def cli_page() -> str:
    """Return every verb with its arguments, options and examples."""
    lines = ["# The command line", "", NOTE, "", "`bongsu VERB --help` says the same."]
    panel = ""
    for command in app.registered_commands:  # in the order of their panels
        assert command.callback is not None
        assert command.name is not None
        assert command.rich_help_panel is not None
        if command.rich_help_panel != panel:
            panel = command.rich_help_panel
            lines += ["", f"## {panel}"]
        parameters = parameters_of(command.callback)
        words = [each.names[0] for each in parameters if not each.is_option]
        lines += [
            "",
            f"### bongsu {command.name}",
            "",
            "```text",
            " ".join(["bongsu", command.name, "[OPTIONS]", *words]),
            "```",
        ]
        for paragraph in inspect.cleandoc(command.help or command.callback.__doc__ or "").split("\n\n"):
            lines += ["", *_wrapped(" ".join(paragraph.split()))]
        lines += ["", "| | default | |", "|---|---|---|", *(each.row() for each in parameters)]
        examples = [line.strip().replace("\\[", "[") for line in (command.epilog or "").split("\n") if line.startswith("  ")]
        lines += ["", "```bash", *examples, "```"]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Parameter:
    """An argument or option of a verb."""

    names: list[str]
    value: str
    """What stands for its value; empty for a switch."""
    default: str
    help: str

    @property
    def is_option(self) -> bool:
        return self.names[0].startswith("-")

    def row(self) -> str:
        """Return its line of a table."""
        names = ", ".join(_code(f"{name} {self.value}".strip()) for name in self.names)
        return f"| {names} | {self.default} | {_cell(self.help)} |"


def parameters_of(verb: Callable[..., Any]) -> list[Parameter]:
    """Return the arguments and options of a verb, as its signature names them."""
    hints = get_type_hints(verb, include_extras=True)
    return [_parameter(each.name, hints[each.name], each.default) for each in inspect.signature(verb).parameters.values()]


def _parameter(name: str, hint: Any, default: Any) -> Parameter:
    kind, info = get_args(hint)
    about = " ".join((info.help or "").split())
    if default is inspect.Parameter.empty:
        shown = "must be given"
    else:
        shown = "" if default in (None, False, "") else _code(str(getattr(default, "value", default)))
    if isinstance(info, ArgumentInfo):
        return Parameter([info.metavar or name.upper()], "", shown, about)
    dashed = "--" + name.replace("_", "-")
    given = [info.default, *(info.param_decls or [])]  # within Annotated, Typer keeps the first name as the default
    names = [part for each in given if isinstance(each, str) for part in each.split("/") if part.startswith("-")]
    if bool in (kind, *get_args(kind)):
        return Parameter(names or [dashed, f"--no-{dashed[2:]}"], "", shown, about)
    names = names or [dashed]
    kinds = {kind, *get_args(kind)}
    value = "N" if kinds & {int, float} else "FILE" if Path in kinds else "TEXT"
    return Parameter(names, info.metavar or value, shown, about)


# HTTP


def http_page() -> str:
    """Return every path of the API with its fields, as its OpenAPI description names them."""
    service = FastAPI()
    for router in (open_routes, api, labels):
        service.include_router(router)
    described = service.openapi()
    lines = ["# The HTTP API", "", NOTE, "", "A server's own `/docs` says the same and lets one try it."]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            lines += ["", f"## {method.upper()} {path}", "", *_wrapped(" ".join(operation.get("description", "").split()))]
            rows = [(each["name"], each["schema"], each.get("required")) for each in operation.get("parameters", [])]
            for schema in _bodies(operation.get("requestBody", {})):
                lines += _fields("sends", schema, described, rows)
                rows = []
            if rows:
                lines += _fields("asks", {}, described, rows)
            for schema in _bodies(operation["responses"]["200"]):
                lines += _fields("answers", schema, described, [])
    lines += ["", "## Parts of answers"]
    for name, schema in described["components"]["schemas"].items():
        if not name.endswith(("Request", "Response", "ValidationError")):
            lines += _fields(name, schema, described, [])
    return "\n".join(lines) + "\n"


def _bodies(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from (each["schema"] for kind, each in part.get("content", {}).items() if kind == "application/json")


def _fields(what: str, schema: dict[str, Any], described: dict[str, Any], rows: list[Any]) -> list[str]:
    """Return a table of the fields of a body, after those that stand in the address."""
    if "$ref" in schema:
        schema = described["components"]["schemas"][schema["$ref"].split("/")[-1]]
    needed = set(schema.get("required", []))
    rows = [*rows, *((name, each, name in needed) for name, each in schema.get("properties", {}).items())]
    if not rows:
        return []
    table = [f"| `{name}` | {_cell(_json(each))} | {_default(each, must)} | {_cell(each.get('description', ''))} |"
             for name, each, must in rows]  # fmt: skip
    return ["", f"| {what} | type | default | |", "|---|---|---|---|", *table]


def _json(schema: dict[str, Any]) -> str:
    """Return the type of a field in words."""
    if "$ref" in schema:
        return str(schema["$ref"].split("/")[-1])
    if options := schema.get("anyOf"):
        return " or ".join(_json(each) for each in options)
    if schema.get("type") == "array":
        return f"list of {_json(schema.get('items', {}))}"
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return ", ".join(map(json.dumps, schema["enum"]))
    return {"string": "text", "integer": "whole number", "boolean": "true or false"}.get(
        kind := schema.get("type", "any"), kind
    )


def _default(schema: dict[str, Any], must: bool | None) -> str:
    return "must be given" if must else _code(_toml(schema["default"])) if schema.get("default") is not None else ""


# Python


def python_page() -> str:
    """Return the functions and methods that are for users, with signatures and docstrings."""
    lines = ["# In Python", "", NOTE]
    functions: list[tuple[str, Callable[..., Any]]] = [("bongsu.load", bongsu.load), ("bongsu.run", bongsu.run)]
    lines += ["", "## Functions", *(line for name, each in functions for line in _function(name, each))]
    lines += ["", "## What `load` returns", "", *_wrapped(inspect.getdoc(Predictor) or "")]
    for name, method in vars(Predictor).items():
        if callable(method) and not name.startswith("_") and method.__doc__:
            lines += _function(f"detector.{name}", method)
    lines += [*_function("detector.fill_mask", BundlePredictor.fill_mask), "", "## Answers, and what `run` returns"]
    for record in (Prediction, LabelSet, Number, Span, SpanAnswer, Word, Run):
        docs = key_docs(record)
        rows = [f"| `{each.name}` | {_cell(str(each.type))} | {_cell(docs.get(each.name, ''))} |" for each in fields(record)]
        lines += [
            "",
            f"### {record.__name__}",
            "",
            *_wrapped(inspect.getdoc(record) or ""),
            "",
            "| | type | |",
            "|---|---|---|",
            *rows,
        ]
    lines += ["", "`run.report` is the path of the report's page."]
    return "\n".join(lines) + "\n"


def _function(name: str, function: Callable[..., Any]) -> list[str]:
    signature = re.sub(r"\(self(?:, )?", "(", str(inspect.signature(function)))
    signature = re.sub(r"(: |-> )'([^']*)'", r"\1\2", signature)  # annotations are kept as text
    return ["", f"### {name}", "", "```text", f"{name}{signature}", "", inspect.getdoc(function) or "", "```"]


# Markdown


def _prose(model: type[BaseModel]) -> Iterator[str]:
    for paragraph in (inspect.getdoc(model) or "").split("\n\n"):
        yield from ("", *_wrapped(" ".join(paragraph.split())))


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(_brackets(text), WIDTH, break_long_words=False, break_on_hyphens=False)


def _brackets(text: str) -> str:
    """Keep Markdown from taking "[task]" for a link or "<host>" for HTML; code stands as it is."""
    parts = text.split("`")
    return "`".join(part if number % 2 else re.sub(r"([\[\]<])", r"\\\1", part) for number, part in enumerate(parts))


def _cell(text: str) -> str:
    return _brackets(text).replace("|", "\\|")


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|") if text else ""


def main() -> None:
    """Write the pages."""
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(FOLDER / name, file=sys.stderr)


if __name__ == "__main__":
    main()
