"""The verbs that run a recipe, or a part of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bongsu import progress
from bongsu.cli.common import Out, RecipePath, Set, ToMLflow, ToTensorBoard, app, chosen_trackers, need

if TYPE_CHECKING:
    from bongsu.pipeline.planning import Estimate
    from bongsu.pipeline.running import Run

Ray = Annotated[
    str | None,
    typer.Option(help="Prepare and encode the corpus on the Ray cluster at this address; `local` starts one on this machine."),
]


@app.command()
def run(
    recipe: RecipePath, changes: Set = None, out: Out = None, tensorboard: ToTensorBoard = False, mlflow: ToMLflow = None
) -> None:
    """Run a recipe, all stages; what is done is not done again."""
    finished = run_to(recipe, changes, out, tensorboard=tensorboard, mlflow=mlflow)
    if finished.report.is_file():
        progress.note(f"report: {finished.report}")


@app.command()
def prepare(recipe: RecipePath, changes: Set = None, out: Out = None, ray: Ray = None) -> None:
    """Read, clean, de-duplicate and split the corpus."""
    run_to(recipe, changes, out, "prepare", ray)


@app.command()
def tokenizer(recipe: RecipePath, changes: Set = None, out: Out = None) -> None:
    """Train the tokenizer (after the corpus is prepared)."""
    run_to(recipe, changes, out, "tokenizer")


@app.command()
def encode(recipe: RecipePath, changes: Set = None, out: Out = None, ray: Ray = None) -> None:
    """Encode the corpus to token shards."""
    run_to(recipe, changes, out, "encode", ray)


@app.command()
def pretrain(
    recipe: RecipePath,
    changes: Set = None,
    out: Out = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that train in parallel, one a device.")] = 1,
    ray: Annotated[str | None, typer.Option(help="A Ray cluster to train on: its address, auto or local.")] = None,
) -> None:
    """Pre-train the encoder with masked-language modelling, on one device or several."""
    if workers == 1 and ray is None:
        run_to(recipe, changes, out, "pretrain")
    else:
        _run_in_parallel(recipe, changes, out, workers, ray)


@app.command()
def adapt(recipe: RecipePath, changes: Set = None, out: Out = None) -> None:
    """Go on with pre-training on the task's own texts."""
    run_to(recipe, changes, out, "adapt")


@app.command()
def finetune(recipe: RecipePath, changes: Set = None, out: Out = None) -> None:
    """Fine-tune the encoder for the task, fold by fold, and make the model that is kept."""
    run_to(recipe, changes, out, "finetune")


@app.command()
def evaluate(recipe: RecipePath, changes: Set = None, out: Out = None) -> None:
    """Measure, compare with the baselines, write the report."""
    finished = run_to(recipe, changes, out, "evaluate")
    progress.note(f"report: {finished.report}")


@app.command()
def plan(recipe: RecipePath, changes: Set = None, out: Out = None) -> None:
    """Say what a recipe will run, and how long each stage takes on this machine, before anything starts."""
    from bongsu.recipe import load_recipe

    parsed = load_recipe(recipe, changes)
    need("torch", "train")
    from bongsu.pipeline.checking import check_files
    from bongsu.pipeline.timing import plan_run
    from bongsu.workspace import Workspace

    check_files(parsed)
    workspace = Workspace(out or Path("runs") / parsed.name)
    with progress.console.status("trying a little of each stage"):
        planned = plan_run(parsed, workspace)
    rows = [
        [stage.name, "done" if stage.done else "to run", "" if stage.done else progress.duration(stage.seconds)]
        for stage in planned.stages
    ]
    progress.table(
        f"{parsed.name} → {workspace.path}",
        ["stage", "state", "about"],
        [*rows, ["total", "", progress.duration(planned.seconds)]],
    )
    if any(stage.seconds is None for stage in planned.stages):
        progress.note("–: not known before there is a tokenizer; `bongsu encode` makes one.")
    if parsed.task is not None and parsed.finetune.patience is not None:
        progress.note("Fine-tuning is counted with all its epochs; it may stop earlier (finetune.patience).")
    if planned.pretraining is not None:
        _show_pretraining(planned.pretraining)


def _show_pretraining(found: Estimate) -> None:
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
            ["memory", f"{found.memory_bytes / 2**30:.2f} GiB in a trial, {found.estimated_bytes / 2**30:.2f} GiB by estimate"],
            ["rate", f"{progress.short(found.tokens_per_second)} tokens/s (measured in a trial)"],
            *([["compiling", progress.duration(found.compile_seconds)]] if found.compile_seconds else []),
            ["time", f"{about}{progress.duration(found.seconds)}"],
        ],
    )  # fmt: skip
    if not found.exact:
        progress.note("Tokens are counted in a sample of the text; `bongsu encode` makes them exact.")


def _run_in_parallel(path: Path, changes: list[str] | None, out: Path | None, workers: int, ray: str | None) -> None:
    from bongsu.recipe import load_recipe

    need("torch", "train")
    from bongsu.pipeline.launching import check_workers, launch, launch_on_ray

    if ray is None:
        check_workers(load_recipe(path, changes), workers)
    finished = run_to(path, changes, out, "encode")  # once, before there are several
    with _stoppable():
        if ray is None:
            sets = [argument for change in changes or [] for argument in ("--set", change)]
            launch(["pretrain", str(path), *sets, "--out", str(finished.path)], workers)
        else:
            launch_on_ray(load_recipe(path, changes), finished.path, workers, ray)
            progress.note(f"[green]✓[/green] pretrain: {finished.path / 'pretrain'}")


def run_to(
    recipe: Path,
    changes: list[str] | None,
    out: Path | None,
    until: str | None = None,
    ray: str | None = None,
    tensorboard: bool = False,
    mlflow: str | None = None,
) -> Run:
    """Run a recipe up to the stage of a verb, by default to its end; Ctrl-C ends with a note."""
    from bongsu.recipe import load_recipe

    parsed = load_recipe(recipe, changes)
    need("torch", "train")
    with progress.console.status("starting"):
        from bongsu.pipeline.running import run as run_recipe

    folder = out or Path("runs") / parsed.name
    trackers = chosen_trackers(tensorboard, mlflow, parsed.name, folder)
    if not trackers:
        with _stoppable():
            return run_recipe(parsed, folder, until, ray=ray)
    from bongsu.training.tracking import RunCurves

    curves = RunCurves(folder, trackers, {"seed": parsed.seed})
    with _stoppable(), curves:
        return run_recipe(parsed, folder, until, listener=lambda stage, step, metrics: curves.update(), ray=ray)


@contextmanager
def _stoppable() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        progress.note("Stopped. The same command resumes from here.")
        raise typer.Exit(130) from None
