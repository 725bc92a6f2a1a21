"""The command line: one function a verb. Each parses, calls, and prints; the work is elsewhere.

Heavy packages are imported inside the verbs, so that `bongsu --help` answers at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bongsu import __version__, progress
from bongsu.errors import BongsuError, MissingExtraError
from bongsu.files import write_bytes
from bongsu.recipe import Recipe, load_recipe

if TYPE_CHECKING:
    from bongsu.pipeline.running import Run

app = typer.Typer(
    name="bongsu",
    help="From raw text to a small language model of your own, and from there to a detector.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RecipePath = Annotated[Path, typer.Argument(help="A recipe, such as recipes/demo.toml", show_default=False)]
Set = Annotated[list[str] | None, typer.Option("--set", help="Change a setting: section.key=value", metavar="KEY=VALUE")]
Out = Annotated[Path | None, typer.Option("--out", help="The run's folder (default: runs/NAME)", metavar="DIR")]


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Say the version and end.")] = False) -> None:
    if version:
        print(f"bongsu {__version__}")
        raise typer.Exit


@app.command()
def run(recipe: RecipePath, changes: Set = None, out: Out = None) -> None:
    """Run a recipe, all stages; what is done is not done again."""
    finished = _run(recipe, changes, out, None)
    if finished.report.is_file():
        progress.note(f"report: {finished.report}")


@app.command()
def prepare(recipe: RecipePath, changes: Set = None, out: Out = None) -> None:
    """Read, clean, de-duplicate and split the corpus."""
    _run(recipe, changes, out, "prepare")


@app.command()
def tokenizer(recipe: RecipePath, changes: Set = None, out: Out = None) -> None:
    """Train the tokenizer (after the corpus is prepared)."""
    _run(recipe, changes, out, "tokenizer")


@app.command()
def encode(recipe: RecipePath, changes: Set = None, out: Out = None) -> None:
    """Encode the corpus to token shards."""
    _run(recipe, changes, out, "encode")


@app.command()
def pretrain(recipe: RecipePath, changes: Set = None, out: Out = None) -> None:
    """Pre-train the encoder with masked-language modelling."""
    _run(recipe, changes, out, "pretrain")


@app.command()
def finetune(recipe: RecipePath, changes: Set = None, out: Out = None) -> None:
    """Fine-tune the classifier."""
    _run(recipe, changes, out, "finetune")


@app.command()
def evaluate(recipe: RecipePath, changes: Set = None, out: Out = None) -> None:
    """Measure, compare with the baselines, write the report."""
    finished = _run(recipe, changes, out, "evaluate")
    progress.note(f"report: {finished.report}")


@app.command()
def plan(recipe: RecipePath, changes: Set = None, out: Out = None) -> None:
    """Say what a recipe will run, and what it costs on this machine, before anything starts."""
    parsed = load_recipe(recipe, changes)
    _need("torch", "train")
    from bongsu.pipeline.planning import estimate
    from bongsu.pipeline.stages import stages
    from bongsu.workspace import Workspace

    workspace = Workspace(out or Path("runs") / parsed.name)
    chain = stages(parsed, workspace)
    rows: list[list[Any]] = [[stage.name, "done" if workspace.is_done(stage) else "to run"] for stage in chain]
    progress.table(f"{parsed.name} → {workspace.path}", ["stage", "state"], rows)
    if parsed.pretrain is None:
        return
    with progress.console.status("timing a few steps"):
        found = estimate(parsed, workspace.path)
    about = "" if found.exact else "about "
    progress.table(
        "pre-training",
        ["", ""],
        [
            ["parameters", f"{found.parameters:,}"],
            ["tokens in the corpus", f"{about}{progress.short(found.tokens)} in {about}{found.sentences:,} sentences"],
            ["a batch", f"{found.shape.sentences} sentences in {found.shape.rows} rows of {found.shape.row_length}, "
                        f"{found.shape.masked} masked positions"],
            ["steps", f"{about}{found.steps:,}"],
            ["work a token", f"{progress.short(found.flops_per_token)} FLOP"],
            ["device", f"{found.device}, {found.precision}"],
            ["memory", f"{found.memory_bytes / 2**30:.1f} GiB (measured in a trial)"],
            ["rate", f"{progress.short(found.tokens_per_second)} tokens/s (measured in a trial)"],
            ["time", f"{about}{duration(found.seconds)}"],
        ],
    )  # fmt: skip
    if not found.exact:
        progress.note("Tokens and steps are guessed from the size of the files; `bongsu encode` makes them exact.")


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="A run's folder, such as runs/demo", show_default=False)],
    texts: Annotated[list[str] | None, typer.Argument(help="Messages; without any, one a line from --input or stdin")] = None,
    input: Annotated[Path | None, typer.Option("--input", "-i", help="CSV, TSV, JSON Lines, Parquet or text")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to write (default: standard output)")] = None,
    format: Annotated[str, typer.Option("--format", "-f", help="jsonl, csv or kaggle")] = "jsonl",
    sample: Annotated[Path | None, typer.Option("--sample", help="Kaggle's sample_submission.csv, to check ids")] = None,
) -> None:
    """Classify messages."""
    _need("torch", "train")
    from bongsu.pipeline.predicting import predict_file, render
    from bongsu.tasks.detector import Detector

    if format not in ("jsonl", "csv", "kaggle"):
        raise BongsuError(f"--format {format}: it is one of jsonl, csv, kaggle")
    if format == "kaggle" and input is None:
        raise BongsuError("--format kaggle: name the file with the ids, such as --input test.csv")
    if input is not None:
        if texts:
            raise BongsuError("Give messages or --input, not both.")
        content, count = predict_file(run, str(input), format, str(sample) if sample else None)  # type: ignore[arg-type]
        if output is None:
            sys.stdout.buffer.write(content)
        else:
            write_bytes(output, content)
            progress.note(f"{count:,} rows in {output}")
        return
    detector = Detector.load(run)
    if texts:
        for text, prediction in zip(texts, detector.predict(texts), strict=True):
            print(f"{prediction.label:>12}  {prediction.probability:.3f}  {text}")
        return
    if sys.stdin.isatty():
        progress.note("Type messages, one a line; Ctrl-D ends.")
    for number, line in enumerate(sys.stdin.buffer):
        text = line.decode("utf-8", errors="replace").strip()
        if text:
            sys.stdout.buffer.write(render([str(number)], [text], detector.predict([text]), format))  # type: ignore[arg-type]
            sys.stdout.flush()


def duration(seconds: float) -> str:
    """90061 -> "1 d 1 h"."""
    for size, unit, small_size, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} {int(seconds % size // small_size)} {small}"
    return f"{seconds:.0f} s"


def _run(recipe: Path, changes: list[str] | None, out: Path | None, until: str | None) -> Run:
    parsed: Recipe = load_recipe(recipe, changes)
    _need("torch", "train")
    from bongsu.pipeline.running import run as run_recipe

    try:
        return run_recipe(parsed, out, until)
    except KeyboardInterrupt:
        progress.note("Stopped. The same command goes on from here.")
        raise typer.Exit(130) from None


def _need(package: str, extra: str) -> None:
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise MissingExtraError(f"This needs packages that are not installed: pip install 'bongsu[{extra}]'")


def main() -> None:
    """The entry point: errors made on purpose are printed without a traceback."""
    try:
        app()
    except BongsuError as error:
        progress.console.print(f"[red]error:[/red] {progress.escape(str(error))}", soft_wrap=True)
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
