"""The verb that looks through a labelled file before anything is trained on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bongsu import progress
from bongsu.cli.common import Delimiter, Encoding, MaxBad, Quoting, app, need, text_format
from bongsu.errors import DataError, MissingColumnError
from bongsu.files import redacted, refuse_folder, write_bytes


@app.command()
def audit(
    train: Annotated[str, typer.Argument(help="A labelled CSV, TSV, JSON Lines or Parquet file", show_default=False)],
    test: Annotated[str | None, typer.Argument(help="A file to look for near-duplicates in")] = None,
    text: Annotated[str | None, typer.Option("--text", help="The text column; by default found by looking")] = None,
    label: Annotated[str | None, typer.Option("--label", help="The label column; by default found by looking")] = None,
    id: Annotated[str, typer.Option("--id", help="The id column")] = "id",
    context: Annotated[list[str] | None, typer.Option("--context", help="A column put before the text")] = None,
    run: Annotated[Path | None, typer.Option("--run", help="Take the probabilities of this run's folds")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The rows worth a look, to edit")] = Path("audit.csv"),
    encoding: Encoding = "auto",
    delimiter: Delimiter = "auto",
    quoting: Quoting = "auto",
    max_bad: MaxBad = 1000,
) -> None:
    """Find copies, contradictions, near-duplicates and likely label errors in a labelled file."""
    need("torch", "train")
    from bongsu.cli.drafting import find_columns
    from bongsu.export.bundle import run_recipe
    from bongsu.finetuning.audit import audit as look
    from bongsu.finetuning.audit import of_run, render, summary
    from bongsu.finetuning.data import load_data
    from bongsu.recipe import Classification
    from bongsu.tasks.classification import ClassificationTask

    refuse_folder(output)
    written = text_format(encoding, delimiter, quoting, max_bad)
    found = find_columns(train, text, label, written)
    if found.label is None:
        raise DataError(f"{redacted(train)}: no column looks like labels; name one with --label.")
    columns = {"text": found.text, "label": found.label, "id": id, "context": context or []}
    task = ClassificationTask(Classification(**{"train": train, **columns, **written.model_dump()}))
    try:
        examples = task.read(train, {})
    except MissingColumnError as error:
        raise error.advise("Name another with --context.") from None
    task.schema = task.learn_schema(examples)
    others: list[str] = []
    if test is not None:
        settings = task.settings.model_copy(update={"context": []})
        others = [example.cleaned for example in ClassificationTask(settings).read_unlabelled(test, written=written)]
    known = None
    if run is not None:
        known = of_run(load_data(run_recipe(run), run / "finetune" / "data"), run / "finetune" / "model", examples)
    findings = look(task, examples, others, known)
    progress.table(
        f"{redacted(train)}: {progress.count(len(examples), 'row')}, text in {found.text!r}, label in {found.label!r}",
        ["", "groups", "rows"],
        summary(findings, len(others)),
    )
    write_bytes(output, render(findings, task, examples))
    progress.note(
        f"{output}: every row worth a look. Fill in its column `correction` (a label, or drop), then "
        f"--set task.corrections={output}"
    )
