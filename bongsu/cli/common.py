"""What the verbs share: the application, the options every recipe verb takes, tables, and which model answers."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from bongsu import __version__, progress
from bongsu.errors import BongsuError, need

if TYPE_CHECKING:
    from bongsu.labelling.desk import Desk
    from bongsu.recipe import TextFormat
    from bongsu.training.tracking import Tracker

__all__ = [
    "Delimiter",
    "Encoding",
    "MaxBad",
    "Out",
    "Quoting",
    "RecipePath",
    "Set",
    "ToMLflow",
    "ToTensorBoard",
    "app",
    "chosen_trackers",
    "first_line",
    "need",
    "need_for_labels",
    "of_keyboard",
    "of_terminal",
    "open_desk",
    "ready_bundle",
    "show",
    "split_model",
    "text_format",
]

DATA = (".txt", ".csv", ".tsv", ".jsonl", ".json", ".ndjson", ".parquet", ".xlsx", ".zip", ".gz", ".zst", ".log")
"""Endings of files with messages, by which a path that is not there is called a missing file and not a missing model."""

app = typer.Typer(
    name="bongsu",
    help="From raw text to a small language model of your own, and from there to a detector.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RecipePath = Annotated[Path, typer.Argument(help="A recipe, such as recipes/demo.toml", show_default=False)]
Set = Annotated[list[str] | None, typer.Option("--set", help="Change a setting: section.key=value", metavar="KEY=VALUE")]
Out = Annotated[Path | None, typer.Option("--out", help="The run's folder (default: runs/NAME)", metavar="DIR")]
ToTensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Write the curves to DIR/tensorboard as well, live")]
ToMLflow = Annotated[str | None, typer.Option("--mlflow", help="Log the curves to an MLflow server, live", metavar="URI")]
Encoding = Annotated[str, typer.Option("--encoding", help="Of the file, such as cp949 (default: found by looking)")]
Delimiter = Annotated[str, typer.Option("--delimiter", help="Between the cells of CSV and TSV (default: found by looking)")]
Quoting = Annotated[str, typer.Option("--quoting", help="Of cells: rfc4180, none (default: found by looking)")]
MaxBad = Annotated[int, typer.Option("--max-bad", help="Stop after this many rows that cannot be read", min=0)]


def text_format(encoding: str, delimiter: str, quoting: str, max_bad: int) -> TextFormat:
    """Return how a file is written, as the options say.

    Raises:
        RecipeError: when one of them is not valid.
    """
    from bongsu.recipe import TextFormat, parse_section

    tab = "\t" if delimiter == "\\t" else delimiter
    values = {"encoding": encoding, "delimiter": tab, "quoting": quoting, "max_bad": max_bad}
    return parse_section(TextFormat, values, "options")


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Say the version and end.")] = False) -> None:
    if version:
        print(f"bongsu {__version__}")
        raise typer.Exit


def show(title: str, headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table to standard output; to a file or a pipe as wide as it needs to be."""
    console = Console(highlight=False)
    table = progress.grid(title, headings, rows)
    if not console.is_terminal:
        console.width = max(console.width, console.measure(table, options=console.options.update(width=10_000)).maximum)
    console.print(table)


def chosen_trackers(tensorboard: bool, mlflow: str | None, name: str, folder: Path) -> list[Tracker]:
    """Return the trackers that the options ask for.

    Raises:
        BongsuError: when a package is missing, or MLflow cannot be logged to.
    """
    from bongsu.training.tracking import MLflow, TensorBoard

    trackers: list[Tracker] = [TensorBoard(folder / "tensorboard")] if tensorboard else []
    return [*trackers, *([MLflow(mlflow, name, folder)] if mlflow is not None else [])]


def split_model(words: Sequence[str]) -> tuple[str, list[str]]:
    """Return the model that the first word names, by default the detector that ships with Bongsu, and the other words.

    A word names a model when it begins with "bongsu:", is a folder, or is written like the path of one: a slash, no blank, and
    not the ending of a file with messages.
    """
    from bongsu.models import DEFAULT

    return (words[0], list(words[1:])) if words and _names_model(words[0]) else (DEFAULT, list(words))


def _names_model(word: str) -> bool:
    from bongsu.inference.bundle import PICKLES
    from bongsu.models import PREFIX

    if not word or any(map(str.isspace, word)) or "://" in word:
        with suppress(OSError, ValueError):
            return Path(word).is_dir() and bool(word.strip())
        return False
    if word.startswith(PREFIX):
        return True
    try:
        path = Path(word)
        return path.is_dir() or path.suffix in PICKLES or ("/" in word and path.suffix not in DATA and not path.is_file())
    except (OSError, ValueError):
        return False


def of_terminal() -> bool:
    """Return whether standard output is a terminal, so that a reader wants a table and no JSON."""
    return sys.stdout is not None and sys.stdout.isatty()


def of_keyboard() -> bool:
    """Return whether standard input is a keyboard."""
    return sys.stdin is not None and sys.stdin.isatty()


def ready_bundle(model: str | Path) -> Path:
    """Return a bundle to serve: the one named, or of a run's folder its bundle, exported anew if the model has changed.

    Args:
        model: a bundle, a run's folder, or the name of a detector that ships with Bongsu.

    Raises:
        BongsuError: when the run has no fine-tuned model, or packages for the export are missing.
    """
    from bongsu.files import read_json
    from bongsu.inference.bundle import CONFIG, MODEL_INT8, is_bundle, origin
    from bongsu.models import packaged

    path = packaged(model, "detector") or Path(model)
    trained = path / "finetune" / "model"
    if is_bundle(path) or not (path / "recipe.toml").is_file():
        return path
    if not (trained / "config.json").is_file():
        raise BongsuError(f"{path}: this run has no fine-tuned model yet; `bongsu run {path / 'recipe.toml'} --out {path}`.")
    folder = path / "export" / "onnx"
    if is_bundle(folder) and read_json(folder / CONFIG).get("origin") == origin(trained):
        return folder
    need("torch", "train")
    need("onnxscript", "export")
    from bongsu.export.bundle import export_onnx

    with progress.console.status(f"exporting to {folder}"):
        export_onnx(path, folder, int8=(folder / MODEL_INT8).is_file())
    progress.note(f"exported to {folder}")
    return folder


def first_line(file: Path | None, variable: str, what: str) -> str | None:
    """Return a secret from a file's first line or the environment: other users of the machine see the command line.

    Raises:
        BongsuError: when the file cannot be read, or its first line is empty.
    """
    if file is None:
        return os.environ.get(variable) or None
    try:
        line = file.read_text(encoding="utf-8-sig").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BongsuError(f"{file}: {what} cannot be read ({error}).") from None
    if not line:
        raise BongsuError(f"{file}: its first line should be {what}, and it is empty.")
    return line


def need_for_labels() -> None:
    """Ask for the packages that labels need."""
    for package in ("scipy", "datasketch"):
        need(package, "label")


def open_desk(path: Path | None) -> Desk:
    """Return where labels come in, kept in a file; without one they live as long as the process.

    Raises:
        BongsuError: when packages are missing, or the file is something else.
    """
    need_for_labels()
    from bongsu.labelling.desk import Desk
    from bongsu.labelling.store import LabelStore

    return Desk(LabelStore(path))
