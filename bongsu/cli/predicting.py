"""The verb that answers texts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bongsu import progress
from bongsu.cli.common import Delimiter, Encoding, MaxBad, Quoting, app, text_format
from bongsu.errors import BongsuError
from bongsu.files import write_bytes
from bongsu.printable import printable

if TYPE_CHECKING:
    from bongsu.inference.predictor import Predictor
    from bongsu.recipe import TextFormat


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="A run's folder, such as runs/demo, or a bundle", show_default=False)],
    texts: Annotated[list[str] | None, typer.Argument(help="Messages; without any, one a line from --input or stdin")] = None,
    input: Annotated[str | None, typer.Option("--input", "-i", help="CSV, TSV, JSON Lines, JSON, Parquet or text")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to write (default: standard output)")] = None,
    format: Annotated[str | None, typer.Option("--format", "-f", help="jsonl (default), csv or kaggle")] = None,
    sample: Annotated[str | None, typer.Option("--sample", help="Kaggle's sample_submission.csv, to check ids")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show what each word did for the probability")] = False,
    unlabelled: Annotated[bool, typer.Option("--unlabelled", help="Answer only the rows of --input without a label")] = False,
    encoding: Encoding = "auto",
    delimiter: Delimiter = "auto",
    quoting: Quoting = "auto",
    max_bad: MaxBad = 1000,
) -> None:
    """Answer texts, with a run or (without torch) with an exported bundle."""
    from bongsu import load
    from bongsu.pipeline.predicting import predict_file, render

    form: Any = format or "jsonl"
    if form not in ("jsonl", "csv", "kaggle"):
        raise BongsuError(f"--format {format}: it is one of jsonl, csv, kaggle")
    if form == "kaggle" and input is None:
        raise BongsuError("--format kaggle: name the file with the ids, such as --input test.csv")
    if explain and (not texts or format or output):
        raise BongsuError("--explain: give the messages to explain on the command line, without --format and --output.")
    if unlabelled and input is None:
        raise BongsuError("--unlabelled: name the file with --input")
    if input is not None and texts:
        raise BongsuError("Give messages or --input, not both.")
    written = text_format(encoding, delimiter, quoting, max_bad)
    predictor = load(run)
    if input is not None:
        found = predict_file(predictor, input, form, sample, written, unlabelled)
        _deliver(found.content, found.stats.used, output)
    elif texts and (format or output):
        inputs = _inputs(predictor, texts)
        numbers = [str(number) for number in range(len(inputs))]
        _deliver(render(predictor.task, numbers, inputs, predictor.predict(inputs), form), len(inputs), output)
    elif texts:
        _print_answers(predictor, texts, explain)
    else:
        _answer_lines(predictor, run, form, output, written)


def _answer_lines(predictor: Predictor, run: Path, form: Any, output: Path | None, written: TextFormat) -> None:
    """Answer the lines of standard input, each as it comes; with `output` all of them into a file."""
    from bongsu.corpus.readers import ReadStats
    from bongsu.pipeline.predicting import render, stream_texts

    if predictor.task.pairs:
        raise BongsuError(f"{run}: a {predictor.task.kind} model reads two texts at a time; give a file with --input.")
    if sys.stdin.isatty():
        progress.note("Type messages, one a line; Ctrl-D ends.")
    stats = ReadStats(written.max_bad)
    parts: list[bytes] = []
    for count, (number, text) in enumerate(stream_texts(sys.stdin.buffer, written.encoding, stats, "standard input")):
        part = render(predictor.task, [number], [[text]], predictor.predict([text]), form, header=count == 0)
        if output is None:
            _write(part)
        else:
            parts.append(part)
    if output is not None:
        _deliver(b"".join(parts), stats.used, output)


def _deliver(content: bytes, count: int, output: Path | None) -> None:
    """Write answers to a file, or to standard output."""
    if output is None:
        _write(content)
    else:
        write_bytes(output, content)
        progress.note(progress.escape(f"{count:,} rows in {output}"))


def _write(content: bytes) -> None:
    """Write to standard output; to a terminal without strangers' control characters."""
    if sys.stdout.isatty():
        print(*map(printable, content.decode("utf-8", "replace").splitlines()), sep="\n", flush=True)
    else:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


def _print_answers(predictor: Predictor, texts: list[str], explain: bool) -> None:
    """Print a line for each text; for kinds that read two texts, for each two."""
    task, inputs = predictor.task, _inputs(predictor, texts)
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


def _inputs(predictor: Predictor, texts: list[str]) -> list[list[str]]:
    """Return the texts of each message; for kinds that read two texts, each two.

    Raises:
        BongsuError: when one of a pair is missing.
    """
    if not predictor.task.pairs:
        return [[text] for text in texts]
    if len(texts) % 2:
        raise BongsuError(f"A {predictor.task.kind} model reads two texts at a time; {len(texts)} were given.")
    return [texts[start : start + 2] for start in range(0, len(texts), 2)]
