"""Predictions of a file: JSON Lines, CSV, or a Kaggle submission."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Literal

import orjson

from bongsu.corpus.readers import Problems, read_rows
from bongsu.errors import DataError
from bongsu.finetuning.data import read_unlabelled
from bongsu.inference.prediction import Prediction, TextClassifier
from bongsu.recipe import Source

Format = Literal["jsonl", "csv", "kaggle"]


def predict_file(classifier: TextClassifier, source: str, form: Format, sample: str | None = None) -> tuple[bytes, int]:
    """Classifies the texts of `source` (CSV, TSV, JSON Lines, Parquet, or one text a line): the bytes of a file, and its rows.

    Raises:
        DataError: when a column is missing, or for `kaggle` the ids are not those of the sample submission.
    """
    details = classifier.details
    ids, texts, raw = read_unlabelled(source, details["text"], details["context"], details["id"], classifier.cleaner)
    if not texts:
        raise DataError(f"{source}: no text could be read.")
    if form == "kaggle":
        check_ids(ids, source, sample)
    return render(ids, raw, classifier.predict_read(texts), form), len(texts)


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
    rows = read_rows(Source(path=sample, text="target", format="csv"), Problems(0), ["id"])
    expected = {row["id"] for _, row in rows}
    if missing := sorted(expected - seen):
        raise DataError(f"{source}: id {missing[0]} of {sample} is missing ({len(missing):,} are).")
    if extra := sorted(seen - expected):
        raise DataError(f"{source}: id {extra[0]} is not in {sample} ({len(extra):,} are not).")


def render(ids: Sequence[str], raw: Sequence[str], predictions: Sequence[Prediction], form: Format) -> bytes:
    """Predictions as bytes of a file. Kaggle's is exactly `id,target`."""
    if form == "jsonl":
        return b"".join(
            orjson.dumps({"id": name, "text": text, "label": p.label, "probability": p.probability}) + b"\n"
            for name, text, p in zip(ids, raw, predictions, strict=True)
        )
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    if form == "kaggle":
        writer.writerow(["id", "target"])
        writer.writerows([name, p.value] for name, p in zip(ids, predictions, strict=True))
    else:
        writer.writerow(["id", "text", "label", "probability"])
        for name, text, p in zip(ids, raw, predictions, strict=True):
            writer.writerow([unformula(name), unformula(text), unformula(p.label), f"{p.probability:.6f}"])
    return buffer.getvalue().encode()


def unformula(cell: str) -> str:
    """A cell that a spreadsheet would run as a formula, made text by an apostrophe (OWASP, CSV injection)."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
