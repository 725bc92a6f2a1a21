"""The verb that turns texts into vectors."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bongsu import progress
from bongsu.cli.common import Delimiter, Encoding, MaxBad, Quoting, app, need, text_format
from bongsu.cli.predicting import read_file
from bongsu.errors import BongsuError
from bongsu.files import refuse_folder, write_bytes
from bongsu.models import DEFAULT
from bongsu.printable import printable

if TYPE_CHECKING:
    from bongsu.arrays import Float32


@app.command()
def embed(
    input: Annotated[str, typer.Option("--input", "-i", help="CSV, TSV, JSON Lines, JSON, Parquet or text, one text a line")],
    model: Annotated[str, typer.Argument(help="A run's folder, such as runs/demo, or a bundle")] = DEFAULT,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Vectors to write, as .npy or .parquet")] = None,
    query: Annotated[str | None, typer.Option("--query", help="Show the texts of the file nearest to this one")] = None,
    top: Annotated[int, typer.Option("--top", help="How many to show", min=1)] = 10,
    text: Annotated[str | None, typer.Option("--text", help="The file's text column")] = None,
    id: Annotated[str | None, typer.Option("--id", help="The file's id column")] = None,
    encoding: Encoding = "auto",
    delimiter: Delimiter = "auto",
    quoting: Quoting = "auto",
    max_bad: MaxBad = 1000,
) -> None:
    """Turn the texts of a file into vectors of length 1, or find those nearest to a query."""
    import numpy as np

    from bongsu import load

    if output is None and query is None:
        raise BongsuError("Name a file to write with --output, or a text to look for with --query.")
    if output is not None and output.suffix not in (".npy", ".parquet"):
        raise BongsuError(f"--output {output}: name a file that ends in .npy or .parquet")
    if output is not None:
        refuse_folder(output)
    if query is not None and not query.strip():
        raise BongsuError("--query: is empty; give a text to look for.")
    predictor = load(model)
    if predictor.task.pairs:
        raise BongsuError(f"{model}: a {predictor.task.kind} model reads two texts at a time and has no vector of one.")
    written = text_format(encoding, delimiter, quoting, max_bad)
    examples = read_file(predictor.task, input, text, id, written).examples
    vectors = predictor.embed_examples(examples)
    if output is not None and output.suffix == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, vectors)
        write_bytes(output, buffer.getvalue())
    elif output is not None:
        need("pyarrow", "train")
        write_bytes(output, _parquet([example.id for example in examples], vectors))
    if output is not None:
        progress.note(f"{output}: {progress.count(len(vectors), 'vector')} of {vectors.shape[1]} numbers")
    if query is not None:
        similar = vectors @ predictor.embed([query])[0]
        for row in np.argsort(-similar, kind="stable")[:top].tolist():
            print(f"{similar[row]:.3f}  {printable(examples[row].id)}  {printable(examples[row].raw[0])}")


def _parquet(ids: Sequence[str], vectors: Float32) -> bytes:
    """Return a Parquet file with the columns `id` (text) and `vector` (a list of float32 of fixed size)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    buffer = io.BytesIO()
    pq.write_table(pa.table({"id": pa.array(list(ids)), "vector": columns}), buffer)
    return buffer.getvalue()
