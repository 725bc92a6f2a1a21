"""The verb that takes a model out of its run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bongsu import progress
from bongsu.cli.common import app, need
from bongsu.errors import BongsuError


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A run's folder, such as runs/demo", show_default=False)],
    to: Annotated[str, typer.Option("--to", help="onnx")] = "onnx",
    out: Annotated[Path | None, typer.Option("--out", help="The bundle's folder (default: RUN/export/FORMAT)")] = None,
) -> None:
    """Write a bundle that runs without torch (onnx)."""
    if to != "onnx":
        raise BongsuError(f"--to {to}: it is onnx")
    for package, extra in (("torch", "train"), ("onnxscript", "export")):
        need(package, extra)
    from bongsu.serving.export import export_onnx

    folder = out or run / "export" / to
    with progress.console.status(f"exporting to {folder}"):
        export_onnx(run, folder)
    progress.note(f'{folder}: written and hashed; try: bongsu predict {folder} "Forest fire near La Ronge Sask."')
