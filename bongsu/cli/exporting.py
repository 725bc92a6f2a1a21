"""The verbs that take a model out of its run, and one in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from bongsu import progress
from bongsu.cli.common import app, need
from bongsu.errors import BongsuError
from bongsu.models import PREFIX


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A run's folder, such as runs/demo, or bongsu:beacon", show_default=False)],
    to: Annotated[Literal["onnx", "hf"], typer.Option("--to", help="onnx: the detector; hf: the encoder")] = "onnx",
    out: Annotated[Path | None, typer.Option("--out", help="The bundle's folder (default: RUN/export/FORMAT)")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="onnx: add an engine of 8-bit weights, and measure its loss")] = False,
    licence: Annotated[str | None, typer.Option("--license", help="For the model card, such as cc-by-4.0")] = None,
) -> None:
    """Write a bundle: for ONNX Runtime without torch, or for transformers."""
    need("torch", "train")
    if int8 and to != "onnx":
        raise BongsuError("--int8: is for --to onnx.")
    if (name := str(run)).startswith(PREFIX):
        from bongsu.export.bundle import export_packaged

        if out is None:
            raise BongsuError(f"Name the folder to write: bongsu export {name} --to {to} --out FOLDER")
        export_packaged(name, to, out)
        progress.note(f"{out}: {name} as {to}")
        return
    folder = out or run / "export" / to
    if to == "onnx":
        need("onnxscript", "export")
        from bongsu.export.bundle import export_onnx

        with progress.console.status(f"exporting to {folder}"):
            loss = export_onnx(run, folder, int8, licence)
        if loss is not None:
            progress.note(
                f"int8: {loss.changed:,} of {loss.rows:,} answers changed, {loss.metric} "
                f"{loss.float32:.4f} in float32 and {loss.int8:.4f} in int8: {loss.change} ({loss.source})"
            )
            if not loss.accurate:
                progress.warn("int8 loses more than half a point; it is used only when asked for (--engine int8).")
        elif int8:
            progress.warn("This run keeps no labelled rows to measure int8 on; it is used only when asked for (--engine int8).")
        progress.note(f'{folder}: try `bongsu serve {folder}`, or `bongsu predict {folder} "Forest fire near La Ronge Sask."`')
        return
    from bongsu.export.bundle import export_hf

    export_hf(run, folder, licence)
    progress.note(f"{folder}: opens with AutoModelForMaskedLM and AutoTokenizer of transformers")


@app.command(name="import")
def import_(
    folder: Annotated[Path, typer.Argument(help="A ModernBERT folder: config.json, model.safetensors, tokenizer.json")],
    out: Annotated[Path, typer.Option("--out", help="The model folder to write, for finetune.encoder")],
) -> None:
    """Take in an encoder that was exported before and trained on elsewhere (ModernBERT of transformers)."""
    need("torch", "train")
    from bongsu.export.modernbert import import_modernbert

    if not import_modernbert(folder, out):
        progress.warn("Its prediction head has no place here: hidden states are the same, guesses of masked tokens are not.")
    progress.note(f'{out}: use it with --set finetune.encoder="{out}"')
