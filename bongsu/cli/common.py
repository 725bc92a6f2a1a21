"""What the verbs share: the application, the options every recipe verb takes, and the check for an extra."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bongsu import __version__
from bongsu.errors import need

__all__ = ["Out", "RecipePath", "Set", "app", "need"]

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
