"""Answering by hand, and against the rules of SQuAD's own evaluation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from bongsu.errors import DataError
from bongsu.recipe import Answering
from bongsu.tasks.answering import AnsweringTask, GoldAnswer, exact_match, normalize_answer, sliding_window, token_f1
from bongsu.tasks.task import Calibration, Example, Outputs, Schema

NEUTRAL = Calibration()
TEXT = "The fire began near La Ronge on Monday. Crews from Regina came on Tuesday with two boats."


def task(**settings: object) -> AnsweringTask:
    return AnsweringTask(Answering(train="x", **settings), Schema(["start", "end"]))  # type: ignore[arg-type]


def example(question: str, answers: list[str] | None = None, text: str = TEXT) -> Example[list[GoldAnswer]]:
    found = [(answer, text.index(answer)) for answer in answers or []]
    return Example(question, (question, text), (question, text), question, found)


def squad(*questions: Mapping[str, object], context: str = TEXT) -> str:
    return json.dumps({"data": [{"title": "Fire", "paragraphs": [{"context": context, "qas": list(questions)}]}]})


def test_files_of_squad_are_read(tmp_path: Path) -> None:
    file = tmp_path / "train.json"
    where = {"id": "a", "question": "Where?", "answers": [{"text": "La Ronge", "answer_start": 20}] * 2}
    none = {"id": "b", "question": "Who?", "answers": [], "is_impossible": True}
    file.write_text(squad(where, none))
    first, second = task().read(str(file), {})
    assert (first.id, first.target, second.target) == ("a", [("La Ronge", 20)], [])
    file.write_text(squad({**where, "answers": [{"text": "La Ronge", "answer_start": 3}]}))
    with pytest.raises(DataError, match="question a: the answer 'La Ronge' does not stand at character 3"):
        task().read(str(file), {})
    file.write_text('{"version": 1}')
    with pytest.raises(DataError, match="not a file in the format of SQuAD"):
        task().read(str(file), {})


def test_answers_are_compared_as_squad_compares_them() -> None:
    assert normalize_answer("The  Crews, from a Regina!") == "crews from regina"
    gold = [("the two boats", 0), ("boats", 0)]
    assert exact_match("Two boats.", gold) == 1.0
    assert exact_match("three boats", gold) == 0.0
    assert token_f1("three boats", gold) == pytest.approx(2 * 1 / (2 + 1))  # against "boats"
    assert token_f1("crews", gold) == 0.0
    assert (token_f1("", []), token_f1("crews", []), exact_match("", [])) == (1.0, 0.0, 1.0)
    assert token_f1("경희대학교", [("경희대", 0)]) == pytest.approx(2 * 3 / (5 + 3))  # characters, as KorQuAD does


@pytest.mark.parametrize("length", [24, 40, 200])
def test_the_target_is_the_answers_tokens_in_each_window_that_holds_it(tokenizer: Tokenizer, length: int) -> None:
    made = task(max_length=length, stride=8)
    asked = example("Who came?", ["Regina"])
    rows = made.encode(tokenizer, [asked])
    held = 0
    for row in rows:
        start, end, size = made.target(row, asked).tolist()
        assert size == len(row.ids)
        assert row.offsets is not None
        if end:
            held += 1
            assert TEXT[row.offsets[start, 0] : row.offsets[end, 1]].strip() == "Regina"
    assert held >= 1
    assert [made.target(row, example("Who?")).tolist()[:2] for row in rows] == [[0, 0]] * len(rows)


def test_the_best_span_of_all_windows_is_answered(tokenizer: Tokenizer) -> None:
    made = task(max_length=30, stride=8)
    asked = example("Who came?", ["Regina"])
    rows = made.encode(tokenizer, [asked])
    outputs = []
    for row in rows:
        output = np.zeros((len(row.ids), 2))
        start, end, _ = made.target(row, asked).tolist()
        if end:
            output[start, 0] = output[end, 1] = 6.0
        outputs.append(output)
    gathered = made.gather(rows, outputs, 1)
    [answer] = made.answers([asked], made.probabilities(gathered, NEUTRAL), NEUTRAL)
    assert answer.text == "Regina"
    assert TEXT[answer.start : answer.end].strip() == "Regina"
    assert 0.9 < answer.probability <= 1.0
    assert made.score([asked], made.probabilities(gathered, NEUTRAL), NEUTRAL) == {"f1": 1.0, "exact_match": 1.0}


def spans(*rows: tuple[int, int, float], nothing: float) -> np.ndarray:
    return np.array([(*row, nothing) for row in rows])


def test_no_answer_is_chosen_by_a_threshold_of_best_f1() -> None:
    made = task()
    place = TEXT.index("Regina")
    good, end = (place, place + 6), 0
    rows = [example("a", ["Regina"]), example("b", ["Regina"]), example("c"), example("d")]
    tables = [spans((*good, 2.0), nothing=2.5), spans((*good, 5.0), nothing=0.0), spans((*good, 2.0), nothing=4.0),
              spans((*good, 1.0), nothing=3.5)]  # fmt: skip
    outputs = Outputs.of_tables(tables, 4)
    neutral = made.score(rows, made.probabilities(outputs, NEUTRAL), NEUTRAL)
    assert neutral["f1"] == 0.75  # the first is left empty
    chosen = made.calibrate(rows, outputs)
    assert 0.5 < chosen.thresholds[0] < 2.0
    assert made.score(rows, made.probabilities(outputs, chosen), chosen)["f1"] == 1.0
    answers = made.answers(rows, made.probabilities(outputs, chosen), chosen)
    assert [answer.text for answer in answers] == ["Regina", "Regina", "", ""]
    assert answers[2].end == end


def test_the_baseline_looks_in_the_sentence_that_shares_most() -> None:
    start, end = sliding_window("Who came on Tuesday with boats?", TEXT)
    assert 39 < start < end <= len(TEXT)
    found = task().naive([], [example("Who came on Tuesday with boats?")])
    assert found.values[0, :2].tolist() == [start, end]
    assert sliding_window("?", "") == (0, 0)
