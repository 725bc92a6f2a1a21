"""Tagging against nervaluate and by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nervaluate import Evaluator
from tokenizers import Tokenizer

from bongsu.errors import DataError
from bongsu.recipe import Tagging
from bongsu.tasks.tagging import IGNORE, SpanTuple, TaggingTask, count_overlaps
from bongsu.tasks.task import Calibration, Example, Outputs, Schema

TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
NEUTRAL = Calibration()


def task(unit: str = "word", **settings: object) -> TaggingTask:
    return TaggingTask(Tagging(train="x", **settings), Schema(TAGS, unit=unit))  # type: ignore[arg-type]


def example(text: str, spans: list[SpanTuple] | None = None) -> Example[list[SpanTuple]]:
    return Example("", (text,), (text,), text, spans or [])


def certain(made: TaggingTask, examples: list[Example[list[SpanTuple]]], tags: list[list[int]]) -> Outputs:
    """Probabilities of one tag a unit."""
    return Outputs.of_tables([np.eye(len(TAGS))[row].reshape(-1, len(TAGS)) for row in tags], len(TAGS))


def test_conll_files_become_texts_with_spans(tmp_path: Path) -> None:
    file = tmp_path / "train.conll"
    file.write_text("-DOCSTART- O\n\nFire O\nin O\nLa B-LOC\nRonge I-LOC\nLa B-LOC\n\nKim\tB-PER\nran\tO\n")
    first, second = task().read(str(file), {})
    assert first.inputs[0] == "Fire in La Ronge La"
    assert [first.inputs[0][start:end] for start, end, _ in first.target] == ["La Ronge", "La"]
    assert second.target == [(0, 3, "PER")]


def test_characters_and_iob1_are_read(tmp_path: Path) -> None:
    file = tmp_path / "train.tsv"
    file.write_text("## a comment\n서\tI-LOC\n울\tI-LOC\n에\tO\n \tO\n불\tO\n")
    made = TaggingTask(Tagging(train=str(file)))
    [found] = made.read(str(file), {})
    assert (found.inputs[0], found.target) == ("서울에 불", [(0, 2, "LOC")])
    assert made.learn_schema([found]).unit == "character"  # the span ends inside a word
    file.write_text("Fire\n")
    with pytest.raises(DataError, match=r":1: .* a token and its tag are needed"):
        made.read(str(file), {})


def test_spans_of_json_lines_are_read_and_checked(tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    file.write_text(
        '{"id": 7, "text": "Fire in Rome", "spans": [[8, 12, "LOC"]]}\n'
        '{"id": 8, "text": "Kim ran", "spans": [{"start": 0, "end": 3, "label": "PER"}]}\n'
        '{"id": 9, "text": "short", "spans": [[3, 99, "LOC"]]}\n'
    )
    found = task().read(str(file), {})
    assert [(each.id, each.target) for each in found] == [("7", [(8, 12, "LOC")]), ("8", [(0, 3, "PER")])]


def test_a_word_takes_the_tag_of_its_first_piece(tokenizer: Tokenizer) -> None:
    made = task()
    text = "bada gufexyzzy 바다 rimo"
    [row] = made.encode(tokenizer, [example(text)])
    encoding = tokenizer.encode(text)
    assert row.unit_tokens is not None
    for (start, _), token in zip(made.units(text), row.unit_tokens.tolist(), strict=True):
        first, last = encoding.offsets[token]
        assert first <= start < last
    target = made.target(row, example(text, [(5, 14, "LOC")]))
    assert target[row.unit_tokens[1]] == TAGS.index("B-LOC")
    pieces = set(range(len(row.ids))) - set(row.unit_tokens.tolist())
    assert pieces
    assert all(target[piece] == IGNORE for piece in pieces)


def test_characters_of_one_token_begin_one_span_at_most(tokenizer: Tokenizer) -> None:
    made = task("character")
    text = "bada gufe"
    [row] = made.encode(tokenizer, [example(text)])
    outputs = np.zeros((len(row.ids), len(TAGS)))
    outputs[:, TAGS.index("B-LOC")] = 5.0
    gathered = made.gather([row], [outputs], 1)
    [spans] = made.answers([example(text)], made.probabilities(gathered, NEUTRAL), NEUTRAL)
    assert row.unit_tokens is not None
    assert len(spans) == len(set(row.unit_tokens.tolist()))


def test_what_is_past_the_tokens_read_has_no_span(tokenizer: Tokenizer) -> None:
    made = task(max_length=4)
    text = "bada gufe rimo kota lapi bada gufe"
    [row] = made.encode(tokenizer, [example(text)])
    outputs = np.tile(np.eye(len(TAGS))[1] * 9, (len(row.ids), 1))
    [spans] = made.answers([example(text)], made.probabilities(made.gather([row], [outputs], 1), NEUTRAL), NEUTRAL)
    assert row.unit_tokens is not None
    assert len(spans) == int((row.unit_tokens >= 0).sum()) < len(made.units(text))


def test_tags_make_spans_with_the_least_probability() -> None:
    made, text = task(), "Kim of New York ran"
    table = np.full((5, 5), 0.02)
    for unit, (tag, share) in enumerate([(3, 0.9), (0, 0.9), (1, 0.8), (2, 0.6), (2, 0.9)]):
        table[unit, tag] = share
    [spans] = made.answers([example(text)], Outputs.of_tables([table], 5), NEUTRAL)
    assert [(span.text, span.type) for span in spans] == [("Kim", "PER"), ("New York ran", "LOC")]
    assert [span.probability for span in spans] == pytest.approx([0.9, 0.6])


WORDS = 6
RUNS = st.lists(st.tuples(st.integers(0, WORDS - 1), st.integers(1, 2), st.sampled_from(["LOC", "PER"])), max_size=3)


def spans_of(runs: list[tuple[int, int, str]]) -> list[SpanTuple]:
    """Runs of words that do not overlap, as spans of `w w w w w w`."""
    taken: set[int] = set()
    spans = []
    for start, length, kind in sorted(runs):
        words = set(range(start, min(WORDS, start + length)))
        if words and not words & taken:
            taken |= words
            spans.append((2 * min(words), 2 * max(words) + 1, kind))
    return spans


@given(st.lists(st.tuples(RUNS, RUNS), min_size=1, max_size=4))
def test_scores_are_nervaluates(pairs: list[tuple[list[tuple[int, int, str]], list[tuple[int, int, str]]]]) -> None:
    made, text = task(), " ".join("w" * WORDS)
    rows = [example(text, spans_of(wanted)) for wanted, _ in pairs]
    answered = [spans_of(found) for _, found in pairs]
    tags = [made._tags(example(text, spans)) for spans in answered]
    found = made.score(rows, certain(made, rows, tags), NEUTRAL)

    def bio(spans: list[SpanTuple]) -> list[str]:
        return [TAGS[tag] for tag in made._tags(example(text, spans))]

    theirs = Evaluator([bio(row.target) for row in rows], [bio(spans) for spans in answered], ["LOC", "PER"], loader="list")
    results = theirs.evaluate()["overall"]
    assert found["f1"] == pytest.approx(results["strict"].f1)
    assert found["precision"] == pytest.approx(results["strict"].precision)
    assert found["recall"] == pytest.approx(results["strict"].recall)


def test_overlaps_count_half() -> None:
    assert count_overlaps([(0, 5, "LOC")], [(3, 9, "LOC")]) == 1
    assert count_overlaps([(0, 5, "LOC"), (6, 9, "LOC")], [(3, 9, "LOC")]) == 1  # an answer counts once
    assert count_overlaps([(0, 5, "LOC")], [(5, 9, "LOC")]) == 0
    made, text = task(), "a b c d"
    rows = [example(text, [(0, 3, "LOC")])]
    found = made.score(rows, certain(made, rows, [[0, 1, 0, 0]]), NEUTRAL)
    assert found["f1"] == 0.0
    assert found["partial_f1"] == pytest.approx(0.5)


def test_the_baseline_knows_words_it_has_seen() -> None:
    made = task()
    training = [example("fire in Rome", [(8, 12, "LOC")]), example("Rome burns", [(0, 4, "LOC")]), example("in time")]
    new = [example("smoke over rome tonight")]
    [spans] = made.answers(new, made.probabilities(made.naive(training, new), NEUTRAL), NEUTRAL)
    assert [span.text for span in spans] == ["rome"]
