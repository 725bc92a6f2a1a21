"""Answering: the span of a text that answers a question, or none (Devlin et al. 2019, sections 4.2 and 4.3).

Question and text stand in one row; a text that is too long is read in windows. The model gives every token a logit for being
the answer's first and its last; the first token of the row stands for "no answer here".
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import orjson
from tokenizers import Tokenizer

from bongsu.arrays import Array, Float64, Int64
from bongsu.corpus.readers import Place, ReadStats, whole_texts
from bongsu.errors import DataError
from bongsu.evaluation.temperature import minimize_temperature
from bongsu.files import redacted
from bongsu.recipe import Answering, Source, TextFormat
from bongsu.tasks.task import Calibration, Example, Metric, Outputs, Schema, Task
from bongsu.tokens.inputs import Encoded, encode_windows

if TYPE_CHECKING:
    from torch import Tensor

    from bongsu.model.heads import TokenConfig

GoldAnswer = tuple[str, int]
"""An accepted answer and where it starts in the text, in characters."""

_BEST = 20  # starts and ends of a window that are combined, and spans of an example that are kept
_NOWHERE = -1e4  # the score of a span that cannot be
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_HANGUL = re.compile(r"[가-힣]")
_SENTENCE = re.compile(r"[^.!?。]+[.!?。]?")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class SpanAnswer:
    """The answer to a question."""

    text: str
    """As it stands in the text; empty when the text does not answer the question."""
    start: int
    """In characters; 0 without an answer."""
    end: int
    probability: float
    """Of this answer among the spans that were considered and "no answer"."""


class AnsweringTask(Task[Answering, list[GoldAnswer], SpanAnswer]):
    """Targets are the accepted answers, none when there is none; outputs are spans [spans, 4] an example.

    The columns of outputs are start and end in characters, the span's score, and the score of "no answer".
    """

    kind = "answering"
    pairs = True
    answer_type = SpanAnswer
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("f1", "F1"), Metric("exact_match", "Exact match"))
    naive_name = "sliding window of overlap"

    # Rows

    @property
    def columns(self) -> list[str]:
        return ["question", "context"]

    def read(
        self, path: str, where: dict[str, str], leave_out: str | None = None, stats: ReadStats | None = None
    ) -> list[Example[list[GoldAnswer]]]:
        stats = stats or self.new_stats()
        if where or leave_out not in (None, "title"):
            raise DataError(
                f"{redacted(path)}: SQuAD files have no columns to choose rows by; validation.leave_out may be title."
            )
        examples = []
        for row in _read_squad(self.source(path, "question", {}), stats):
            question, context = row.question, row.context
            if bad := [(text, start) for text, start in row.answers if context[start : start + len(text)] != text]:
                text, start = bad[0]
                what = f": question {row.id}: the answer {text[:40]!r} does not stand at character {start}"
                stats.skip(row.place, "an answer out of place", what)
                continue
            group = row.title if leave_out == "title" else ""
            near = f"{context}\n{question}"  # questions about one paragraph belong in one fold
            examples.append(Example(row.id, (question, context), (question, context), near, row.answers, group))
        if not examples:
            raise DataError(f"{redacted(path)}: it holds no question that can be used{stats.summary()}.")
        stats.report(redacted(path))
        return examples

    def read_unlabelled(
        self,
        path: str,
        where: dict[str, str] | None = None,
        stats: ReadStats | None = None,
        written: TextFormat | None = None,
        only_unlabelled: bool = False,
    ) -> list[Example[None]]:
        if only_unlabelled or where:
            raise DataError(f"{redacted(path)}: SQuAD files have no columns to choose rows by.")
        source = self.source(path, "question", {}, written or TextFormat())
        return [
            Example(row.id, (row.question, row.context), (row.question, row.context), row.question, None)
            for row in _read_squad(source, stats or self.new_stats())
        ]

    def examples(self, rows: Sequence[Sequence[str]], contexts: Sequence[Sequence[str]]) -> list[Example[None]]:
        """Return examples of a question and a text each; answers are places in the text, so nothing is cleaned."""
        self.require_texts(rows, 2)
        return [Example("", tuple(row), tuple(row), row[0], None) for row in rows]

    def learn_schema(self, examples: Sequence[Example[list[GoldAnswer]]]) -> Schema:
        if not any(example.target for example in examples):
            raise DataError(f"{self.settings.train}: no question has an answer.")
        return Schema(["start", "end"])

    def first_row(self, path: str, where: dict[str, str], columns: Sequence[str], also: Sequence[str] = ()) -> dict[str, str]:
        source = self.source(path, "question", {})
        next(_read_squad(source, ReadStats(self.settings.max_bad, quiet=True)), None)
        return {}

    def strata(self, examples: Sequence[Example[list[GoldAnswer]]]) -> Int64:
        """Return 1 for questions with an answer and 0 for those without."""
        return np.array([bool(example.target) for example in examples], dtype=np.int64)

    def describe(self, examples: Sequence[Example[list[GoldAnswer]]]) -> dict[str, int]:
        answered = sum(bool(example.target) for example in examples)
        return {"with an answer": answered, "without": len(examples) - answered}

    # Numbers

    def encode(self, tokenizer: Tokenizer, examples: Sequence[Example[Any]]) -> list[Encoded]:
        settings = self.settings
        return [
            row._replace(example=number)
            for number, example in enumerate(examples)
            for row in encode_windows(tokenizer, example.inputs[0], example.inputs[1], settings.max_length, settings.stride)
        ]

    def target(self, encoded: Encoded, example: Example[list[GoldAnswer]]) -> Array:
        """Return the first and the last token of the answer, (0, 0) without one in this window, and the length: [3] int64."""
        length = len(encoded.ids)
        if example.target and encoded.offsets is not None:
            text, start = example.target[0]
            end = start + len(text)
            offsets = encoded.offsets
            first = np.flatnonzero((offsets[:, 0] <= start) & (start < offsets[:, 1]))
            last = np.flatnonzero((offsets[:, 0] < end) & (end <= offsets[:, 1]))
            if len(first) and len(last) and first[0] <= last[0]:
                return np.array([first[0], last[0], length], dtype=np.int64)
        return np.array([0, 0, length], dtype=np.int64)

    def head(self) -> TokenConfig:
        from bongsu.model.heads import TokenConfig

        return TokenConfig(2, self.settings.dropout)

    def criterion(self, targets: Sequence[Array]) -> Callable[[Tensor, Tensor], Tensor]:
        import torch
        from torch.nn import functional as F

        def loss(outputs: Tensor, wanted: Tensor) -> Tensor:
            padding = torch.arange(outputs.shape[1], device=outputs.device) >= wanted[:, 2:]  # [B, L]
            logits = outputs.masked_fill(padding[..., None], _NOWHERE)
            return (F.cross_entropy(logits[..., 0], wanted[:, 0]) + F.cross_entropy(logits[..., 1], wanted[:, 1])) / 2

        return loss

    def hits(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        right = outputs.argmax(dim=1) == targets[:, :2]
        return right.sum(), right.new_tensor(right.numel()).long()

    def gather(self, encoded: Sequence[Encoded], outputs: Sequence[Array], count: int) -> Outputs:
        """Return the best spans of each example over its windows, with their scores and that of "no answer"."""
        spans: list[list[tuple[int, int, float]]] = [[] for _ in range(count)]
        nothing = np.full(count, np.inf)
        for row, output in zip(encoded, outputs, strict=True):
            spans[row.example] += self._spans(row, output)
            nothing[row.example] = min(nothing[row.example], float(output[0].sum()))
        tables = []
        for found, none in zip(spans, nothing.tolist(), strict=True):
            best = sorted(set(found), key=lambda span: -span[2])[:_BEST] or [(0, 0, _NOWHERE)]
            tables.append(np.array([(*span, none) for span in best]))
        return Outputs.of_tables(tables, 4)

    def merge(self, parts: Sequence[Outputs]) -> Outputs:
        """Return the first model's spans: those of two models are not the same."""
        return parts[0]

    # Answers

    def calibrate(
        self, examples: Sequence[Example[list[GoldAnswer]]], outputs: Outputs, thresholds: Sequence[float] = ()
    ) -> Calibration:
        """Choose the temperature of least loss, and the margin of "no answer" with the best F1."""
        if not examples:
            return Calibration()
        tables = outputs.tables()
        right = [self._right(example, table) for example, table in zip(examples, tables, strict=True)]

        def loss(value: float) -> float:
            shares = (_shares(table, value)[which].sum() for table, which in zip(tables, right, strict=True))
            return float(-np.mean([np.log(max(share, 1e-6)) for share in shares]))

        best = [self._text(example, table[0]) for example, table in zip(examples, tables, strict=True)]
        found = np.array([token_f1(text, example.target) for text, example in zip(best, examples, strict=True)])
        empty = np.array([float(not example.target) for example in examples])
        leads = np.array([table[0, 3] - table[0, 2] for table in tables])
        order = np.argsort(leads, kind="stable")
        # With the n smallest leads answered and the others left empty:
        totals = np.concatenate([[0.0], np.cumsum(found[order])]) + np.concatenate([np.cumsum(empty[order][::-1])[::-1], [0.0]])
        answered = int(totals.argmax())
        edges = np.concatenate([[leads.min() - 1.0], leads[order], [leads.max() + 1.0]])
        return Calibration(minimize_temperature(loss), [float((edges[answered] + edges[answered + 1]) / 2)])

    def probabilities(self, outputs: Outputs, calibration: Calibration) -> Outputs:
        """Return spans with their probability in place of the score, and in the last column that of "no answer".

        "No answer" is raised or lowered by the threshold first, so that the largest probability is the answer.
        """
        lead = calibration.thresholds[0] if calibration.thresholds else 0.0
        tables = []
        for table in outputs.tables():
            moved = table.astype(np.float64)
            moved[:, 3] -= lead
            shares = _shares(moved, calibration.temperature)
            tables.append(np.column_stack([moved[:, :2], shares[:-1], np.full(len(moved), shares[-1])]))
        return Outputs.of_tables(tables, 4)

    def answers(self, examples: Sequence[Example[Any]], probabilities: Outputs, calibration: Calibration) -> list[SpanAnswer]:
        answers = []
        for example, table in zip(examples, probabilities.tables(), strict=True):
            start, end, share, none = table[0].tolist()
            if none > share:
                answers.append(SpanAnswer("", 0, 0, none))
            else:
                answers.append(SpanAnswer(self._text(example, table[0]), int(start), int(end), share))
        return answers

    def score(
        self, examples: Sequence[Example[list[GoldAnswer]]], probabilities: Outputs, calibration: Calibration
    ) -> dict[str, float]:
        answers = [answer.text for answer in self.answers(examples, probabilities, calibration)]
        pairs = list(zip(answers, examples, strict=True))
        return {
            "f1": float(np.mean([token_f1(text, example.target) for text, example in pairs])),
            "exact_match": float(np.mean([exact_match(text, example.target) for text, example in pairs])),
        }

    def statistics(
        self, examples: Sequence[Example[list[GoldAnswer]]], probabilities: Outputs, calibration: Calibration
    ) -> Float64:
        answers = self.answers(examples, probabilities, calibration)
        f1 = [token_f1(answer.text, example.target) for answer, example in zip(answers, examples, strict=True)]
        return np.stack([np.array(f1), np.ones(len(f1))], axis=1)

    def key_of(self, answer: SpanAnswer) -> str:
        return answer.text

    def flat(self, answer: SpanAnswer) -> dict[str, str | float]:
        return {"answer": answer.text, "start": answer.start, "end": answer.end, "probability": answer.probability}

    # Baselines

    def naive(self, training: Sequence[Example[list[GoldAnswer]]], examples: Sequence[Example[Any]]) -> Outputs:
        """Return the words next to those of the question, in the sentence that shares most with it (Rajpurkar 2016, 5.1)."""
        return Outputs.of_tables([np.array([(*sliding_window(*example.inputs), 1.0, 0.0)]) for example in examples], 4)

    def _spans(self, row: Encoded, output: Array) -> list[tuple[int, int, float]]:
        """Return the best spans of a window, in characters, with the sums of their logits."""
        assert row.offsets is not None
        inside = np.flatnonzero(row.offsets[:, 0] >= 0)
        if not len(inside):
            return []
        starts, ends = (inside[np.argsort(-output[inside, side], kind="stable")[:_BEST]] for side in (0, 1))
        return [
            (int(row.offsets[first, 0]), int(row.offsets[last, 1]), float(output[first, 0] + output[last, 1]))
            for first in starts.tolist()
            for last in ends.tolist()
            if first <= last < first + self.settings.max_answer and row.offsets[first, 0] < row.offsets[last, 1]
        ]

    def _text(self, example: Example[Any], span: Array) -> str:
        """Return a span's text; byte-level tokens may begin with a blank."""
        return str(example.inputs[1][int(span[0]) : int(span[1])].strip())

    def _right(self, example: Example[list[GoldAnswer]], table: Array) -> Int64:
        """Return which rows of `_shares` are right: spans that match an accepted answer, or the last, "no answer"."""
        if not example.target:
            return np.array([len(table)], dtype=np.int64)
        rows = [number for number, span in enumerate(table) if exact_match(self._text(example, span), example.target)]
        return np.array(rows, dtype=np.int64)


def _shares(table: Array, temperature: float) -> Float64:
    """Return the probability of each span of a table [K, 4], and last that of "no answer", [K + 1]."""
    logits = np.append(table[:, 2], table[0, 3]).astype(np.float64) / temperature
    raised = np.exp(logits - logits.max())
    result: Float64 = raised / raised.sum()
    return result


def normalize_answer(text: str) -> str:
    """Return an answer as SQuAD compares it: lower case, without punctuation, articles and more blanks than needed."""
    kept = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(_ARTICLES.sub(" ", kept).split())


def exact_match(text: str, accepted: Sequence[GoldAnswer]) -> float:
    """Return 1 when the text is one of the accepted answers, or empty where there is none; else 0."""
    if not accepted:
        return float(not text)
    return float(any(normalize_answer(text) == normalize_answer(answer) for answer, _ in accepted))


def token_f1(text: str, accepted: Sequence[GoldAnswer]) -> float:
    """Return the best F1 of common words with an accepted answer; of Korean ones of common characters, as KorQuAD does."""
    if not accepted:
        return float(not text)
    best = 0.0
    for answer, _ in accepted:
        one, other = normalize_answer(text), normalize_answer(answer)
        parts = [list(each.replace(" ", "")) if _HANGUL.search(other) else each.split() for each in (one, other)]
        common = sum((Counter(parts[0]) & Counter(parts[1])).values())
        if common:
            best = max(best, 2.0 * common / (len(parts[0]) + len(parts[1])))
        elif not parts[0] and not parts[1]:
            best = 1.0
    return best


def sliding_window(question: str, text: str) -> tuple[int, int]:
    """Return where the baseline's answer starts and ends: in the sentence with most words of the question, the run of up to
    four other words that is nearest to them."""
    asked = {word.lower() for word in _WORD.findall(question)}
    sentences = [match.span() for match in _SENTENCE.finditer(text)] or [(0, len(text))]
    shared = [len({word.lower() for word in _WORD.findall(text[start:end])} & asked) for start, end in sentences]
    start, end = sentences[int(np.argmax(shared))]
    words = [(match.start() + start, match.end() + start) for match in _WORD.finditer(text[start:end])]
    common = np.array([text[first:last].lower() in asked for first, last in words])
    if not len(words) or common.all():
        return start, end
    places = np.flatnonzero(common)
    best, nearest = 0, np.inf
    for word in np.flatnonzero(~common).tolist():
        distance = float(np.abs(places - word).mean()) if len(places) else 0.0
        if distance < nearest:
            best, nearest = word, distance
    last = best
    while last + 1 < len(words) and last - best < 3 and not common[last + 1]:
        last += 1
    return words[best][0], words[last][1]


class _Question(NamedTuple):
    """A question of a SQuAD file."""

    place: Place
    id: str
    question: str
    context: str
    title: str
    """Of the article."""
    answers: list[GoldAnswer]
    """Those that are accepted; empty where the text does not answer the question."""


def _read_squad(source: Source, stats: ReadStats) -> Iterator[_Question]:
    """Yield the questions of SQuAD files, and count them as rows."""
    for shown, content in whole_texts(source, stats):
        row = 0
        try:
            for article in orjson.loads(content)["data"]:
                title = str(article.get("title", ""))
                for paragraph in article["paragraphs"]:
                    for question in paragraph["qas"]:
                        answers = [] if question.get("is_impossible") else question.get("answers", [])
                        accepted = [(str(answer["text"]), int(answer["answer_start"])) for answer in answers]
                        row, stats.rows = row + 1, stats.rows + 1
                        yield _Question(
                            place=Place(shown, row, row - 1),
                            id=str(question["id"]),
                            question=str(question["question"]),
                            context=str(paragraph["context"]),
                            title=title,
                            answers=list(dict.fromkeys(accepted)),
                        )
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{shown}: not a file in the format of SQuAD ({type(error).__name__}: {error}).") from None
