"""The verb that answers texts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bongsu import progress
from bongsu.cli.common import app
from bongsu.errors import BongsuError
from bongsu.files import write_bytes
from bongsu.printable import printable

if TYPE_CHECKING:
    from bongsu.inference.predictor import Predictor


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="A run's folder, such as runs/demo, or a bundle", show_default=False)],
    texts: Annotated[list[str] | None, typer.Argument(help="Messages; without any, one a line from --input or stdin")] = None,
    input: Annotated[str | None, typer.Option("--input", "-i", help="CSV, TSV, JSON Lines, Parquet or text")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to write (default: standard output)")] = None,
    format: Annotated[str, typer.Option("--format", "-f", help="jsonl, csv or kaggle")] = "jsonl",
    sample: Annotated[str | None, typer.Option("--sample", help="Kaggle's sample_submission.csv, to check ids")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show what each word did for the probability")] = False,
) -> None:
    """Answer texts, with a run or (without torch) with an exported bundle."""
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
        content, count = predict_file(load(run), input, format, sample)  # type: ignore[arg-type]
        if output is None:
            _write(content)
        else:
            write_bytes(output, content)
            progress.note(f"{count:,} rows in {output}")
        return
    predictor = load(run)
    if texts:
        _print_answers(predictor, texts, explain)
        return
    if predictor.task.pairs:
        raise BongsuError(f"{run}: a {predictor.task.kind} model reads two texts at a time; give a file with --input.")
    if sys.stdin.isatty():
        progress.note("Type messages, one a line; Ctrl-D ends.")
    for number, line in enumerate(sys.stdin.buffer):
        text = line.decode("utf-8", errors="replace").strip()
        if text:
            answers = predictor.predict([text])
            _write(render(predictor.task, [str(number)], [[text]], answers, format))  # type: ignore[arg-type]


def _write(content: bytes) -> None:
    """Write to standard output; to a terminal without strangers' control characters."""
    if sys.stdout.isatty():
        print(*map(printable, content.decode("utf-8", "replace").splitlines()), sep="\n", flush=True)
    else:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


def _print_answers(predictor: Predictor, texts: list[str], explain: bool) -> None:
    """Print a line for each text; for kinds that read two texts, for each two."""
    task = predictor.task
    if not task.pairs:
        inputs: list[list[str]] = [[text] for text in texts]
    elif len(texts) % 2:
        raise BongsuError(f"A {task.kind} model reads two texts at a time; {len(texts)} were given.")
    else:
        inputs = [texts[start : start + 2] for start in range(0, len(texts), 2)]
    for each, answer in zip(inputs, predictor.predict(inputs), strict=True):
        shown, shown_text = task.flat(answer), printable(" | ".join(each))
        if "label" in shown and "probability" in shown:
            print(f"{shown['label']:>12}  {shown['probability']:.3f}  {shown_text}")
        else:
            values = (f"{key} {value:.3f}" if isinstance(value, float) else f"{key} {value}" for key, value in shown.items())
            print(f"{shown_text}\n    {', '.join(values)}")
        if explain and task.explains:
            words = sorted(predictor.explain(each[0]), key=lambda word: -abs(word.weight))
            print(" " * 21 + ", ".join(f"{printable(word.text)} {word.weight:+.2f}" for word in words[:8]))
