"""What the verbs share: the application, the options every recipe verb takes, and the check for an extra."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from bongsu import __version__
from bongsu.errors import BongsuError, need

__all__ = ["Out", "RecipePath", "Set", "app", "first_line", "need"]

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
