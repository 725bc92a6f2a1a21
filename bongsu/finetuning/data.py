"""Labelled texts: read, cleaned, and corrected where the user has looked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bongsu.corpus.cleaning import Cleaner, key
from bongsu.corpus.readers import Problems, read_rows
from bongsu.errors import DataError, RecipeError
from bongsu.recipe import Cleaning, Finetune, LabelledSource, Source
from bongsu.tokens.inputs import as_read, cleaned, in_context
from bongsu.tokens.random import mix, permute

Int64 = npt.NDArray[np.int64]
PAIR = ["text", "paraphrase"]
DROP = "drop"  # in a corrections file: leave the row out


@dataclass
class Labelled:
    """Rows of a labelled file; without a label column `labels` is empty."""

    ids: list[str]
    cleaned: list[str]
    """Without context."""
    contexts: list[list[str]]
    """Of each row the values of the context columns."""
    raw: list[str]
    """As they stand in the file."""
    labels: Int64
    """[rows] int64, an index into `classes`."""
    classes: list[str]
    values: list[str]
    """Of each row the value of the column that `leave_out` names; empty without one."""

    @property
    def texts(self) -> list[str]:
        """As the model reads them: cleaned, context in front."""
        return [in_context(text, context) for text, context in zip(self.cleaned, self.contexts, strict=True)]


def read_labelled(settings: Finetune, path: str, where: dict[str, str], classes: Sequence[str] | None = None) -> Labelled:
    """Reads a labelled file.

    Args:
        classes: the classes of the training file, for a test file; by default those found, sorted, with `positive` last.

    Raises:
        DataError: when a column is missing, a class has too few rows, or a label is not among `classes`.
    """
    rows = list(_rows(settings, path, where, _columns(settings)))
    if classes is None and settings.corrections is not None:
        rows = _corrected(settings, path, rows)
    if not rows:
        raise DataError(f"{path}: no labelled row could be read.")
    found = sorted({row[settings.label] for _, row in rows})
    if classes is None:
        classes = _classes(settings, found, path)
    unknown = [label for label in found if label not in classes]
    if unknown:
        raise DataError(f"{path}: label {unknown[0]!r} in column {settings.label!r} is not one of {', '.join(classes)}.")
    index = {name: number for number, name in enumerate(classes)}
    cleaner = Cleaner(settings.cleaning)
    return Labelled(
        ids=[name for name, _ in rows],
        cleaned=[cleaned(cleaner, row[settings.text]) for _, row in rows],
        contexts=[[row[name] for name in settings.context] for _, row in rows],
        raw=[row[settings.text] for _, row in rows],
        labels=np.array([index[row[settings.label]] for _, row in rows], dtype=np.int64),
        classes=list(classes),
        values=[row[settings.leave_out] for _, row in rows] if settings.leave_out and settings.leave_out in rows[0][1] else [],
    )


def read_extra(settings: Finetune, classes: Sequence[str]) -> tuple[list[str], Int64]:
    """Cleaned texts of the extra sources and their labels [texts], an index into `classes`.

    Raises:
        DataError: when a source holds no text with a label that is one of them.
    """
    texts, labels = read_sources(settings.extra, settings.cleaning, classes)
    return texts, np.array([classes.index(label) for label in labels], dtype=np.int64)


def read_sources(
    sources: Sequence[LabelledSource], cleaning: Cleaning, classes: Sequence[str] | None = None
) -> tuple[list[str], list[str]]:
    """Cleaned texts of labelled sources, and the label of each.

    Args:
        classes: the labels there may be; by default whatever the sources call them.

    Raises:
        DataError: when a source holds no text with a label that is wanted, or calls one what is none of `classes`.
    """
    cleaner = Cleaner(cleaning)
    texts: list[str] = []
    labels: list[str] = []
    for number, source in enumerate(sources):
        names = source.labels or ({name: name for name in classes} if classes is not None else {})
        wrong = [
            name for name in ([source.all] if source.all else names.values()) if classes is not None and name not in classes
        ]
        if classes is not None and wrong:
            raise DataError(f"{source.path}: {wrong[0]!r} is not one of the labels {', '.join(classes)}.")
        rows = []
        for _, row in read_rows(
            Source(path=source.path, text=source.text, where=source.where), Problems(1000), _read_of(source)
        ):
            name = source.all or (names.get(row[source.label].strip()) if names else row[source.label].strip())
            if name and row[source.text].strip():
                rows.append((row[source.text], name))
        if not rows:
            among = f" among {', '.join(names)}" if names else ""
            raise DataError(f"{source.path}: no row has a label{among} in column {source.label!r}.")
        if source.limit is not None and len(rows) > source.limit:
            chosen = np.sort(permute(np.arange(source.limit), len(rows), mix(0, number)))
            rows = [rows[row] for row in chosen.tolist()]
        texts += [cleaned(cleaner, text) for text, _ in rows]
        labels += [name for _, name in rows]
    return texts, labels


def _read_of(source: LabelledSource) -> list[str]:
    """The columns that are read of a source."""
    return [source.text] if source.all else [source.text, source.label]


def read_pairs(settings: Finetune, texts: Sequence[str]) -> list[list[str]]:
    """Of each cleaned text its paraphrases in the file `pairs`, cleaned; of most texts there may be none.

    A paraphrase that is itself among the texts is left out: it may be a row that is measured on.

    Raises:
        DataError: when no text of the file is among the texts.
    """
    assert settings.pairs is not None
    cleaner = Cleaner(settings.cleaning)
    found: dict[str, list[str]] = {key(text): [] for text in texts}
    for _, row in read_rows(Source(path=settings.pairs), Problems(1000), PAIR):
        text, paraphrase = (cleaned(cleaner, row[name]) for name in PAIR)
        if paraphrase and key(paraphrase) not in found:
            found.get(key(text), []).append(paraphrase)
    if not any(found.values()):
        raise DataError(f"{settings.pairs}: none of its texts with a paraphrase of its own is a text of {settings.train}.")
    return [found[key(text)] for text in texts]


# Columns of the "Disasters on social media" file (Figure Eight), which holds the labels of Kaggle's test rows.
TEST_LABELS = {"choose_one", "choose_one:confidence", "choose_one_gold", "_unit_id", "_golden", "_trusted_judgments"}


def check_columns(settings: Finetune, kaggle: bool = False, others: Sequence[LabelledSource] = ()) -> None:
    """Looks at the first row of the labelled files, so that a missing column is found before hours of pre-training.

    Args:
        others: more labelled sources of the run.
        kaggle: whether the run makes a submission, which must not learn from the labels of the test rows.

    Raises:
        DataError: naming the columns there are, or the one that gives the test labels away.
    """
    own = _columns(settings)
    files = [(settings.train, settings.where, [*own, *([settings.leave_out] if settings.leave_out else [])])]
    files += [(settings.test, settings.test_where, own)] if settings.test else []
    files += [(source.path, source.where, _read_of(source)) for source in (*settings.extra, *others)]
    files += [(settings.pairs, {}, PAIR)] if settings.pairs else []
    for path, where, columns in files:
        row = next(read_rows(Source(path=path, text=columns[0], where=where), Problems(1000), columns), None)
        if row is not None and kaggle and (found := sorted(TEST_LABELS & row[1].keys())):
            raise DataError(
                f"{path}: column {found[0]!r} belongs to the file that Kaggle drew its test rows from, with their labels. A "
                "submission trained on them measures nothing; use Kaggle's own train.csv."
            )


def read_unlabelled(
    path: str, text: str, context: Sequence[str], id_column: str, cleaner: Cleaner, where: dict[str, str] | None = None
) -> tuple[list[str], list[str], list[str]]:
    """Ids, texts as the model reads them, and texts as they stand in the file."""
    ids, texts, raw = [], [], []
    source = Source(path=path, text=text, where=where or {})
    for number, (_, row) in enumerate(read_rows(source, Problems(1000), [text, *context])):
        ids.append(row.get(id_column) or str(number))
        raw.append(row[text])
        texts.append(as_read(cleaner, row[text], [row[name] for name in context]))
    return ids, texts, raw


def _columns(settings: Finetune) -> list[str]:
    return [settings.text, settings.label, *settings.context]


def _rows(settings: Finetune, path: str, where: dict[str, str], columns: list[str]) -> list[tuple[str, dict[str, str]]]:
    """Rows that have a text and a label, each under its id: the id column's, or the row's number."""
    problems = Problems(1000)
    rows = []
    for number, (place, row) in enumerate(read_rows(Source(path=path, text=settings.text, where=where), problems, columns)):
        label = (row[settings.label] or "").strip()
        if not label or not row[settings.text].strip():
            problems.skip(place, "no label" if not label else "no text")
            continue
        rows.append((row.get(settings.id) or str(number), {**row, settings.label: label}))
    return rows


def _corrected(settings: Finetune, path: str, rows: list[tuple[str, dict[str, str]]]) -> list[tuple[str, dict[str, str]]]:
    """The rows with the labels of the corrections file; those it says to drop are left out.

    Raises:
        DataError: when it names a row that is not there.
    """
    assert settings.corrections is not None
    entries = read_rows(Source(path=settings.corrections, format="csv"), Problems(0), ["id", "correction"])
    corrections = {row["id"]: row["correction"].strip() for _, row in entries if row["correction"].strip()}
    if unknown := sorted(corrections.keys() - {name for name, _ in rows}):
        raise DataError(f"{settings.corrections}: there is no row with id {unknown[0]!r} in {path}.")
    return [
        (name, {**row, settings.label: corrections.get(name, row[settings.label])})
        for name, row in rows
        if corrections.get(name) != DROP
    ]


def _classes(settings: Finetune, found: list[str], path: str) -> list[str]:
    if len(found) < 2:
        raise DataError(f"{path}: column {settings.label!r} holds one label only ({found[0]!r}); two or more are needed.")
    if len(found) > 1000:
        raise DataError(f"{path}: column {settings.label!r} holds {len(found)} different values; is it the label?")
    if settings.positive is not None:
        if settings.positive not in found or len(found) != 2:
            raise RecipeError(f"finetune.positive: {settings.positive!r}; the labels of {path} are {', '.join(found)}.")
        found = [label for label in found if label != settings.positive] + [settings.positive]
    return found
