"""The verb that looks through a labelled file before anything is trained on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bongsu import progress
from bongsu.cli.common import app, need
from bongsu.files import write_bytes


@app.command()
def audit(
    train: Annotated[Path, typer.Argument(help="A labelled CSV, TSV, JSON Lines or Parquet file", show_default=False)],
    test: Annotated[Path | None, typer.Argument(help="A file to look for twins in")] = None,
    text: Annotated[str, typer.Option("--text", help="The text column")] = "text",
    label: Annotated[str, typer.Option("--label", help="The label column")] = "target",
    id: Annotated[str, typer.Option("--id", help="The id column")] = "id",
    context: Annotated[list[str] | None, typer.Option("--context", help="A column put before the text")] = None,
    run: Annotated[Path | None, typer.Option("--run", help="Take the probabilities of this run's folds")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The rows worth a look, to edit")] = Path("audit.csv"),
) -> None:
    """Find copies, contradictions, twins and likely label errors in a labelled file."""
    need("torch", "train")
    from bongsu.corpus.cleaning import Cleaner
    from bongsu.finetuning.audit import audit as look
    from bongsu.finetuning.audit import of_run, render, summary
    from bongsu.finetuning.data import read_labelled, read_unlabelled
    from bongsu.recipe import Finetune

    settings = Finetune(train=str(train), text=text, label=label, id=id, context=context or [])
    data = read_labelled(settings, settings.train, {})
    others: list[str] = []
    if test is not None:
        others = read_unlabelled(str(test), text, [], id, Cleaner(settings.cleaning))[1]
    known = of_run(run / "finetune" / "predictions.json", data) if run is not None else None
    found = look(data, others, known)
    progress.table(f"{train}: {len(data.ids):,} rows", ["", "groups", "rows"], summary(found, len(others)))
    write_bytes(output, render(found, data))
    progress.note(
        f"{output}: every row worth a look. Fill in its column `correction` (a label, or drop), then "
        f"--set finetune.corrections={output}"
    )
