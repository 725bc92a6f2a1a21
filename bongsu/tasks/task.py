"""The interface of a kind of task: how its rows are read, encoded, learned, decoded and scored.

A kind is one class in one file of this folder. Fine-tuning, export, prediction and the server are generic: they use the methods
of `Task` alone. Only `criterion` and `head` import torch, so a server needs none.

The path of a row: `read` makes an `Example` of it, `encode` one or more `Encoded` rows of model input, the model outputs
numbers for each, `gather` combines them as the `Outputs` of the example, `probabilities` calibrates them, and `answers` decodes
them. `score` and `statistics` compare them with the targets.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
from tokenizers import Tokenizer

from bongsu.arrays import Array, Float32, Float64, Int64
from bongsu.corpus.cleaning import Cleaner, dedup_key
from bongsu.corpus.readers import Place, ReadStats, format_of, read_rows, resolve
from bongsu.errors import DataError
from bongsu.files import redacted
from bongsu.model.tfidf import Tfidf
from bongsu.recipe import Evaluate, Labelled, Source, TextFormat
from bongsu.tokens.inputs import Encoded, cleaned, encode, in_context

if TYPE_CHECKING:
    from torch import Tensor

    from bongsu.model.heads import HeadConfig

SettingsT = TypeVar("SettingsT", bound=Labelled)
TargetT = TypeVar("TargetT")
AnswerT = TypeVar("AnswerT")

NO_LABEL = "no label"
"""The reason under which rows are counted that have none, and so are not learned from."""
_MISSING = {"", "nan", "<na>", "null"}
_WHOLE = re.compile(r"(-?(?:0|[1-9]\d*))\.0+")


def label_of(cell: str) -> str | None:
    """Return the normalized label of a cell, or None for one that stands for no label, such as "" or "NaN".

    1.0 is "1", as a column of whole numbers with gaps is written; True and TRUE are "true".
    """
    cell = cell.strip()
    folded = cell.casefold()
    if folded in _MISSING:
        return None
    whole = _WHOLE.fullmatch(cell)
    return whole[1] if whole else folded if folded in ("true", "false") else cell


@dataclass(frozen=True, slots=True)
class Example(Generic[TargetT]):
    """A row of a task's file. All of it can be written as JSON."""

    id: str
    inputs: tuple[str, ...]
    """As the model reads them, cleaned: one text, or two."""
    raw: tuple[str, ...]
    """As they stand in the file."""
    cleaned: str
    """The text by which near-duplicates are found: cleaned, without context."""
    target: TargetT
    group: str = ""
    """The value of the column that `validation.leave_out` names."""
    context: tuple[str, ...] = ()
    """The values of the context columns, as they stand in the file."""


@dataclass(frozen=True)
class Schema:
    """What a model needs of its training rows, saved with it."""

    labels: list[str] = field(default_factory=list)
    """Classes, labels or tags, in the order of the model's outputs; empty for numbers."""
    unit: str = ""
    """Tagging: what a tag is given to, "word" or "character"."""
    shift: float = 0.0
    scale: float = 1.0
    """Numbers: targets are (value - shift) / scale in training."""


@dataclass(frozen=True)
class Calibration:
    """Temperature and thresholds, chosen on held-out rows."""

    temperature: float = 1.0
    """Logits are divided by it (Guo et al. 2017)."""
    thresholds: list[float] = field(default_factory=list)
    """The least probability of a label; empty where the likeliest class wins."""


@dataclass(frozen=True)
class RowCalibration(Calibration):
    """The calibration of rows of several folds; `thresholds` are the folds' mean."""

    by_row: Float64 = field(default_factory=lambda: np.zeros((0, 0)))
    """[N, thresholds], of each row those of its fold, which were chosen on the other folds' rows."""


class Metric(NamedTuple):
    """A metric of a kind of task."""

    name: str
    title: str
    higher_is_better: bool = True


@dataclass(frozen=True)
class Outputs:
    """Outputs of a model for examples: for each a table of `width` columns, mostly of one row."""

    values: Float32
    """[rows of all examples, width]."""
    lengths: Int64
    """[examples], how many rows each has."""

    @classmethod
    def of_rows(cls, values: Array) -> Outputs:
        """Return outputs [N, width] of N examples with one row each."""
        return cls(np.asarray(values, dtype=np.float32), np.ones(len(values), dtype=np.int64))

    @classmethod
    def of_tables(cls, tables: Sequence[Array], width: int) -> Outputs:
        """Return the outputs of examples, a table [k, width] each."""
        values = np.concatenate([np.zeros((0, width)), *tables]).astype(np.float32)
        return cls(values, np.array([len(table) for table in tables], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.lengths)

    def tables(self) -> list[Float32]:
        """Return the table [k, width] of each example."""
        return np.split(self.values, np.cumsum(self.lengths)[:-1]) if len(self) else []

    def take(self, rows: Int64) -> Outputs:
        """Return the outputs of some examples, in the order given."""
        tables = self.tables()
        return Outputs.of_tables([tables[row] for row in rows.tolist()], self.values.shape[1])

    def with_values(self, values: Array) -> Outputs:
        """Return other values of the same examples."""
        return Outputs(np.asarray(values, dtype=np.float32), self.lengths)


@dataclass(frozen=True)
class Table:
    """A table of the report."""

    title: str
    columns: list[str]
    rows: list[list[str | float]]
    note: str = ""


class Task(ABC, Generic[SettingsT, TargetT, AnswerT]):
    """A kind of task with its settings, and once rows were seen its schema."""

    kind: ClassVar[str]
    answer_type: ClassVar[Any]
    """The type of an answer, a dataclass or a list of one: what HTTP clients get."""
    metrics: ClassVar[tuple[Metric, ...]]
    """Those that `score` returns; the first is the main one, which models are compared by."""
    pairs: ClassVar[bool] = False
    """Whether an example has two texts."""
    strict_strata: ClassVar[bool] = False
    """Whether every fold must have each of the `strata`, as classes; otherwise rare ones are joined."""
    explains: ClassVar[bool] = False
    """Whether answers can be explained by the words that drove them."""
    naive_name: ClassVar[str]
    """The simplest baseline."""
    calibrates_baselines: ClassVar[bool] = False
    """Whether baselines too need thresholds that are chosen on rows."""
    tfidf_name: ClassVar[str | None] = None
    """The baseline of TF-IDF and a linear model, where the kind has one."""

    def __init__(self, settings: SettingsT, schema: Schema | None = None) -> None:
        self.settings = settings
        self.schema = schema or Schema()
        self.cleaner = Cleaner(settings.cleaning)
        self.text_columns, self.label_columns, self.context_columns = self.named_columns(settings)

    # Rows

    @staticmethod
    def named_columns(settings: SettingsT) -> tuple[list[str], list[str], list[str]]:
        """Return the columns of texts, of the label and of context that the settings name."""
        return [], [], []

    @property
    def columns(self) -> list[str]:
        """The columns that must be there in a labelled file, the first of them a text."""
        return [*self.text_columns, *self.label_columns, *self.context_columns]

    def parse(self, row: dict[str, str]) -> TargetT | None:
        """Return the target that a row of the file carries, or None when it has no label.

        Raises:
            ValueError: when there is one that cannot be read, saying why.
        """
        raise NotImplementedError(self.kind)

    def read(
        self, path: str, where: dict[str, str], leave_out: str | None = None, stats: ReadStats | None = None
    ) -> list[Example[TargetT]]:
        """Return the labelled rows of a file; others are counted and passed over, and the counts printed.

        Args:
            stats: what is counted in; afterwards its `used` is the number of examples.

        Raises:
            DataError: when a column is missing, no row has a label, or too many labels cannot be read.
        """
        stats = stats or self.new_stats()
        rows: list[tuple[str, list[str], list[str], TargetT, str]] = []
        for place, name, row in self.rows(path, where, [*self.columns, *([leave_out] if leave_out else [])], stats):
            texts = [row[column] for column in self.text_columns]
            try:
                target = self.parse(row)
            except ValueError as error:
                stats.skip(place, "a label that cannot be read", f": {error}")
                continue
            if target is None:
                stats.drop(NO_LABEL)
                continue
            if not all(text.strip() for text in texts):
                stats.drop("no text")
                continue
            context = [row[column] for column in self.context_columns]
            rows.append((name, texts, context, target, row[leave_out] if leave_out else ""))
        if not rows:
            raise DataError(f"{redacted(path)}: no labelled row could be read{stats.summary()}.")
        examples = self.examples([texts for _, texts, *_ in rows], [context for _, _, context, *_ in rows])
        return [
            Example(name, example.inputs, example.raw, example.cleaned, target, group, example.context)
            for example, (name, _, _, target, group) in zip(examples, rows, strict=True)
        ]

    def read_unlabelled(
        self,
        path: str,
        where: dict[str, str] | None = None,
        stats: ReadStats | None = None,
        written: TextFormat | None = None,
        only_unlabelled: bool = False,
    ) -> list[Example[None]]:
        """Return the rows of a file whose labels, if it has any, are not read. A row without text is one, too.

        A file of text, which has no columns, has no context. Where a context column is missing, that is said once, and the
        texts are read without it.

        Args:
            stats: what is counted in; afterwards its `used` is the number of examples.
            written: how the file is written; by default this is found by looking.
            only_unlabelled: pass over the rows that have a label.

        Raises:
            DataError: when a column is missing, or no row can be read.
        """
        stats, written = stats or self.new_stats(), written or TextFormat()
        if only_unlabelled and not self.label_columns:
            raise DataError(f"{redacted(path)}: files of a {self.kind} task have no column to find rows without a label by.")
        before = [] if self.context_columns and self._is_text(path, written) else self.context_columns
        columns = [*self.text_columns, *(self.label_columns if only_unlabelled else [])]
        names, all_texts, contexts = [], [], []
        lacking: Counter[str] = Counter()
        for _, name, row in self.rows(path, where or {}, columns, stats, written, also=before):
            if only_unlabelled and self._has_label(row):
                stats.drop("has a label")
                continue
            lacking.update(column for column in before if column not in row)
            names.append(name)
            all_texts.append([row[column] for column in self.text_columns])
            contexts.append([row.get(column, "") for column in before])
        if not names:
            raise DataError(f"{redacted(path)}: no row is left to read{stats.summary()}.")
        for column, count in lacking.items():
            rows = f"no column {column!r}" if count == len(names) else f"no {column!r} in {count:,} rows"
            stats.assume(redacted(path), f"{rows}, which the model was trained with: read without it")
        examples = self.examples(all_texts, contexts)
        return [replace(example, id=name) for example, name in zip(examples, names, strict=True)]

    def _is_text(self, path: str, written: TextFormat) -> bool:
        """Return whether a file is one text a line."""
        return format_of(self.source(path, self.text_columns[0], {}, written), resolve(path)[0]) == "text"

    def _has_label(self, row: dict[str, str]) -> bool:
        try:
            return self.parse(row) is not None
        except ValueError:
            return True

    def new_stats(self) -> ReadStats:
        """Return empty counts for a file."""
        return ReadStats(self.settings.max_bad)

    def example(self, texts: Sequence[str], context: Sequence[str] = ()) -> Example[None]:
        """Return an example without a target, of texts as they were sent.

        Raises:
            DataError: when there are too few or too many texts.
        """
        return self.examples([texts], [context])[0]

    def examples(self, rows: Sequence[Sequence[str]], contexts: Sequence[Sequence[str]]) -> list[Example[None]]:
        """Return examples of many rows, with a context each; faster than `example` for each."""
        count = 2 if self.pairs else 1
        self.require_texts(rows, count)
        clean = cleaned(self.cleaner, [text for row in rows for text in row])
        examples = []
        for number, (row, context) in enumerate(zip(rows, contexts, strict=True)):
            own = clean[number * count : (number + 1) * count]
            inputs = (in_context(own[0], context), *own[1:])
            examples.append(Example("", inputs, tuple(row), "\n".join(own), None, context=tuple(context)))
        return examples

    @property
    def has_two_classes(self) -> bool:
        """Whether this is a classifier of texts into two classes."""
        return False

    @abstractmethod
    def learn_schema(self, examples: Sequence[Example[TargetT]]) -> Schema:
        """Return the schema of training rows.

        Raises:
            DataError: when nothing can be learned from them, such as a single class.
        """

    def check(self, examples: Sequence[Example[TargetT]], path: str) -> None:
        """Refuse rows that do not fit the schema, such as a test file's.

        Raises:
            DataError: naming the first that does not.
        """

    def strata(self, examples: Sequence[Example[TargetT]]) -> Int64:
        """Return a number [N] for each example; folds have about the same share of each number."""
        return np.zeros(len(examples), dtype=np.int64)

    def unique(self, examples: Sequence[Example[TargetT]]) -> list[Example[TargetT]]:
        """Return examples to train on: of copies of a text the first."""
        return list({(dedup_key(example.cleaned), *example.inputs[1:]): example for example in reversed(examples)}.values())[
            ::-1
        ]

    def describe(self, examples: Sequence[Example[TargetT]]) -> dict[str, int]:
        """Return counts to describe rows by, such as how many there are of each class."""
        return {}

    # Numbers

    def encode(self, tokenizer: Tokenizer, examples: Sequence[Example[Any]]) -> list[Encoded]:
        """Return rows of a model's input; of each example one or more, in order."""
        ids = encode(tokenizer, [example.inputs[0] for example in examples], self.settings.max_length)
        return [Encoded(row, example=number) for number, row in enumerate(ids)]

    @abstractmethod
    def target(self, encoded: Encoded, example: Example[TargetT]) -> Array:
        """Return what the model should output for a row: what `criterion` compares its outputs with."""

    def collate(self, targets: Sequence[Array], length: int) -> Array:
        """Return the targets of a batch as one array; `length` is that of its padded rows."""
        return np.stack(targets)

    @abstractmethod
    def head(self) -> HeadConfig:
        """Return the configuration of the head."""

    @abstractmethod
    def criterion(self, targets: Sequence[Array]) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the loss of a batch: outputs and targets -> a float32 scalar, the mean over the batch.

        Args:
            targets: of all training rows, to weigh rare ones by.
        """

    def hits(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return how many targets of a batch the outputs have right, and how many there are: two scalars, for the log."""
        right = outputs.argmax(-1) == targets.argmax(-1)
        return right.sum(), right.new_ones(right.shape).sum()

    def gather(self, encoded: Sequence[Encoded], outputs: Sequence[Array], count: int) -> Outputs:
        """Return the outputs of `count` examples from those of their rows (one row an example, unless overridden)."""
        return Outputs.of_rows(np.stack(outputs) if len(outputs) else np.zeros((0, self.head().n_outputs)))

    def merge(self, parts: Sequence[Outputs]) -> Outputs:
        """Return the ensemble of several models' outputs for the same examples: their mean."""
        return parts[0].with_values(np.mean([part.values for part in parts], axis=0))

    # Answers

    def fixed_thresholds(self, evaluate: Evaluate) -> list[float]:
        """Return thresholds that the recipe determines; empty where they are chosen on rows, or there are none."""
        return []

    @abstractmethod
    def calibrate(
        self, examples: Sequence[Example[TargetT]], outputs: Outputs, thresholds: Sequence[float] = ()
    ) -> Calibration:
        """Choose a calibration on held-out rows; without rows the neutral one.

        Args:
            thresholds: what `fixed_thresholds` returned.
        """

    @abstractmethod
    def probabilities(self, outputs: Outputs, calibration: Calibration) -> Outputs:
        """Return calibrated outputs: probabilities, or numbers on the scale of the file."""

    @abstractmethod
    def answers(self, examples: Sequence[Example[Any]], probabilities: Outputs, calibration: Calibration) -> list[AnswerT]:
        """Return the answer to each example."""

    @abstractmethod
    def score(self, examples: Sequence[Example[TargetT]], probabilities: Outputs, calibration: Calibration) -> dict[str, float]:
        """Return every metric of `metrics` by name."""

    @abstractmethod
    def statistics(self, examples: Sequence[Example[TargetT]], probabilities: Outputs, calibration: Calibration) -> Float64:
        """Return for each example the numbers [N, K] whose sums decide the main metric, for bootstrap intervals."""

    def main_metric(self, totals: Float64) -> Float64:
        """Return the main metric [...] of sums of `statistics` [..., K]; by default the mean, K = (value, 1)."""
        result: Float64 = totals[..., 0] / np.maximum(totals[..., 1], 1e-12)
        return result

    def explained_output(self, probabilities: Outputs) -> int:
        """Return the output that explanations of a single example are about: by default the largest."""
        return int(probabilities.values[0].argmax())

    def confident_errors(self, examples: Sequence[Example[TargetT]], probabilities: Outputs) -> list[tuple[int, int]]:
        """Return wrong answers, the most confident first, as (example, output that was wrong); kinds without it none."""
        return []

    def key_of(self, answer: AnswerT) -> str:
        """Return an answer without its probabilities, as a key to compare answers by."""
        return str(self.flat(answer)["label"])

    @abstractmethod
    def flat(self, answer: AnswerT) -> dict[str, str | float]:
        """Return an answer as columns of a table."""

    def tables(self, examples: Sequence[Example[TargetT]], probabilities: Outputs, calibration: Calibration) -> list[Table]:
        """Return more tables for the report, such as a row a label."""
        return []

    # Baselines

    @abstractmethod
    def naive(self, training: Sequence[Example[TargetT]], examples: Sequence[Example[Any]]) -> Outputs:
        """Return the outputs of the simplest baseline (`naive_name`)."""

    def fit_tfidf(self, training: Sequence[Example[TargetT]]) -> Tfidf:
        """Fit the TF-IDF baseline; only where `tfidf_name` is set."""
        raise NotImplementedError(self.kind)

    def tfidf_outputs(self, model: Tfidf, examples: Sequence[Example[Any]]) -> Outputs:
        """Return the outputs of the TF-IDF baseline, which `merge` can average with an encoder's."""
        return Outputs.of_rows(model.scores([example.inputs[0] for example in examples]))

    # Shared by the kinds

    def rows(
        self,
        path: str,
        where: dict[str, str],
        columns: Sequence[str],
        stats: ReadStats,
        written: TextFormat | None = None,
        also: Sequence[str] = (),
    ) -> Iterator[tuple[Place, str, dict[str, str]]]:
        """Yield place, id and values of each row of a table.

        Without an id, a row is called by its number in the file; where there are several files, with the file's name before it.

        Args:
            columns: must be there.
            stats: what is counted in.
            written: how the file is written; by default as the settings say.
            also: columns that are read if they are there.

        Raises:
            DataError: when a column is missing, or no row can be read.
        """
        source = self.source(path, columns[0], where, written)
        several = not path.lower().startswith(("http://", "https://")) and len(resolve(path)) > 1
        for place, row in read_rows(source, stats, list(columns), [self.settings.id, *also]):
            number = f"{PurePath(place.path).name}:{place.row}" if several else str(place.row)
            yield place, row.get(self.settings.id) or number, row

    def source(self, path: str, text: str, where: dict[str, str], written: TextFormat | None = None) -> Source:
        """Return a file as readers take it; `written` says how it is written, by default the settings do."""
        keys = {name: getattr(written or self.settings, name) for name in TextFormat.model_fields}
        return Source(path=path, text=text, where=where, **keys)

    def first_row(self, path: str, where: dict[str, str], columns: Sequence[str], also: Sequence[str] = ()) -> dict[str, str]:
        """Return the first row of a table, to find out early that a column is missing; arguments as of `rows`."""
        stats = ReadStats(self.settings.max_bad, quiet=True)
        return next((row for _, _, row in self.rows(path, where, columns, stats, also=also)), {})

    def require_texts(self, rows: Sequence[Sequence[str]], count: int) -> None:
        """Refuse rows with another number of texts.

        Raises:
            DataError: saying how many are needed.
        """
        for row in rows:
            if len(row) != count:
                raise DataError(f"a {self.kind} model needs {count} text{'s' if count > 1 else ''} an example, not {len(row)}.")
