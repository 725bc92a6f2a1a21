"""Labels as CSV, so that a spreadsheet or Label Studio can be used as well, and as rows to train on."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from bongsu.corpus.readers import ReadStats, read_rows
from bongsu.errors import DataError
from bongsu.labelling.store import Asked, Label
from bongsu.printable import reformula, unformula
from bongsu.recipe import Source
from bongsu.tasks.task import label_of

ROW_COLUMNS = ("id", "text", "target", "event", "time", "by", "labelled", "drawn")
QUEUE_COLUMNS = ("source", "id", "text", "label", "drawn")
_YES, _NO, _SKIP = (
    {"1", "true", "yes", "disaster", "재난"},
    {"0", "false", "no", "not", "other", "기타"},
    {"skip", "drop", "건너뜀"},
)
FROM_FILE = "file"
"""The source of messages whose file names none."""


def training_rows(labels: Iterable[Label], classes: Sequence[str], event: str) -> bytes:
    """Return labels as a CSV file that a recipe takes: `task.train`, with `validation.leave_out = "event"`.

    Args:
        classes: the negative and the positive class as the training file writes them.
        event: what the labels are of; in the column `event` of every row.
    """
    rows = []
    for each in labels:
        if each.label is not None:
            asked, who = each.asked, unformula(each.by)
            what = (unformula(asked.id), unformula(asked.text), classes[each.label], unformula(event))
            rows.append((*what, _iso(asked.time), who, _iso(each.at), asked.drawn))
    return _csv(ROW_COLUMNS, rows)


def queue_rows(asked: Iterable[Asked]) -> bytes:
    """Return messages that wait for a label as a CSV file with an empty column `label` to fill in."""
    rows = [(unformula(each.source), unformula(each.id), unformula(each.text), "", each.drawn) for each in asked]
    return _csv(QUEUE_COLUMNS, rows)


def read_labels(
    path: str, stats: ReadStats, names: Sequence[Sequence[str]], text: str = "text", label: str = "label"
) -> list[tuple[Asked, int | None]]:
    """Return the labels of a CSV file, or of any other table that Bongsu reads; rows without a label are counted and left out.

    Args:
        names: what the negative class may be called, and the positive.
        text, label: the columns that hold them.

    Raises:
        DataError: when a column is missing, or a label is none that is known, naming the row.
    """
    no, yes = ({name.casefold() for name in each} | known for each, known in zip(names, (_NO, _YES), strict=True))
    found: list[tuple[Asked, int | None]] = []
    for place, row in read_rows(Source(path=path), stats, [text, label], ["id", "source", "author", "drawn"]):
        cell = (label_of(reformula(row[label])) or "").casefold()
        if not cell or not row[text].strip():
            stats.drop("no label" if not cell else "no text")
            continue
        if cell not in yes | no | _SKIP:
            known = ", ".join(sorted({*names[0], *names[1]}))
            raise DataError(f"{place}: label {row[label]!r} in column {label!r}; it is one of {known}, 1, 0 and skip.")
        drawn = row.get("drawn", "")
        asked = Asked(
            row.get("source") or FROM_FILE,
            reformula(row.get("id") or str(place.row)),
            row.get("author") or "",
            reformula(row[text]),
            0.0,
            drawn if drawn in ("random", "doubtful") else "chosen",  # type: ignore[arg-type]
        )
        found.append((asked, None if cell in _SKIP else int(cell in yes)))
    return found


def _csv(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """Return a CSV file in UTF-8 with the mark that makes spreadsheets read it as such."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows(rows)
    return b"\xef\xbb\xbf" + out.getvalue().encode("utf-8", "surrogatepass")


def _iso(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds") if time else ""
