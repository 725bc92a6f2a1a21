"""The verb that answers texts."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bongsu import progress
from bongsu.cli.common import (
    DATA,
    Delimiter,
    Encoding,
    MaxBad,
    Quoting,
    app,
    of_keyboard,
    of_terminal,
    show,
    split_model,
    text_format,
)
from bongsu.errors import BongsuError, MissingColumnError, WorkspaceError
from bongsu.files import redacted, refuse_folder, write_bytes
from bongsu.models import DEFAULT
from bongsu.printable import printable

if TYPE_CHECKING:
    from bongsu.inference.predictor import Predictor
    from bongsu.pipeline.predicting import Format, Messages
    from bongsu.recipe import TextFormat
    from bongsu.tasks.registry import AnyTask

_SHOWN = 50
"""Rows of a file that a table on a terminal shows."""


@app.command()
def predict(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL] [MESSAGES|FILE]",
            help="A run's folder or a bundle (default: bongsu:beacon, which ships), then messages in quotes, or a file; "
            "without either, one message or JSON object a line from standard input",
        ),
    ] = None,
    input: Annotated[str | None, typer.Option("--input", "-i", help="CSV, TSV, JSON Lines, JSON, Parquet or text")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to write (default: standard output)")] = None,
    format: Annotated[
        str | None, typer.Option("--format", "-f", help="jsonl, csv or kaggle (default: a table on a terminal, else jsonl)")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON Lines on a terminal, too")] = False,
    text: Annotated[str | None, typer.Option("--text", help="The file's text column")] = None,
    id: Annotated[str | None, typer.Option("--id", help="The file's id column")] = None,
    sample: Annotated[str | None, typer.Option("--sample", help="Kaggle's sample_submission.csv, to check ids")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show what each word did for the probability")] = False,
    unlabelled: Annotated[bool, typer.Option("--unlabelled", help="Answer only the rows of the file without a label")] = False,
    encoding: Encoding = "auto",
    delimiter: Delimiter = "auto",
    quoting: Quoting = "auto",
    max_bad: MaxBad = 1000,
) -> None:
    """Answer messages or a file: with the detector that ships, a bundle (both without torch), or a run."""
    model, rest = split_model(words or [])
    form = _form(format, json, output)
    input, texts = _file_or_messages(rest, input, bool(words) and rest == words)
    if texts and not all(map(str.strip, texts)):
        raise BongsuError('A message is empty. Put it in quotes: bongsu predict "a message"')
    if output is not None:
        refuse_folder(output)
    if form == "kaggle" and input is None:
        raise BongsuError("--format kaggle: name the file with the ids, such as --input test.csv")
    if explain and (not texts or output or form == "csv"):
        raise BongsuError("--explain: give the messages to explain on the command line, without --output and CSV.")
    for option, given in (("--unlabelled", unlabelled), ("--text", text), ("--id", id)):
        if given and input is None:
            raise BongsuError(f"{option}: is for a file; name it, such as bongsu predict messages.csv")
    from bongsu import load

    written = text_format(encoding, delimiter, quoting, max_bad)
    try:
        with progress.console.status("opening the model"):
            predictor = load(model)
    except WorkspaceError as error:
        if words and not rest and model == words[0] and input is None and not Path(model).exists():
            raise BongsuError(f'{error}\nIf it is a message: bongsu predict bongsu:beacon "{model}"') from None
        raise
    if input is not None:
        _answer_file(predictor, model, input, text, id, written, unlabelled, form, output, sample)
    elif texts:
        _answer_messages(predictor, texts, form, output, explain)
    else:
        _answer_lines(predictor, model, form, output, written)


def _form(format: str | None, json: bool, output: Path | None) -> Format | None:
    """Return the format to write; None for a table."""
    if json and format not in (None, "jsonl"):
        raise BongsuError(f"--json: not with --format {format}.")
    if format is None and not json:
        if output is not None:
            return "csv" if output.suffix == ".csv" else "jsonl"
        return None if of_terminal() else "jsonl"
    if format not in (None, "jsonl", "csv", "kaggle"):
        raise BongsuError(f"--format {format}: it is one of jsonl, csv, kaggle")
    return format or "jsonl"  # type: ignore[return-value]


def _file_or_messages(rest: list[str], input: str | None, unnamed: bool) -> tuple[str | None, list[str]]:
    """Return the file to answer, or the messages.

    Args:
        unnamed: no model was named, so that `rest` is all there is.

    Raises:
        BongsuError: when the words are neither, saying what to type.
    """
    if input is not None:
        if rest:
            raise BongsuError(
                f"--input {input}: there are words before it that name no model: {' '.join(rest)[:80]}. Give messages or a "
                "file, not both; the folder of a model comes first."
            )
        return input, []
    files = [word for word in rest if _is_file(word)]
    if files and len(rest) > 1:
        raise BongsuError(f"{files[0]} is a file: give it alone, or give only messages in quotes.")
    if files:
        return files[0], []
    if rest and not any(map(str.isspace, "".join(rest))) and len(rest) > 1 and unnamed:
        message = " ".join(rest)
        raise BongsuError(
            f"{rest[0]}: no such folder with a model, and the words are not one message. Put a message in quotes:\n"
            f'  bongsu predict "{message}"'
        )
    return None, rest


def _is_file(word: str) -> bool:
    """Return whether a word names a file: one that is there, or that is called like one."""
    if any(map(str.isspace, word)):
        return _exists(word)
    return _exists(word) or Path(word.partition("?")[0]).suffix in DATA


def _exists(word: str) -> bool:
    try:
        return Path(word).is_file()
    except (OSError, ValueError):
        return False


def _answer_file(
    predictor: Predictor,
    model: str,
    input: str,
    text: str | None,
    id: str | None,
    written: TextFormat,
    unlabelled: bool,
    form: Format | None,
    output: Path | None,
    sample: str | None,
) -> None:
    from bongsu.pipeline.predicting import answers_to, check_submission, render

    task = predictor.task
    rows = read_file(task, input, text, id, written, unlabelled)
    if form == "kaggle":
        check_submission(task, rows, redacted(input), sample)
    answers = answers_to(predictor, rows)
    if form is None:
        _show_file(task, rows.texts, answers, input if model == DEFAULT else f"{model} {input}")
    else:
        _deliver(render(task, rows.ids, rows.texts, answers, form), len(answers), output)


def read_file(
    task: AnyTask, input: str, text: str | None, id: str | None, written: TextFormat, unlabelled: bool = False
) -> Messages:
    """Read a file. Where no column is called as the model's text column is, one that is called like text is read, and named.

    Raises:
        MissingColumnError: naming the option that says which column holds what.
    """
    from bongsu.pipeline.predicting import read_messages

    columns = {key: value for key, value in (("text", text), ("id", id)) if value is not None}
    if text is not None and "text" not in type(task.settings).model_fields:
        raise BongsuError(f"--text: a {task.kind} model reads the columns {', '.join(task.text_columns)}.")
    try:
        return read_messages(task, input, columns, written, unlabelled)
    except MissingColumnError as error:
        if error.column == id:
            raise error.advise("Name it with --id.") from None
        if text is not None or task.text_columns != [error.column]:
            raise error.advise("Name it with --text." if error.column == text else "") from None
        found = _text_column(input, written)
        if found is None:
            raise error.advise("Name it with --text.") from None
        progress.note(progress.escape(f"{redacted(input)}: texts are read from column {found!r} (--text names another)"))
        return read_messages(task, input, {**columns, "text": found}, written, unlabelled)


def _text_column(input: str, written: TextFormat) -> str | None:
    """Return the column of a file that holds texts by its name; None when there is none."""
    from bongsu.cli.drafting import column_called_text
    from bongsu.corpus.readers import ReadStats, read_rows
    from bongsu.recipe import Source

    source = Source(path=input, **written.model_dump())
    _, row = next(iter(read_rows(source, ReadStats(quiet=True), [], None)), (None, {}))
    return column_called_text(row)


def _answer_messages(predictor: Predictor, texts: list[str], form: Format | None, output: Path | None, explain: bool) -> None:
    from bongsu.pipeline.predicting import render

    inputs = _inputs(predictor, texts)
    if explain and not predictor.task.explains:
        raise BongsuError(f"--explain: a {predictor.task.kind} model has no answer that words can be said to have driven.")
    answers = predictor.predict(inputs)
    words = [predictor.explain(each[0]) for each in inputs] if explain else None
    numbers = [str(number) for number in range(len(inputs))]
    if form is None:
        shown = None
        if words is not None:
            strongest = [sorted(each, key=lambda word: -abs(word.weight))[:8] for each in words]
            shown = [", ".join(f"{printable(word.text)} {word.weight:+.2f}" for word in each) for each in strongest]
        show_answers(predictor.task, inputs, answers, shown)
    elif words is not None:
        import orjson

        weights = [[{"word": word.text, "weight": word.weight} for word in each] for each in words]
        lines = render(predictor.task, numbers, inputs, answers, "jsonl").splitlines()
        rows = [{**orjson.loads(line), "explanation": each} for line, each in zip(lines, weights, strict=True)]
        _write(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    else:
        _deliver(render(predictor.task, numbers, inputs, answers, form), len(inputs), output)


def _answer_lines(predictor: Predictor, model: str, form: Format | None, output: Path | None, written: TextFormat) -> None:
    """Answer the lines of standard input, each as it comes; with `output` all of them into a file."""
    from bongsu.corpus.readers import ReadStats
    from bongsu.pipeline.predicting import render, stream_texts

    if predictor.task.pairs:
        raise BongsuError(f"{model}: a {predictor.task.kind} model reads two texts at a time; give a file with --input.")
    if of_keyboard():
        progress.note("Type messages, one a line; Ctrl-D ends.")
    if sys.stdin is None:
        raise BongsuError('Standard input is closed. Name a file, or a message: bongsu predict "a message"')
    stats = ReadStats(written.max_bad)
    parts: list[bytes] = []
    lines = stream_texts(sys.stdin.buffer, written.encoding, stats, "standard input", predictor.task.text_columns[0])
    for count, (number, text) in enumerate(lines):
        answers = predictor.predict([text])
        if form is None:
            print(f"{described(predictor.task, answers[0])}   {printable(text)}", flush=True)
            continue
        part = render(predictor.task, [number], [[text]], answers, form, header=count == 0)
        if output is None:
            _write(part)
        else:
            parts.append(part)
    if output is not None:
        _deliver(b"".join(parts), stats.used, output)


def described(task: AnyTask, answer: Any) -> str:
    """Return an answer in words: "disaster 0.129, other 0.871 → other". Of two classes the positive comes first, of more the
    likeliest."""
    flat = task.flat(answer)
    classes = {key.removeprefix("probability_"): value for key, value in flat.items() if key.startswith("probability_")}
    if not classes:
        return ", ".join(f"{key} {value:.3f}" if isinstance(value, float) else f"{key} {value}" for key, value in flat.items())
    order = list(classes)[::-1] if len(classes) == 2 else sorted(classes, key=lambda name: -float(classes[name]))
    shown = ", ".join(f"{printable(name)} {classes[name]:.3f}" for name in order)
    return f"{shown} → {printable(str(flat['label'])) or 'none'}"


def show_answers(
    task: AnyTask, inputs: Sequence[Sequence[str]], answers: Sequence[Any], words: Sequence[str] | None = None
) -> None:
    """Print a table: a row for each text, or each two."""
    rows = [[described(task, answer), printable(" | ".join(each))] for each, answer in zip(inputs, answers, strict=True)]
    headings = ["answer", "message"]
    if words is not None:
        headings.append("words, the strongest first")
        rows = [[*row, each] for row, each in zip(rows, words, strict=True)]
    show("", headings, [[progress.escape(cell) for cell in row] for row in rows])


def _show_file(task: AnyTask, texts: Sequence[Sequence[str]], answers: Sequence[Any], asked: str) -> None:
    """Print the first answers to a file, how many there are of each, and how to have them all: `asked` is model and file."""
    show_answers(task, texts[:_SHOWN], answers[:_SHOWN])
    if task.kind == "classification":
        counts = Counter(answer.label for answer in answers)
        total = ", ".join(f"{printable(label)} {count:,}" for label, count in counts.most_common())
        print(f"\n{progress.count(len(answers), 'row')}: {total}")
    if len(answers) > _SHOWN:
        print(f"The first {_SHOWN} are shown; all of them: bongsu predict {printable(asked)} --output answers.csv")


def _deliver(content: bytes, count: int, output: Path | None) -> None:
    """Write answers to a file, or to standard output."""
    if output is None:
        _write(content)
    else:
        write_bytes(output, content)
        progress.note(progress.escape(f"{progress.count(count, 'row')} in {output}"))


def _write(content: bytes) -> None:
    """Write to standard output; to a terminal without strangers' control characters."""
    if of_terminal():
        print(*map(printable, content.decode("utf-8", "replace").splitlines()), sep="\n", flush=True)
    else:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


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
