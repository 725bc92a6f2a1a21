"""Tagging: spans of a text with their types, such as named entities, by a linear layer on every token (BIO tags).

A text is a row of units, words or characters. A unit takes the tag of the token that covers its first character: of a word
cut into pieces that is the first piece (Devlin et al. 2019, section 5.3).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import orjson
from tokenizers import Tokenizer

from bongsu.arrays import Array, Float64, Int64
from bongsu.corpus.readers import Place, ReadStats, lines_of
from bongsu.corpus.streams import inner_suffix
from bongsu.errors import DataError
from bongsu.evaluation.temperature import fit_temperature, softmax
from bongsu.files import redacted
from bongsu.recipe import Source, Tagging, TextFormat
from bongsu.tasks.task import Calibration, Example, Metric, Outputs, Schema, Table, Task, label_of
from bongsu.tokens.inputs import Encoded, encode_one
from bongsu.tokens.special import UNK_ID

if TYPE_CHECKING:
    from torch import Tensor

    from bongsu.model.heads import TokenConfig

SpanTuple = tuple[int, int, str]
"""Start, end and type of a span, in characters of the text."""

IGNORE = -100  # the target of a token that no unit begins in
_CONLL = (".conll", ".bio", ".iob", ".txt", ".tsv")
_WORD = re.compile(r"\w+|[^\w\s]")
_CHARACTER = re.compile(r"\S")
_CERTAIN = 30.0  # the logit of O for units past the tokens that are read, and of a baseline's tag
_INSIDE_WORDS = 0.02  # more spans than this that end inside a word: tags go to characters


@dataclass(frozen=True, slots=True)
class Span:
    """A span of a text."""

    start: int
    end: int
    """In characters; `end` is the first after it."""
    text: str
    type: str
    probability: float
    """The least of its units'."""


class TaggingTask(Task[Tagging, list[SpanTuple], list[Span]]):
    """Targets are spans; outputs are logits [units, tags] an example, tags being O, then B and I of each type."""

    kind = "tagging"
    answer_type = list[Span]
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("f1", "Entity F1"),
        Metric("precision", "Precision"),
        Metric("recall", "Recall"),
        Metric("partial_f1", "Partial F1"),
    )
    naive_name = "most frequent tag of a word"

    # Rows

    @staticmethod
    def named_columns(settings: Tagging) -> tuple[list[str], list[str], list[str]]:
        return [settings.text], [settings.spans], []

    def parse(self, row: dict[str, str]) -> list[SpanTuple] | None:
        cell = row[self.settings.spans].strip()
        if cell and label_of(cell) is None:
            return None
        try:
            spans = [_span(each) for each in orjson.loads(cell or "[]")]
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the spans in {self.settings.spans!r} cannot be read ({error})") from None
        if bad := [span for span in spans if not 0 <= span[0] < span[1] <= len(row[self.settings.text])]:
            raise ValueError(f"span {bad[0]} is outside of the text")
        return sorted(spans)

    def read(
        self, path: str, where: dict[str, str], leave_out: str | None = None, stats: ReadStats | None = None
    ) -> list[Example[list[SpanTuple]]]:
        if not _is_conll(path):
            return super().read(path, where, leave_out, stats)
        _refuse_choice(path, where, leave_out)
        return [
            Example(name, (text,), (text,), text, sorted(spans))
            for name, text, spans in self._conll(path, stats or self.new_stats(), None)
        ]

    def read_unlabelled(
        self,
        path: str,
        where: dict[str, str] | None = None,
        stats: ReadStats | None = None,
        written: TextFormat | None = None,
        only_unlabelled: bool = False,
    ) -> list[Example[None]]:
        if not inner_suffix(path).endswith(_CONLL[:3]):  # a .txt or .tsv file that is to be predicted holds texts
            return super().read_unlabelled(path, where, stats, written, only_unlabelled)
        _refuse_choice(path, where, only_unlabelled)
        rows = self._conll(path, stats or self.new_stats(), written or TextFormat())
        return [Example(name, (text,), (text,), text, None) for name, text, _ in rows]

    def examples(self, rows: Sequence[Sequence[str]], contexts: Sequence[Sequence[str]]) -> list[Example[None]]:
        """Return examples of texts as they were sent: spans are places in them, so nothing is cleaned."""
        self.require_texts(rows, 1)
        return [Example("", tuple(row), tuple(row), row[0], None) for row in rows]

    def learn_schema(self, examples: Sequence[Example[list[SpanTuple]]]) -> Schema:
        types = sorted({span[2] for example in examples for span in example.target})
        if not types:
            raise DataError(f"{self.settings.train}: no text has a span.")
        unit = self.settings.unit if self.settings.unit != "auto" else self._best_unit(examples)
        return Schema(["O", *(f"{prefix}-{kind}" for kind in types for prefix in "BI")], unit=unit)

    def first_row(self, path: str, where: dict[str, str], columns: Sequence[str], also: Sequence[str] = ()) -> dict[str, str]:
        if not _is_conll(path):
            return super().first_row(path, where, columns, also)
        next(iter(self._conll(path, ReadStats(self.settings.max_bad, quiet=True), None)))
        return {}

    def strata(self, examples: Sequence[Example[list[SpanTuple]]]) -> Int64:
        """Return 1 for texts with a span and 0 for those without."""
        return np.array([bool(example.target) for example in examples], dtype=np.int64)

    def describe(self, examples: Sequence[Example[list[SpanTuple]]]) -> dict[str, int]:
        return dict(Counter(span[2] for example in examples for span in example.target).most_common())

    # Numbers

    def encode(self, tokenizer: Tokenizer, examples: Sequence[Example[Any]]) -> list[Encoded]:
        rows = []
        for number, example in enumerate(examples):
            encoding = encode_one(tokenizer, example.inputs[0], self.settings.max_length)
            ids = np.array(encoding.ids or [UNK_ID], dtype=np.int64)
            offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
            starts = [start for start, _ in self.units(example.inputs[0])]
            rows.append(Encoded(ids, unit_tokens=_covering(offsets, starts), example=number))
        return rows

    def target(self, encoded: Encoded, example: Example[list[SpanTuple]]) -> Array:
        """Return the tag of each token, [L] int64, that of the first unit it covers; `IGNORE` where it covers none."""
        tags, token = self._tags(example), encoded.unit_tokens
        assert token is not None
        target = np.full(len(encoded.ids), IGNORE, dtype=np.int64)
        for unit in np.flatnonzero(token >= 0)[::-1].tolist():  # the first unit of a token is written last
            target[token[unit]] = tags[unit]
        return target

    def collate(self, targets: Sequence[Array], length: int) -> Array:
        table = np.full((len(targets), length), IGNORE, dtype=np.int64)
        for row, target in enumerate(targets):
            table[row, : len(target)] = target
        return table

    def head(self) -> TokenConfig:
        from bongsu.model.heads import TokenConfig

        return TokenConfig(len(self.schema.labels), self.settings.dropout)

    def criterion(self, targets: Sequence[Array]) -> Callable[[Tensor, Tensor], Tensor]:
        from torch.nn import functional as F

        def loss(outputs: Tensor, wanted: Tensor) -> Tensor:
            counted = (wanted != IGNORE).sum().clamp(min=1)
            summed = F.cross_entropy(outputs.flatten(0, 1), wanted.flatten(), ignore_index=IGNORE, reduction="sum")
            return summed / counted

        return loss

    def hits(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        counted = targets != IGNORE
        return ((outputs.argmax(-1) == targets) & counted).sum(), counted.sum()

    def gather(self, encoded: Sequence[Encoded], outputs: Sequence[Array], count: int) -> Outputs:
        """Return for each unit the logits of its token; of units past the tokens that were read, O for certain."""
        tables = []
        for row, output in zip(encoded, outputs, strict=True):
            token = row.unit_tokens
            assert token is not None
            table = np.where(np.arange(output.shape[1]) == 0, _CERTAIN, -_CERTAIN)[None].repeat(len(token), axis=0)
            read = token >= 0
            table[read] = output[token[read]]
            # Of units in one token the first may begin a span; the others can only be inside of it.
            inner = np.flatnonzero(read[1:] & (token[1:] == token[:-1])) + 1
            begin, inside = table[inner, 1::2], table[inner, 2::2]
            table[inner, 2::2], table[inner, 1::2] = np.maximum(begin, inside), -_CERTAIN
            tables.append(table)
        return Outputs.of_tables(tables, len(self.schema.labels))

    # Answers

    def calibrate(
        self, examples: Sequence[Example[list[SpanTuple]]], outputs: Outputs, thresholds: Sequence[float] = ()
    ) -> Calibration:
        tags = [tag for example in examples for tag in self._tags(example)]
        return Calibration(fit_temperature(np.array(tags, dtype=np.int64), outputs.values))

    def probabilities(self, outputs: Outputs, calibration: Calibration) -> Outputs:
        if not len(outputs.values):
            return outputs
        return outputs.with_values(softmax(outputs.values.astype(np.float64) / calibration.temperature))

    def answers(self, examples: Sequence[Example[Any]], probabilities: Outputs, calibration: Calibration) -> list[list[Span]]:
        return [self._spans(example, table) for example, table in zip(examples, probabilities.tables(), strict=True)]

    def score(
        self, examples: Sequence[Example[list[SpanTuple]]], probabilities: Outputs, calibration: Calibration
    ) -> dict[str, float]:
        hits, partial, answered, wanted = self.statistics(examples, probabilities, calibration).sum(axis=0).tolist()
        return {
            "f1": 2.0 * hits / max(1.0, answered + wanted),
            "precision": hits / max(1.0, answered),
            "recall": hits / max(1.0, wanted),
            "partial_f1": 2.0 * (hits + 0.5 * partial) / max(1.0, answered + wanted),
        }

    def statistics(
        self, examples: Sequence[Example[list[SpanTuple]]], probabilities: Outputs, calibration: Calibration
    ) -> Float64:
        """Return exact hits, overlaps that are not exact, answered spans and wanted spans of each example, [N, 4].

        An exact hit has the type too; an overlap counts whatever the type, as `partial` does in SemEval-2013 task 9.
        """
        counts = []
        for example, answers in zip(examples, self.answers(examples, probabilities, calibration), strict=True):
            wanted = {(start, end, kind) for start, end, kind in example.target}
            answered = {(span.start, span.end, span.type) for span in answers}
            exact = wanted & answered
            overlaps = count_overlaps(sorted(wanted - exact), sorted(answered - exact))
            counts.append([len(exact), overlaps, len(answered), len(wanted)])
        return np.array(counts, dtype=np.float64).reshape(-1, 4)

    def main_metric(self, totals: Float64) -> Float64:
        """Return the F1 of exact hits."""
        result: Float64 = 2.0 * totals[..., 0] / np.maximum(totals[..., 2] + totals[..., 3], 1e-12)
        return result

    def tables(
        self, examples: Sequence[Example[list[SpanTuple]]], probabilities: Outputs, calibration: Calibration
    ) -> list[Table]:
        hits, answered, wanted = Counter[str](), Counter[str](), Counter[str]()
        for example, answers in zip(examples, self.answers(examples, probabilities, calibration), strict=True):
            truth = {(start, end, kind) for start, end, kind in example.target}
            wanted.update(kind for _, _, kind in truth)
            answered.update(span.type for span in answers)
            hits.update(span.type for span in answers if (span.start, span.end, span.type) in truth)
        rows: list[list[str | float]] = [
            [kind, count, hits[kind] / max(1, answered[kind]), hits[kind] / count, 2 * hits[kind] / (answered[kind] + count)]
            for kind, count in wanted.most_common()
        ]
        return [Table("Types", ["type", "spans", "precision", "recall", "F1"], rows)]

    def key_of(self, answer: list[Span]) -> str:
        return str([(span.start, span.end, span.type) for span in answer])

    def flat(self, answer: list[Span]) -> dict[str, str | float]:
        return {"spans": orjson.dumps(answer).decode()}

    # Baselines

    def naive(self, training: Sequence[Example[list[SpanTuple]]], examples: Sequence[Example[Any]]) -> Outputs:
        """Return for each unit the tag it has most often in the training rows; O for units that are new."""
        counts: dict[tuple[str, int], Counter[int]] = defaultdict(Counter)
        for example in training:
            for name, tag in zip(self._unit_names(example), self._tags(example), strict=True):
                counts[name][tag] += 1
        best = {name: tags.most_common(1)[0][0] for name, tags in counts.items()}
        n_tags = len(self.schema.labels)
        tables = []
        for example in examples:
            tags = [best.get(name, 0) for name in self._unit_names(example)]
            tables.append(np.where(np.arange(n_tags) == np.array(tags, dtype=np.int64)[:, None], _CERTAIN, -_CERTAIN))
        return Outputs.of_tables(tables, n_tags)

    # Units and spans

    def units(self, text: str) -> list[tuple[int, int]]:
        """Return where each unit of a text begins and ends, in characters."""
        pattern = _CHARACTER if self.schema.unit == "character" else _WORD
        return [match.span() for match in pattern.finditer(text)]

    def _best_unit(self, examples: Sequence[Example[list[SpanTuple]]]) -> str:
        spans = inside = 0
        for example in examples:
            words = [match.span() for match in _WORD.finditer(example.inputs[0])]
            starts, ends = {start for start, _ in words}, {end for _, end in words}
            spans += len(example.target)
            inside += sum(start not in starts or end not in ends for start, end, _ in example.target)
        return "character" if inside > _INSIDE_WORDS * max(1, spans) else "word"

    def _tags(self, example: Example[list[SpanTuple]]) -> list[int]:
        """Return the tag of each unit, an index into the schema's labels; a unit is in a span when its start is."""
        index = {label: number for number, label in enumerate(self.schema.labels)}
        units = self.units(example.inputs[0])
        tags = [0] * len(units)
        starts = np.array([start for start, _ in units])
        for start, end, kind in example.target:
            inside = np.flatnonzero((starts >= start) & (starts < end)).tolist()
            for place, unit in enumerate(inside):
                tags[unit] = index.get(f"{'I' if place else 'B'}-{kind}", 0)
        return tags

    def _unit_names(self, example: Example[Any]) -> list[tuple[str, int]]:
        """Return a key of each unit: its word in lower case, and which character of it the unit is."""
        text = example.inputs[0]
        if self.schema.unit == "word":
            return [(text[start:end].lower(), 0) for start, end in self.units(text)]
        return [
            (word[0].lower(), place) for word in re.finditer(r"\S+", text) for place in range(len(_CHARACTER.findall(word[0])))
        ]

    def _spans(self, example: Example[Any], table: Array) -> list[Span]:
        """Decode spans from the most probable tags; an I without a B before it begins a span."""
        text, labels = example.inputs[0], self.schema.labels
        best = table.argmax(axis=1).tolist() if len(table) else []
        spans: list[Span] = []
        before = "O"
        for (start, end), tag, row in zip(self.units(text), best, table, strict=True):
            label = labels[tag]
            kind = label[2:]
            if label == "O":
                before = "O"
                continue
            probability = float(row[tag])
            if label[0] == "I" and before == kind:
                last = spans.pop()
                spans.append(Span(last.start, end, text[last.start : end], kind, min(last.probability, probability)))
            else:
                spans.append(Span(start, end, text[start:end], kind, probability))
            before = kind
        return spans

    def _conll(self, path: str, stats: ReadStats, written: TextFormat | None) -> Iterator[tuple[str, str, list[SpanTuple]]]:
        """Yield id, text and spans of each text of a CoNLL file that can be read; print how many cannot.

        Raises:
            DataError: when there is none.
        """
        found = 0
        for place, tokens, fault in _blocks(self.source(path, "text", {}, written), stats):
            stats.rows += 1
            if fault:
                stats.skip(place, *fault)
                continue
            found += 1
            yield str(place.row), *_joined(tokens)
        if not found:
            raise DataError(f"{redacted(path)}: no labelled text could be read{stats.summary()}.")
        stats.report(redacted(path))


def count_overlaps(wanted: Sequence[SpanTuple], answered: Sequence[SpanTuple]) -> int:
    """Return how many wanted spans overlap an answered one, each answer counted once; both sorted by start."""
    used: set[int] = set()
    for start, end, _ in wanted:
        for number, (other_start, other_end, _) in enumerate(answered):
            if number not in used and start < other_end and other_start < end:
                used.add(number)
                break
    return len(used)


def _covering(offsets: Int64, starts: Sequence[int]) -> Int64:
    """Return for each unit the token whose offsets [L, 2] cover the unit's start, [units] int64; -1 where none does.

    A byte-level token may begin with the blank before its word; of several pieces of one character the first counts.
    """
    tokens = np.full(len(starts), -1, dtype=np.int64)
    for unit, start in enumerate(starts):
        found = np.flatnonzero((offsets[:, 0] <= start) & (start < offsets[:, 1]))
        if len(found):
            tokens[unit] = found[0]
    return tokens


def _span(value: Any) -> SpanTuple:
    if isinstance(value, dict):
        return int(value["start"]), int(value["end"]), str(value.get("label") or value["type"])
    start, end, kind = value[:3]
    return int(start), int(end), str(kind)


def _refuse_choice(path: str, *by: object) -> None:
    """Raise DataError when rows of a CoNLL file are to be chosen by something."""
    if any(by):
        raise DataError(f"{redacted(path)}: CoNLL files have no columns to choose rows by; use JSON Lines.")


def _is_conll(path: str) -> bool:
    return inner_suffix(path) in _CONLL


def _blocks(source: Source, stats: ReadStats) -> Iterator[tuple[Place, list[tuple[str, str]], tuple[str, str] | None]]:
    """Yield place, tokens with their tags, and what is wrong, of each block of lines of CoNLL files.

    The first column is the token, the last its tag.
    """
    tokens: list[tuple[str, str]] = []
    fault: tuple[str, str] | None = None
    first = row = 0
    file = ""
    for shown, line in lines_of(source, stats):
        ended = shown != file or (line.fault is None and not line.text.strip())
        if ended and first:
            yield Place(file, first, row), tokens, fault
            tokens, fault, first, row = [], None, 0, row + 1
        if shown != file:
            file, row = shown, 0
        if line.text.startswith(("## ", "-DOCSTART-")) or (line.fault is None and not line.text.strip()):
            continue
        first = first or line.number
        cells = line.text.split("\t") if "\t" in line.text else line.text.split()
        if line.fault is not None:
            fault = fault or line.fault
        elif len(cells) < 2:
            what = f": line {line.number} has {line.text[:40]!r}; a token and its tag are needed"
            fault = fault or ("a line without a tag", what)
        else:
            tokens.append((cells[0], cells[-1]))
    if first:
        yield Place(file, first, row), tokens, fault


def _joined(tokens: Sequence[tuple[str, str]]) -> tuple[str, list[SpanTuple]]:
    """Return the text of tokens with their tags, and its spans (BIO, or IOB1, where spans begin with I).

    Tokens are joined by blanks, or not at all where blanks are tokens themselves (character by character, as KLUE's).
    """
    between = "" if any(not token.strip() for token, _ in tokens) else " "
    text = ""
    spans: list[SpanTuple] = []
    before = "O"
    for token, tag in tokens:
        start = len(text) + (len(between) if text else 0)
        text = f"{text}{between}{token}" if text else token
        if tag != "O":
            kind = tag.partition("-")[2]
            if tag[0] == "I" and before == kind:
                spans[-1] = (spans[-1][0], len(text), kind)
            else:
                spans.append((start, len(text), kind))
        before = tag.partition("-")[2] if tag != "O" else "O"
    return text, spans
