"""The verb that classifies messages."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bongsu import progress
from bongsu.cli.common import app
from bongsu.errors import BongsuError
from bongsu.files import write_bytes
from bongsu.printable import printable


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="A run's folder, such as runs/demo, or a bundle", show_default=False)],
    texts: Annotated[list[str] | None, typer.Argument(help="Messages; without any, one a line from --input or stdin")] = None,
    input: Annotated[Path | None, typer.Option("--input", "-i", help="CSV, TSV, JSON Lines, Parquet or text")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to write (default: standard output)")] = None,
    format: Annotated[str, typer.Option("--format", "-f", help="jsonl, csv or kaggle")] = "jsonl",
    sample: Annotated[Path | None, typer.Option("--sample", help="Kaggle's sample_submission.csv, to check ids")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show what each word did for the probability")] = False,
) -> None:
    """Classify messages, with a run or (without torch) with an exported bundle."""
    from bongsu import load
    from bongsu.pipeline.predicting import predict_file, render

    if format not in ("jsonl", "csv", "kaggle"):
        raise BongsuError(f"--format {format}: it is one of jsonl, csv, kaggle")
    if format == "kaggle" and input is None:
        raise BongsuError("--format kaggle: name the file with the ids, such as --input test.csv")
    if explain and not texts:
        raise BongsuError("--explain: give the messages to explain on the command line.")
    if input is not None:
        if texts:
            raise BongsuError("Give messages or --input, not both.")
        content, count = predict_file(load(run), str(input), format, str(sample) if sample else None)  # type: ignore[arg-type]
        if output is None:
            _print(content)
        else:
            write_bytes(output, content)
            progress.note(f"{count:,} rows in {output}")
        return
    detector = load(run)
    if texts:
        for text, prediction in zip(texts, detector.predict(texts), strict=True):
            print(f"{prediction.label:>12}  {prediction.probability:.3f}  {printable(text)}")
            if explain:
                words = sorted(detector.explain(text), key=lambda word: -abs(word.weight))
                print(" " * 21 + ", ".join(f"{printable(word.text)} {word.weight:+.2f}" for word in words[:8]))
        return
    if sys.stdin.isatty():
        progress.note("Type messages, one a line; Ctrl-D ends.")
    for number, line in enumerate(sys.stdin.buffer):
        text = line.decode("utf-8", errors="replace").strip()
        if text:
            _print(render([str(number)], [text], detector.predict([text]), format))  # type: ignore[arg-type]


def _print(content: bytes) -> None:
    """Write to standard output; to a terminal without strangers' control characters."""
    if sys.stdout.isatty():
        print(*map(printable, content.decode("utf-8", "replace").splitlines()), sep="\n", flush=True)
    else:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
