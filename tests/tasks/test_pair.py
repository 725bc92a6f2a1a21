"""Pairs: two texts in one row."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer

from bongsu.errors import DataError
from bongsu.recipe import Pair
from bongsu.tasks.pair import _overlap_features, pair_task
from bongsu.tasks.task import Calibration, Example, Schema
from bongsu.tokens.inputs import encode_pair, encode_windows


def example(first: str, second: str, target: object = "0") -> Example[object]:
    return Example("", (first, second), (first, second), f"{first}\n{second}", target)


def test_a_row_holds_both_texts(tokenizer: Tokenizer) -> None:
    row = encode_pair(tokenizer, "bada gufe", "rimo", 64)
    first, second = tokenizer.encode("bada gufe").ids, tokenizer.encode("rimo").ids
    assert row.ids.tolist() == [*first, *second]
    assert row.text_ids is not None
    assert row.text_ids.tolist() == [0] * len(first) + [1] * len(second)
    long = encode_pair(tokenizer, "bada " * 50, "rimo kota", 20)
    assert len(long.ids) == 20
    assert long.text_ids is not None
    assert long.text_ids.sum() == len(tokenizer.encode("rimo kota").ids)  # the longer text is the one that is cut


@pytest.mark.parametrize(("length", "stride"), [(20, 4), (24, 8), (16, 1)])
def test_windows_cover_a_text_and_keep_the_question(tokenizer: Tokenizer, length: int, stride: int) -> None:
    question, text = "bada gufe", "rimo kota 바다에 불이 났다 lapi " * 6
    rows = encode_windows(tokenizer, question, text, length, stride)
    whole = tokenizer.encode(text)
    joined: list[int] = []
    for number, row in enumerate(rows):
        assert len(row.ids) <= length
        assert row.offsets is not None
        inside = np.flatnonzero(row.offsets[:, 0] >= 0)
        assert row.ids[: inside[0]].tolist() == tokenizer.encode("bada gufe |").ids
        if number:
            assert row.ids[inside][:stride].tolist() == joined[-stride:]
        joined += row.ids[inside][stride if number else 0 :].tolist()
        assert [tuple(offset) for offset in row.offsets[inside].tolist()] == whole.offsets[
            len(joined) - len(inside) : len(joined)
        ]
    assert joined == whole.ids


def test_a_symmetric_pair_is_answered_the_same_in_both_orders(tokenizer: Tokenizer) -> None:
    task = pair_task(Pair(train="x", symmetric=True), Schema(["0", "1"]))
    pairs = [example("bada", "gufe rimo"), example("gufe rimo", "bada")]
    rows = task.encode(tokenizer, pairs)
    assert [row.example for row in rows] == [0, 0, 1, 1]
    outputs = [np.array([float(row.ids[0]), float(len(row.ids))]) for row in rows]
    found = task.gather(rows, outputs, 2)
    np.testing.assert_allclose(found.values[0], found.values[1])
    np.testing.assert_allclose(found.values[0], np.mean(outputs[:2], axis=0))


def test_tfidf_reads_what_is_common_and_what_is_not() -> None:
    text = _overlap_features(example("a dog runs", "a dog sleeps")).inputs[0].split()
    assert [token for token in text if not token.startswith("common")] == ["b_a", "b_dog", "f_runs", "s_sleeps"]
    assert sum(token.startswith("common_w") for token in text) == 5  # 2 of 4 words
    same = _overlap_features(example("a dog", "a dog")).inputs[0].split()
    assert sum(token.startswith("common") for token in same) == 20


def test_entailment_is_learned_from_the_overlap() -> None:
    words = ["dog", "cat", "bird", "fish", "horse", "cow"]
    same = [example(f"the {one} is here", f"a {one} is here", "1") for one in words]
    other = [
        example(f"the {one} is here", f"a {two} went away", "0") for one, two in zip(words, words[1:] + words[:1], strict=True)
    ]
    task = pair_task(Pair(train="x"))
    task.schema = task.learn_schema([*same, *other])
    model = task.fit_tfidf([*same, *other])
    new = [example("the wolf is here", "a wolf is here"), example("the wolf is here", "a fox went away")]
    answers = task.answers(new, task.probabilities(task.tfidf_outputs(model, new), Calibration()), Calibration())
    assert [answer.label for answer in answers] == ["1", "0"]


def test_the_target_chooses_the_kind_of_answer() -> None:
    number = pair_task(Pair(train="x", target="number"), Schema(shift=2.0, scale=2.0))
    assert number.metrics[0].name == "pearson"
    assert number.pairs
    with pytest.raises(DataError, match="needs 2 texts"):
        number.example(["one"])
