"""Predictions of a file: JSON Lines, CSV, or a Kaggle submission."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any, Literal

import orjson

from bongsu.corpus.readers import ReadStats, read_rows
from bongsu.errors import DataError
from bongsu.inference.predictor import Predictor
from bongsu.printable import unformula
from bongsu.recipe import Source
from bongsu.tasks.registry import AnyTask

Format = Literal["jsonl", "csv", "kaggle"]


def predict_file(predictor: Predictor, source: str, form: Format, sample: str | None = None) -> tuple[bytes, int]:
    """Answer the rows of `source` (CSV, TSV, JSON Lines, Parquet, or one text a line): the bytes of a file, and its rows.

    Raises:
        DataError: when a column is missing, or for `kaggle` the ids are not those of the sample submission.
    """
    examples = predictor.task.read_unlabelled(source)
    if not examples:
        raise DataError(f"{source}: no text could be read.")
    ids = [example.id for example in examples]
    if form == "kaggle":
        if predictor.task.kind != "classification":
            raise DataError(f"--format kaggle: is for a classifier; this is a {predictor.task.kind} model.")
        check_ids(ids, source, sample)
    texts = [example.raw for example in examples]
    return render(predictor.task, ids, texts, predictor.predict_examples(examples), form), len(examples)


def check_ids(ids: Sequence[str], source: str, sample: str | None) -> None:
    """Kaggle wants each id once, and just those of its sample submission.

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
    rows = read_rows(Source(path=sample, text="target", format="csv"), ReadStats(0), ["id"])
    expected = {row["id"] for _, row in rows}
    if missing := sorted(expected - seen):
        raise DataError(f"{source}: id {missing[0]} of {sample} is missing ({len(missing):,} are).")
    if extra := sorted(seen - expected):
        raise DataError(f"{source}: id {extra[0]} is not in {sample} ({len(extra):,} are not).")


def render(task: AnyTask, ids: Sequence[str], texts: Sequence[Sequence[str]], answers: Sequence[Any], form: Format) -> bytes:
    """Return answers as bytes of a file. Kaggle's is exactly `id,target`."""
    if form == "kaggle":
        return _csv([["id", "target"], *([name, answer.value] for name, answer in zip(ids, answers, strict=True))])
    rows = [{"id": name, **_columns(text), **task.flat(answer)} for name, text, answer in zip(ids, texts, answers, strict=True)]
    if form == "jsonl":
        return b"".join(orjson.dumps(row) + b"\n" for row in rows)
    return _csv(
        [list(map(unformula, rows[0])) if rows else ["id"], *([_cell(value) for value in row.values()] for row in rows)]
    )


def _columns(text: Sequence[str]) -> dict[str, str]:
    return {"text" if number == 0 else f"text_{number + 1}": part for number, part in enumerate(text)}


def _cell(value: str | float) -> str:
    return unformula(value) if isinstance(value, str) else f"{value:.6f}"


def _csv(rows: Sequence[Sequence[str]]) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue().encode()
