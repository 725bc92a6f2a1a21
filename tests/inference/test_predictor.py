"""Texts in, answers out: against the model, TF-IDF and the task, each asked by hand."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_run import MAX_LENGTH, THRESHOLD
from scipy.special import softmax

import bongsu
from bongsu.errors import DataError, WorkspaceError
from bongsu.files import HASHES, read_json, write_json
from bongsu.inference.bundle import model_folder
from bongsu.inference.predictor import ModelDetails, Predictor
from bongsu.inference.torch_backend import TorchBackend, load_predictor
from bongsu.model.io import load_task_model
from bongsu.recipe import Classification
from bongsu.tasks.classification import ClassificationTask
from bongsu.tasks.task import Calibration, Example, Schema
from bongsu.tokens.inputs import cleaned

ODD = ["", "a", "🔥", "재난 문자 🔥", "bada gufe " * 60, "see https://t.co/x @you"]


@pytest.fixture(scope="module")
def predictor(made_run: Path) -> Predictor:
    return load_predictor(made_run)


def logits_of(run: Path, predictor: Predictor, texts: list[str]) -> np.ndarray:
    """The model's outputs for texts one by one, without padding."""
    model, _ = load_task_model(run / "finetune" / "model")
    rows = [predictor.tokenizer.encode(cleaned(predictor.task.cleaner, [text])[0]).ids[:MAX_LENGTH] or [1] for text in texts]
    with torch.inference_mode():
        return np.concatenate([model(torch.tensor([row])).numpy() for row in rows])


def test_probabilities_are_those_of_the_model_over_the_temperature(
    made_run: Path, predictor: Predictor, sentences: list[str]
) -> None:
    texts = [*sentences[:80], *ODD]
    expected = softmax(logits_of(made_run, predictor, texts) / 1.25, axis=1)
    found = predictor.probabilities(texts)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    answers = predictor.predict(texts)
    assert [answer.label for answer in answers] == ["disaster" if row[1] >= THRESHOLD else "other" for row in found]
    assert [answer.probability for answer in answers] == pytest.approx(expected[:, 1].tolist(), abs=1e-5)
    assert {answer.label for answer in answers} == {"disaster", "other"}


def test_a_partner_averages_its_log_probabilities(made_run: Path, predictor: Predictor, sentences: list[str]) -> None:
    task = predictor.task
    training = [Example("", (text,), (text,), text, str(len(text) % 2)) for text in sentences[:60]]
    tfidf = task.fit_tfidf(training)
    both = Predictor(predictor.details, predictor.tokenizer, predictor.backend, tfidf)
    texts = sentences[60:100]
    one, other = softmax(logits_of(made_run, predictor, texts), axis=1), softmax(tfidf.scores(texts), axis=1)
    one, other = np.maximum(one, 1e-6), np.maximum(other, 1e-6)  # so that none that is sure decides alone
    odds = (np.log(one[:, 1] / one[:, 0]) + np.log(other[:, 1] / other[:, 0])) / 2 / 1.25
    found = both.probabilities(texts)
    np.testing.assert_allclose(np.log(found[:, 1] / found[:, 0]), odds, atol=1e-3)
    # Explanations are of both: a word is hidden from the encoder and left out of what TF-IDF reads.
    words = both.explain(texts[0])
    alone = predictor.explain(texts[0])
    assert [word.text for word in words] == [word.text for word in alone]
    assert [word.weight for word in words] != pytest.approx([word.weight for word in alone], abs=1e-4)


def test_context_stands_before_its_text(predictor: Predictor) -> None:
    found = predictor.probabilities(["flood", "flood"], [["storm%20surge"], [""]])
    np.testing.assert_allclose(found, predictor.probabilities(["storm surge | flood", "flood"]), atol=1e-6)
    assert np.abs(found[0] - found[1]).max() > 1e-4


def test_embeddings_are_the_mean_of_the_tokens_at_length_one(
    made_run: Path, predictor: Predictor, sentences: list[str]
) -> None:
    model, _ = load_task_model(made_run / "finetune" / "model")
    texts = sentences[:20]
    found = predictor.embed(texts)
    assert found.shape == (20, 32)
    for text, vector in zip(texts, found, strict=True):
        ids = predictor.tokenizer.encode(cleaned(predictor.task.cleaner, [text])[0]).ids[:MAX_LENGTH]
        with torch.inference_mode():
            mean = model.encoder(torch.tensor([ids]))[0].mean(dim=0).numpy()
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)
    assert predictor.embed([]).shape[0] == 0


def test_nothing_is_answered_with_nothing(predictor: Predictor) -> None:
    assert predictor.predict([]) == []
    assert predictor.probabilities([]).shape == (0, 2)
    assert predictor.explain("") == []


@pytest.mark.parametrize(
    ("texts", "context", "error"),
    [
        ("one text", None, TypeError),
        ([("one", "two")], None, DataError),
        ([()], None, DataError),
        (["a", "b"], [["x"]], DataError),
        (["a", "b"], ["x", "y"], DataError),
    ],
)
def test_what_is_no_list_of_texts_is_refused(predictor: Predictor, texts: Any, context: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        predictor.predict(texts, context)


@pytest.mark.parametrize(
    ("texts", "context", "message"),
    [
        (["a", None], None, r"texts\[1\]: a text is needed, not 'None' \(NoneType\)"),
        (["a", float("nan")], None, r"texts\[1\]: a text is needed, not 'nan' \(float\)"),
        ([b"a"], None, r"texts\[0\]\[0\]: a text is needed, not '97' \(int\)"),
        (["a", ("b", 7)], None, r"texts\[1\]\[1\]: a text is needed, not '7'"),
        (["a"], [[None]], r"context\[0\]\[0\]: a text is needed, not 'None'"),
    ],
)
def test_what_is_no_text_is_named_with_its_place(predictor: Predictor, texts: Any, context: Any, message: str) -> None:
    for answer in (predictor.predict, predictor.probabilities):
        with pytest.raises(DataError, match=message):
            answer(texts, context)
    if context is None:
        with pytest.raises(DataError, match=message):
            predictor.embed(texts)


def test_the_threshold_is_the_calibrations_or_a_half(predictor: Predictor) -> None:
    assert predictor.threshold == THRESHOLD
    details = ModelDetails(predictor.details.task, predictor.details.schema, Calibration())
    assert Predictor(details, predictor.tokenizer, predictor.backend).threshold == 0.5


def test_details_come_back_and_damaged_ones_are_refused() -> None:
    task = Classification(train="x", context=["keyword"], names={"1": "재난"}, positive="1")
    details = ModelDetails(task, Schema(["0", "1"]), Calibration(1.5, [0.25]))
    again = ModelDetails.from_dict(details.to_dict())
    assert again == details
    assert isinstance(Predictor(again, None, None).task, ClassificationTask)  # type: ignore[arg-type]
    whole = details.to_dict()
    damaged: list[dict[str, Any]] = [{name: part for name, part in whole.items() if name != left} for left in whole]
    damaged += [{**whole, "schema": {"lables": []}}, {**whole, "task": {**task.model_dump(mode="json"), "kind": "poetry"}}]
    for values in damaged:
        with pytest.raises(WorkspaceError, match="another version or damaged"):
            ModelDetails.from_dict(values)


def test_a_run_its_parts_and_a_model_folder_are_opened_alike(made_run: Path, sentences: list[str], tmp_path: Path) -> None:
    expected = load_predictor(made_run).probabilities(sentences[:9])
    alone = shutil.copytree(made_run / "finetune" / "model", tmp_path / "model")
    for folder in (made_run / "finetune", made_run / "finetune" / "model", tmp_path, alone):
        np.testing.assert_array_equal(bongsu.load(folder).probabilities(sentences[:9]), expected)
    assert model_folder(made_run) == made_run / "finetune" / "model"
    with pytest.raises(WorkspaceError, match="no such folder"):
        load_predictor(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(WorkspaceError, match="neither a run's folder"):
        load_predictor(tmp_path / "empty")
    with pytest.raises(WorkspaceError, match="fine-tune it first"):
        load_predictor(made_run / "pretrain")
    (alone / HASHES).unlink()
    config = read_json(alone / "config.json")
    write_json(alone / "config.json", {**config, "extra": {"classes": ["0", "1"]}})
    with pytest.raises(WorkspaceError, match="another version"):
        load_predictor(alone)


def test_rows_come_back_in_the_order_they_were_given(predictor: Predictor, sentences: list[str]) -> None:
    assert isinstance(predictor.backend, TorchBackend)
    small = TorchBackend(predictor.backend.model, batch_size=3)
    rows = predictor.task.encode(predictor.tokenizer, predictor.examples(sentences[:40]))
    assert len({len(row.ids) for row in rows}) > 5
    np.testing.assert_allclose(np.stack(small.run(rows)), np.stack(predictor.backend.run(rows)), atol=1e-5)
    np.testing.assert_allclose(small.embed(rows), predictor.backend.embed(rows), atol=1e-5)
