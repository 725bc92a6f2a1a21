"""Predictions of a file: JSON Lines, CSV, or a Kaggle submission."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any, Literal

import orjson

from bongsu import progress
from bongsu.corpus.detection import AROUND_JSON, detect_encoding
from bongsu.corpus.lines import codec_of, numbered_lines
from bongsu.corpus.readers import Place, ReadStats, read_rows
from bongsu.errors import DataError
from bongsu.files import redacted
from bongsu.inference.predictor import Predictor
from bongsu.printable import unformula
from bongsu.recipe import Source, TextFormat
from bongsu.tasks.registry import AnyTask, build_task
from bongsu.tasks.task import Example

Format = Literal["jsonl", "csv", "kaggle"]
_AT_ONCE = 1000
"""Rows that are answered before the progress bar moves."""


@dataclass(frozen=True)
class Predictions:
    """The answers to the rows of a file."""

    content: bytes
    """Of the file to write."""
    stats: ReadStats
    """What became of the rows; `used` of them were answered."""


def predict_file(
    predictor: Predictor,
    source: str,
    form: Format,
    sample: str | None = None,
    written: TextFormat | None = None,
    unlabelled: bool = False,
) -> Predictions:
    """Answer the rows of a file and write the answers in a format; other arguments as of `read_messages`.

    Args:
        sample: Kaggle's sample submission, whose ids have to be those of the rows.

    Raises:
        DataError: as `read_messages`, or when for `kaggle` the ids are not those of the sample submission.
    """
    rows = read_messages(predictor.task, source, written=written, unlabelled=unlabelled)
    if form == "kaggle":
        check_submission(predictor.task, rows, redacted(source), sample)
    return Predictions(render(predictor.task, rows.ids, rows.texts, answers_to(predictor, rows), form), rows.stats)


@dataclass(frozen=True)
class Messages:
    """The rows of a file, without labels."""

    examples: list[Example[None]]
    stats: ReadStats
    """What became of the rows."""

    @property
    def ids(self) -> list[str]:
        return [example.id for example in self.examples]

    @property
    def texts(self) -> list[tuple[str, ...]]:
        """As they stand in the file."""
        return [example.raw for example in self.examples]


def read_messages(
    task: AnyTask,
    source: str,
    columns: dict[str, str] | None = None,
    written: TextFormat | None = None,
    unlabelled: bool = False,
) -> Messages:
    """Read the rows of `source` (CSV, TSV, JSON Lines, JSON, Parquet, or one text a line).

    Args:
        columns: settings of the task that name columns, "text" and "id", where the file calls them otherwise.
        written: how the source is written; by default this is found by looking.
        unlabelled: only the rows without a label.

    Raises:
        DataError: when a column is missing, or no row has a text.
    """
    written = written or TextFormat()
    stats = ReadStats(written.max_bad)
    task = build_task(task.settings.model_copy(update=columns or {}), task.schema)
    if columns and "id" in columns:
        task.first_row(source, {}, [*task.text_columns, columns["id"]])
    examples = task.read_unlabelled(source, None, stats, written, unlabelled)
    empty = sum(not any(text.strip() for text in example.raw) for example in examples)
    if empty == len(examples):
        raise DataError(f"{redacted(source)}: none of {empty:,} rows has a text.")
    if empty:
        progress.note(progress.escape(f"{redacted(source)}: {empty:,} rows have an empty text; they are answered all the same"))
    return Messages(examples, stats)


def answers_to(predictor: Predictor, rows: Messages) -> list[Any]:
    """Return the answer to each row, with a progress bar where that takes a while."""
    examples, answers = rows.examples, []
    if len(examples) <= _AT_ONCE:
        return predictor.predict_examples(examples)
    with progress.bar("predict", len(examples), "rows") as bar:
        for start in range(0, len(examples), _AT_ONCE):
            part = examples[start : start + _AT_ONCE]
            answers += predictor.predict_examples(part)
            bar.advance(len(part))
    return answers


def check_submission(task: AnyTask, rows: Messages, source: str, sample: str | None) -> None:
    """Refuse rows that do not make a submission for Kaggle.

    Raises:
        DataError: when the model is no classifier, or the ids are not those of the sample submission.
    """
    if task.kind != "classification":
        raise DataError(f"--format kaggle: is for a classifier; this is a {task.kind} model.")
    check_ids(rows.ids, source, sample)


def stream_texts(
    stream: IO[bytes], encoding: str, stats: ReadStats, name: str, column: str = "text"
) -> Iterator[tuple[str, str]]:
    """Yield number and text of each line of a stream as it comes; blank lines and those that cannot be read are counted.

    A line is a text, or a JSON object that holds one, also one of an array with an object a line.

    Args:
        encoding: "auto" looks at what is there when the stream begins, and again at the first line that does not fit.
        name: what messages call the stream.
        column: the key of the text in objects.

    Raises:
        DataError: when no line can be read, or too many cannot, or JSON is spread over several lines.
    """
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)  # type: ignore[type-var]
    looked = encoding == "auto"
    if looked:
        encoding = detect_encoding(buffered.peek(1), False) or "utf-8"
    codec, wide = codec_of(encoding)
    if encoding != "utf-8" and looked:
        stats.assume(name, f"read as {encoding}")
    for number, line in numbered_lines(buffered, encoding):
        stats.rows += 1
        place = Place(name, number, number - 1)
        if line is None:
            stats.skip(place, "a line too long")
            continue
        try:
            text = line.decode("utf-8" if wide else codec)
        except UnicodeDecodeError:
            found = detect_encoding(line, True) if looked and codec == "utf-8" else None
            if found in (None, "utf-8"):
                stats.skip(place, f"not {encoding}")
                continue
            encoding = str(found)
            codec = codec_of(encoding)[0]
            stats.assume(name, f"read as {encoding} from line {number:,} on")
            text = line.decode(codec, "replace")
        record = _json_of(text)
        if record is None:
            stats.drop("bracket of an array")
            continue
        if isinstance(record, list):
            raise DataError(
                f"{name}: line {number:,} begins an array, or an object over several lines; put each object on one line "
                "(jq -c), or give the file by its name."
            )
        if isinstance(record, dict):
            if not isinstance(record.get(column), str):
                stats.skip(place, f"no key {column!r}")
                continue
            text = record[column]
        if text.strip():
            yield str(place.row), text.strip()
        else:
            stats.drop("blank line")
    if not stats.used:
        raise DataError(f"{name}: no text could be read{stats.summary()}.")
    stats.report(name)


def _json_of(text: str) -> object:
    """Return the object in a line, None for a bracket of an array, a list for other JSON, else the text."""
    bare = text.encode("utf-8", "replace").strip(AROUND_JSON)
    if bare in (b"[", b"]"):
        return None
    if bare == b"{":
        return []
    with suppress(ValueError):
        if bare[:1] == b"{":
            return orjson.loads(bare.rstrip(b"]"))
        if bare[:2] == b"[{":
            return orjson.loads(bare) if bare[-1:] == b"]" else orjson.loads(bare[1:])
    return text


def check_ids(ids: Sequence[str], source: str, sample: str | None) -> None:
    """Check that each id occurs once, and that they are those of Kaggle's sample submission.

    Raises:
        DataError: naming the first id that is wrong.
    """
    seen: set[str] = set()
    for name in ids:
        if name in seen:
            raise DataError(f"{source}: id {name} occurs twice; a submission needs each id once.")
        seen.add(name)
    if sample is None:
        return
    rows = read_rows(Source(path=sample, text="target", format="csv"), ReadStats(0), ["id"], [])
    expected = {row["id"] for _, row in rows}
    if missing := sorted(expected - seen):
        raise DataError(f"{source}: id {missing[0]} of {sample} is missing ({len(missing):,} are).")
    if extra := sorted(seen - expected):
        raise DataError(f"{source}: id {extra[0]} is not in {sample} ({len(extra):,} are not).")


def render(
    task: AnyTask,
    ids: Sequence[str],
    texts: Sequence[Sequence[str]],
    answers: Sequence[Any],
    form: Format,
    header: bool = True,
) -> bytes:
    """Return answers as bytes of a file. Kaggle's is exactly `id,target`.

    Args:
        header: of CSV, the names of the columns come first.
    """
    if form == "kaggle":
        return _csv([["id", "target"], *([name, answer.value] for name, answer in zip(ids, answers, strict=True))])
    rows = [{"id": name, **_columns(text), **task.flat(answer)} for name, text, answer in zip(ids, texts, answers, strict=True)]
    if form == "jsonl":
        return b"".join(orjson.dumps(row) + b"\n" for row in rows)
    names = [list(map(unformula, rows[0])) if rows else ["id"]] if header else []
    return _csv([*names, *([_cell(value) for value in row.values()] for row in rows)])


def _columns(text: Sequence[str]) -> dict[str, str]:
    return {"text" if number == 0 else f"text_{number + 1}": part for number, part in enumerate(text)}


def _cell(value: str | float) -> str:
    return unformula(value) if isinstance(value, str) else f"{value:.6f}"


def _csv(rows: Sequence[Sequence[str]]) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue().encode()
