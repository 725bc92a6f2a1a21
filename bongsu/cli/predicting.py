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
            sys.stdout.buffer.write(content)
        else:
            write_bytes(output, content)
            progress.note(f"{count:,} rows in {output}")
        return
    predictor = load(run)
    if texts:
        for text, answer in zip(texts, predictor.predict(texts), strict=True):
            shown = predictor.task.flat(answer)
            print(f"{shown['label']:>12}  {shown['probability']:.3f}  {text}")
            if explain:
                words = sorted(predictor.explain(text), key=lambda word: -abs(word.weight))
                print(" " * 21 + ", ".join(f"{word.text} {word.weight:+.2f}" for word in words[:8]))
        return
    if sys.stdin.isatty():
        progress.note("Type messages, one a line; Ctrl-D ends.")
    for number, line in enumerate(sys.stdin.buffer):
        text = line.decode("utf-8", errors="replace").strip()
        if text:
            answers = predictor.predict([text])
            sys.stdout.buffer.write(render(predictor.task, [str(number)], [[text]], answers, format))  # type: ignore[arg-type]
            sys.stdout.flush()
