"""The verb that turns texts into vectors."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated

import typer

from bongsu import progress
from bongsu.cli.common import app, need
from bongsu.errors import BongsuError
from bongsu.files import write_bytes


@app.command()
def embed(
    run: Annotated[Path, typer.Argument(help="A run's folder, such as runs/demo, or a bundle", show_default=False)],
    input: Annotated[str, typer.Option("--input", "-i", help="CSV, TSV, JSON Lines, Parquet or text, one text a line")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Vectors to write, as .npy or .parquet")] = None,
    query: Annotated[str | None, typer.Option("--query", help="Show the texts of the file nearest to this one")] = None,
    top: Annotated[int, typer.Option("--top", help="How many to show", min=1)] = 10,
) -> None:
    """Turn the texts of a file into vectors of length 1, or find those nearest to a query."""
    import numpy as np

    from bongsu import load

    if output is None and query is None:
        raise BongsuError("Name a file to write with --output, or a text to look for with --query.")
    if output is not None and output.suffix not in (".npy", ".parquet"):
        raise BongsuError(f"--output {output}: name a file that ends in .npy or .parquet")
    predictor = load(run)
    if predictor.task.pairs:
        raise BongsuError(f"{run}: a {predictor.task.kind} model reads two texts at a time and has no vector of one.")
    examples = predictor.task.read_unlabelled(input)
    vectors = predictor.embed_examples(examples)
    if output is not None and output.suffix == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, vectors)
        write_bytes(output, buffer.getvalue())
    elif output is not None:
        need("pyarrow", "train")
        from bongsu.inference.vectors import parquet_bytes

        write_bytes(output, parquet_bytes([example.id for example in examples], vectors))
    if output is not None:
        progress.note(f"{output}: {len(vectors):,} vectors of {vectors.shape[1]} numbers")
    if query is not None:
        similar = vectors @ predictor.embed([query])[0]
        for row in np.argsort(-similar, kind="stable")[:top].tolist():
            print(f"{similar[row]:.3f}  {examples[row].id}  {examples[row].raw[0]}")
