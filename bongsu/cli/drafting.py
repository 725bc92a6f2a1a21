"""A first recipe for somebody's own file: which columns hold what is found by looking at the first rows."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

from bongsu.corpus.readers import ReadStats, read_rows, resolve
from bongsu.errors import DataError, MissingColumnError, RecipeError
from bongsu.files import redacted
from bongsu.models import DEFAULT
from bongsu.recipe import Source, TextFormat, Tokenizer
from bongsu.recipe.section import BYTES, SPECIAL_TOKENS
from bongsu.tokens.bpe import train_tokenizer

LOOKED_AT = 5000
"""Rows that are looked at."""
Kind = Literal["classification", "regression"]

_TEXTS = ("text", "tweet", "message", "content", "body", "document", "comment", "review", "sentence", "post", "description",
          "본문", "내용", "원문", "텍스트", "문장", "메시지")  # fmt: skip
_LABELS = ("target", "label", "labels", "class", "category", "sentiment", "choose_one", "score", "rating", "stars", "y",
           "라벨", "레이블", "분류", "감정", "평점")  # fmt: skip
_CONTEXT = "keyword"
_READ_BY_DEFAULT = 256
"""The most tokens of a text that `bongsu:beacon` reads."""
_MOST_CLASSES = 50
_HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]")
_LETTER = re.compile(r"[^\W\d_]")


@dataclass(frozen=True)
class Look:
    """What a labelled file seems to hold."""

    path: str
    columns: list[str]
    rows: int
    """Of those looked at."""
    complete: bool
    """Whether these are all."""
    text: str
    label: str | None
    """None for text alone."""
    kind: Kind
    labels: dict[str, int]
    """Each class with its rows; empty for numbers."""
    id: str | None
    context: list[str]
    characters: int
    """Of a text, as 99 in 100 have at most."""
    megabytes: float
    """Of all files together."""
    vocabulary: int
    """Entries of a tokenizer that the text fills."""
    korean: float
    """Share of letters that are Hangul."""


class Columns(NamedTuple):
    """The columns of the first rows of a file."""

    values: dict[str, list[str]]
    """The cells of each column, without blanks at their ends."""
    text: str
    label: str | None
    """None when no column looks like labels."""
    complete: bool
    """Whether these are all rows."""


def find_columns(path: str, text: str | None = None, label: str | None = None, written: TextFormat | None = None) -> Columns:
    """Find the columns with texts and with labels in the first rows of a file.

    Args:
        text, label: the columns, where they are known; otherwise they are guessed by name, and then by content.
        written: how the file is written; by default this is found by looking.

    Raises:
        DataError: when the file cannot be read, holds no column with text, or lacks a column that was named.
    """
    source = Source(path=path, **(written or TextFormat()).model_dump())
    rows = [row for _, row in islice(read_rows(source, ReadStats(quiet=True), [], None), LOOKED_AT + 1)]
    complete = len(rows) <= LOOKED_AT
    rows = rows[:LOOKED_AT]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    for name in (text, label):
        if name is not None and name not in columns:
            raise MissingColumnError(path, name, columns, f"Name one of them with {'--text' if name == text else '--label'}.")
    values = {name: [row.get(name, "").strip() for row in rows] for name in columns}
    text = text or _text_column({name: values[name] for name in columns if name != label}, path)
    label = label or _label_column({name: values[name] for name in columns if name != text})
    return Columns(values, text, label, complete)


def look(path: str, text: str | None = None, label: str | None = None) -> Look:
    """Look at the first rows of a file; the arguments and errors are those of `find_columns`."""
    found = find_columns(path, text, label)
    values, text, label = found.values, found.text, found.label
    columns = list(values)
    known = [value for value in values[label] if value] if label else []
    kind: Kind = "regression" if len(set(known)) > _MOST_CLASSES and all(map(_is_number, known)) else "classification"
    texts = values[text]
    letters = _LETTER.findall("".join(texts))
    ids = [name for name in columns if name.lower() == "id" and name not in (text, label)]
    lengths = sorted(map(len, texts))
    return Look(
        path=path,
        columns=columns,
        rows=len(values[text]),
        complete=found.complete,
        text=text,
        label=label,
        kind=kind,
        labels=dict(Counter(known).most_common()) if kind == "classification" else {},
        id=ids[0] if ids else None,
        context=[name for name in columns if name.lower() == _CONTEXT and name not in (text, label)],
        characters=lengths[int(0.99 * (len(lengths) - 1))],
        megabytes=sum(Path(file).stat().st_size for file in resolve(path) if Path(file).is_file()) / 1e6,
        vocabulary=_vocabulary(texts),
        korean=len(_HANGUL.findall("".join(letters))) / max(1, len(letters)),
    )


def draft(
    seen: Look,
    name: str,
    scripts: Sequence[str] = (),
    unlabelled: Sequence[str] = (),
    test: str | None = None,
    names: dict[str, str] | None = None,
) -> str:
    """Return a recipe for the file, as TOML with comments.

    Args:
        scripts: "hangul", "latin" or both: texts in others are left out of pre-training; empty keeps all.
        unlabelled: more files of texts to pre-train on.
        test: a file like the first, to measure on once, at the end.
        names: what to call the labels.
    """
    return "\n".join(_lines(seen, name, scripts, unlabelled, test, names or {})) + "\n"


def _lines(
    seen: Look, name: str, scripts: Sequence[str], unlabelled: Sequence[str], test: str | None, names: dict[str, str]
) -> Iterator[str]:
    where = "rows" if seen.complete else f"first {LOOKED_AT:,} rows"
    small = seen.megabytes + sum(Path(path).stat().st_size for path in unlabelled if Path(path).is_file()) / 1e6 < 5.0
    length = next((size for size in (64, 128, 256) if seen.characters <= (1.5 if seen.korean > 0.3 else 3.0) * size), 512)
    if seen.label:
        length = min(length, _READ_BY_DEFAULT)
    yield f"# Written by `bongsu init` after a look at the {where} of {_one_line(redacted(seen.path))}."
    yield "# Paths are relative to the folder where it is run."
    yield "#"
    yield f"#   bongsu plan {name}.toml      # what will run, and how long it takes here"
    yield f"#   bongsu run {name}.toml"
    yield f"name = {_toml(name)}"
    yield ""
    yield "[corpus]                        # the text that the language model learns from"
    if scripts:
        yield f"cleaning = {{ scripts = {_toml(list(scripts))} }}    # texts mostly in other scripts are left out"
    else:
        share = "mostly Korean" if seen.korean > 0.7 else "Korean and others" if seen.korean > 0.1 else "hardly any Korean"
        yield f'# cleaning = {{ scripts = ["hangul", "latin"] }}    # leaves texts in other scripts out; here: {share}'
    if seen.rows < 2000:
        yield "validation = 0.1                # share of texts held out, to measure the language model on"
    yield ""
    yield "[[corpus.sources]]"
    if seen.label:
        yield 'path = "task:train"             # the texts of the file that [task] names, so that it is named once'
    else:
        yield f"path = {_toml(seen.path)}"
        yield f"text = {_toml(seen.text)}"
    for path in unlabelled:
        yield ""
        yield "[[corpus.sources]]"
        yield f"path = {_toml(path)}"
    if not unlabelled:
        yield ""
        yield "# More text without labels helps more than anything else; a folder or a pattern will do:"
        yield "# [[corpus.sources]]"
        yield '# path = "more/*.txt"'
    yield ""
    yield "[tokenizer]                     # of an encoder from scratch, as [model] is" if seen.label else "[tokenizer]"
    yield f"vocab_size = {8000 if unlabelled or not small else seen.vocabulary}"
    yield f"lowercase = {'false' if seen.korean > 0.7 else 'true'}"
    yield ""
    yield "[model]                         # small enough for a laptop; d_model = 256 for more text"
    yield f"d_model = {128 if small else 256}"
    yield "n_layers = 4"
    yield "n_heads = 4"
    yield f"max_length = {max(128, length)}"
    yield ""
    yield "[pretrain]"
    if seen.label:
        yield f"{f'start = {_toml(DEFAULT)}':<32}" + '# the encoder that ships, for English and Korean; "none": from scratch'
    yield f"batch_sentences = {96 if small else 256}"
    yield f"row_length = {max(64, min(128, length))}"
    epochs, advice = (40 if small else 10), "more is better, until the report's curve of held-out text is flat"
    if seen.label:
        epochs, advice = epochs // 4, f"from scratch {epochs} or more"
    yield f"{f'epochs = {epochs}':<32}# {advice}"
    yield "learning_rate = 5e-4            # from scratch 2e-3" if seen.label else "learning_rate = 2e-3"
    if seen.label:
        yield from _task_lines(seen, length, test, names)


def _task_lines(seen: Look, length: int, test: str | None, names: dict[str, str]) -> Iterator[str]:
    others = [column for column in seen.columns if column not in (seen.text, seen.label, seen.id)]
    yield ""
    yield "[task]"
    if seen.kind == "regression":
        yield 'kind = "regression"             # the label is a number'
    yield f"train = {_toml(seen.path)}"
    if test:
        yield f"test = {_toml(test)}            # measured once, at the end"
    else:
        yield '# test = "test.csv"             # rows to measure on once, at the end'
    yield f"text = {_toml(seen.text)}"
    yield f"label = {_toml(seen.label)}"
    if seen.id and seen.id != "id":
        yield f"id = {_toml(seen.id)}"
    if seen.context:
        yield f"context = {_toml(seen.context)}        # columns put before the text"
    elif others:
        yield f"# context = {_toml(others[:1])}        # columns put before the text: {_one_line(', '.join(others[:8]))}"
    if seen.kind == "classification":
        counts = ", ".join(f"{label}: {count:,}" for label, count in list(seen.labels.items())[:8])
        yield f"# labels found: {_one_line(counts)}" + (", …" if len(seen.labels) > 8 else "")
        shown = names or {label: label for label in sorted(seen.labels)[:8]}
        table = ", ".join(f"{_toml(label)} = {_toml(called)}" for label, called in shown.items())
        yield f"{'' if names else '# '}names = {{ {table} }}    # what to call them"
        if len(seen.labels) == 2:
            yield f"# positive = {_toml(max(seen.labels))}                # the label to look for"
    yield f"max_length = {length}                # tokens of a text that are read"
    few = min(seen.labels.values(), default=seen.rows) < 200
    yield ""
    yield "[finetune]"
    yield f"epochs = {10 if few else 4}"
    yield "encoder_learning_rate = 3e-4"
    yield ""
    yield "[validation]"
    if seen.complete:
        yield "folds = 5                       # every row is measured once; 0: a fifth of them, in a fifth of the time"
    else:
        yield "folds = 0                       # a fifth of the rows is held out; 5: every row is, in five times the time"
    if seen.kind == "classification":
        yield ""
        yield "[ensemble]"
        yield "tfidf = true                    # decide with TF-IDF: better on a few thousand rows, and it costs seconds"


def column_called_text(columns: Iterable[str]) -> str | None:
    """Return the column that is called as columns with texts are; None when none is."""
    names = {column.lower(): column for column in reversed(list(columns))}
    return next((names[name] for name in _TEXTS if name in names), None)


def _text_column(values: dict[str, list[str]], path: str) -> str:
    """Return the column with the texts: by its name, or the one with the longest values that are mostly different."""
    if named := column_called_text(values):
        return named
    sizes = {
        column: sum(map(len, cells)) / max(1, len(cells))
        for column, cells in values.items()
        if len(set(cells)) > 0.5 * len(cells) and not all(map(_is_number, filter(None, cells)))
    }
    if not sizes:
        raise DataError(f"{path}: no column looks like text; the columns are {', '.join(values)}. Name one with --text.")
    return max(sizes, key=lambda column: sizes[column])


def _label_column(values: dict[str, list[str]]) -> str | None:
    """Return the column with the labels: by its name, or the one with fewest different values; None when there is none."""
    different = {column: len(set(filter(None, cells))) for column, cells in values.items()}
    for name in _LABELS:
        found = next((column for column in values if column.lower() == name), None)
        if found and different[found] > 1:
            return found
    few = {column: count for column, count in different.items() if 2 <= count <= min(20, len(values[column]) // 3)}
    return min(few, key=lambda column: few[column]) if few else None


def _vocabulary(texts: Sequence[str]) -> int:
    """Return the largest of some sizes that a tokenizer of most of these texts fills."""
    most = list(dict.fromkeys(texts))
    most = most[: max(1, int(0.8 * len(most)))]
    for size in (5000, 3000, 2000, 1000, 500, 300):
        with suppress(RecipeError):
            train_tokenizer(Tokenizer(vocab_size=size, lowercase=True), most)
            return size
    return SPECIAL_TOKENS + BYTES


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _toml(value: object) -> str:
    """Return a string or a list of strings as TOML, which for these is JSON."""
    return json.dumps(value, ensure_ascii=False)
