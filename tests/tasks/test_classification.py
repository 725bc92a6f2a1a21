"""Classification: rows, answers and metrics, by hand and against scikit-learn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score
from sklearn.pipeline import make_union
from sklearn.utils.class_weight import compute_class_weight

from bongsu.errors import DataError, RecipeError
from bongsu.recipe import Classification, Evaluate, parse_recipe
from bongsu.tasks.classification import ClassificationTask
from bongsu.tasks.registry import build_task
from bongsu.tasks.task import Calibration, Example, Outputs, Schema
from bongsu.tokens.inputs import Encoded


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def read(settings: Classification) -> tuple[ClassificationTask, list[Example[str]]]:
    """Return a task that has learned the labels of its training file, and the rows of that."""
    task = build_task(settings)
    assert isinstance(task, ClassificationTask)
    examples = task.read(settings.train, settings.where)
    task.schema = task.learn_schema(examples)
    return task, examples


def of_classes(count: int, **settings: Any) -> ClassificationTask:
    labels = [str(number) for number in range(count)]
    return ClassificationTask(Classification(train="x", **settings), Schema(labels))


def example(text: str, target: str = "0") -> Example[str]:
    return Example("", (text,), (text,), text, target)


def examples_of(labels: Iterable[int]) -> list[Example[str]]:
    return [example(f"text {number}", str(label)) for number, label in enumerate(labels)]


# Rows


def test_reads_labels_context_and_the_column_to_leave_out(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.csv", "id,keyword,text,target\n7,forest%20fire,Smoke &amp; flames http://t.co/x,1\n8,,I love fruits,0\n"
    )
    task, examples = read(Classification(train=file, context=["keyword"]))
    assert [each.inputs for each in examples] == [("forest fire | Smoke & flames [LINK]",), ("I love fruits",)]
    assert examples[0].raw == ("Smoke &amp; flames http://t.co/x",)
    assert examples[0].cleaned == "Smoke & flames [LINK]"
    assert [each.id for each in examples] == ["7", "8"]
    assert [each.group for each in examples] == ["", ""]
    assert task.schema.labels == ["0", "1"]
    assert task.classes_of(examples).tolist() == task.strata(examples).tolist() == [1, 0]
    assert [each.group for each in task.read(file, {}, "keyword")] == ["forest%20fire", ""]
    assert [each.id for each in task.read(file, {"keyword": ""})] == ["8"]


def test_the_positive_class_comes_last(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "text,target\none,alarm\ntwo,other\n")
    assert read(Classification(train=file, positive="alarm"))[0].schema.labels == ["other", "alarm"]
    with pytest.raises(RecipeError, match="alarm, other"):
        read(Classification(train=file, positive="fire"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,label\na,1\n", "there is no column 'target'; the columns are text, label"),
        ("text,target\na,1\nb,1\n", "one label only"),
        ("text,target\n" + "".join(f"a,{number}\n" for number in range(1001)), "1001 different values; is it the label"),
        ("text,target\n", "nothing to read; it is empty, or has a header alone"),
        ("text,target\na,\n,1\n", "no labelled row"),
        ("", "empty"),
    ],
)
def test_says_what_is_wrong(tmp_path: Path, content: str, message: str) -> None:
    file = write(tmp_path / "a.csv", content)
    with pytest.raises(DataError, match=message):
        read(Classification(train=file))


def test_rows_without_a_label_or_a_text_are_passed_over_and_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "a.csv", "text,target\none,1\ntwo,\n ,1\nthree,0\n")
    assert [each.inputs[0] for each in read(Classification(train=file))[1]] == ["one", "three"]
    said = " ".join(capfd.readouterr().err.split())
    assert "a.csv: 4 rows, 2 used; not used: no label 1, no text 1" in said


def test_labels_may_be_numbers_in_a_recipe(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "text,target\none,1\ntwo,0\n")
    settings = parse_recipe({"task": {"train": file, "positive": 0, "names": {"0": 7}}, "finetune": {"encoder": "x"}}).task
    assert settings is not None
    task = read(settings)[0]  # type: ignore[arg-type]
    assert task.schema.labels == ["1", "0"]
    assert task.names == ["1", "7"]


def test_corrections_change_and_drop_rows_of_the_training_file(tmp_path: Path) -> None:
    content = "id,text,target\n7,one,1\n8,two,0\n9,three,0\n"
    file, other = write(tmp_path / "a.csv", content), write(tmp_path / "b.csv", content)
    fixed = write(tmp_path / "fixed.csv", "id,correction,text\n8,1,two\n7,drop,one\n9,,three\n")
    task, examples = read(Classification(train=file, corrections=fixed))
    assert ([each.id for each in examples], [each.target for each in examples]) == (["8", "9"], ["1", "0"])
    assert task.schema.labels == ["0", "1"]
    assert [each.target for each in task.read(other, {})] == ["1", "0", "0"]  # a test file is left as it is
    wrong = write(tmp_path / "wrong.csv", "id,correction\n5,1\n")
    with pytest.raises(DataError, match="no row with id '5'"):
        read(Classification(train=file, corrections=wrong))


def test_rows_of_another_file_must_have_the_labels_known(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "text,target\none,1\ntwo,0\n")
    task, examples = read(Classification(train=file))
    task.check(examples, file)
    with pytest.raises(DataError, match="label '2' in column 'target' is not one of 0, 1"):
        task.check([*examples, example("x", "2")], file)


def test_rows_without_labels_are_read_as_they_are_predicted(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "id,keyword,text\n7,flood,Water &amp; mud\n,fire,\n")
    task = of_classes(2, context=["keyword"])
    examples = task.read_unlabelled(file)
    assert [(each.id, each.inputs[0], each.raw[0], each.target) for each in examples] == [
        ("7", "flood | Water & mud", "Water &amp; mud", None),
        ("1", "fire | ", "", None),
    ]
    assert task.example(["Water &amp; mud"], ["flood"]).inputs == examples[0].inputs
    with pytest.raises(DataError, match="needs 1 text an example, not 2"):
        task.example(["one", "two"])


def test_copies_count_once_with_the_label_of_their_majority() -> None:
    task = of_classes(2)
    texts, labels = ["Fire! http://t.co/a", "fire", "FIRE @you", "flood", "Flood.", "storm"], [1, 0, 1, 0, 1, 0]
    rows = [example(text, str(label)) for text, label in zip(texts, labels, strict=True)]
    kept = task.unique(rows)
    assert [(each.cleaned, each.target) for each in kept] == [(texts[0], "1"), ("storm", "0")]  # the floods contradict
    kept = task.unique([rows[1], rows[3]])
    assert [(each.cleaned, each.target) for each in kept] == [("fire", "0"), ("flood", "0")]
    assert [each.target for each in task.unique([rows[1], rows[0], rows[2]])] == ["1"]  # the first, as most call it
    assert task.unique([]) == []


def test_rows_are_described_by_their_classes() -> None:
    task = of_classes(3, names={"0": "other", "2": "unclear"})
    assert task.describe(examples_of([0, 0, 2])) == {"other": 2, "1": 0, "unclear": 1}


# Numbers


def test_balanced_weights_are_scikit_learns() -> None:
    labels = np.random.default_rng(0).choice(3, 101, p=[0.6, 0.3, 0.1])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    logits = torch.randn(101, 3, generator=torch.Generator().manual_seed(0))
    losses = {}
    for weights in ("none", "balanced"):
        task = of_classes(3, class_weights=weights)
        targets = [task.target(Encoded(np.zeros(1, dtype=np.int64)), each) for each in examples_of(labels)]
        losses[weights] = float(task.criterion(targets)(logits, torch.from_numpy(task.collate(targets, 8))))
    each = -torch.log_softmax(logits, dim=1).numpy()[np.arange(101), labels]
    assert losses["none"] == pytest.approx(each.mean(), rel=1e-5)
    assert losses["balanced"] == pytest.approx((expected[labels] * each).mean(), rel=1e-5)


def test_what_a_batch_has_right_is_counted() -> None:
    task = of_classes(2)
    outputs, targets = torch.tensor([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    right, count = task.hits(outputs, targets)
    assert (int(right), int(count)) == (2, 3)


@given(st.lists(st.lists(st.floats(-6, 6), min_size=3, max_size=3), min_size=2, max_size=2))
def test_models_are_merged_by_their_mean_log_probability(logits: list[list[float]]) -> None:
    task = of_classes(3)
    merged = task.merge([Outputs.of_rows(np.array([each])) for each in logits])
    product = np.prod([softmax(each) for each in logits], axis=0) ** 0.5
    found = task.probabilities(merged, Calibration()).values[0]
    np.testing.assert_allclose(found, product / product.sum(), atol=1e-5)


def test_one_model_that_rules_a_class_out_does_not_decide_alone() -> None:
    one, other = np.array([[0.0, 60.0]]), np.array([[60.0, 0.0]])
    task = of_classes(2)
    merged = task.merge([Outputs.of_rows(one), Outputs.of_rows(other)])
    np.testing.assert_allclose(task.probabilities(merged, Calibration()).values, [[0.5, 0.5]], atol=1e-6)


# Answers


@pytest.mark.parametrize("classes", [2, 3])
def test_metrics_are_scikit_learns(classes: int) -> None:
    generator = np.random.default_rng(classes)
    labels, table = generator.integers(0, classes, 200), generator.dirichlet(np.ones(classes), 200)
    task = of_classes(classes)
    thresholds = [0.3] if classes == 2 else []
    predicted = table[:, 1] >= 0.3 if classes == 2 else table.argmax(axis=1)
    found = task.score(examples_of(labels), Outputs.of_rows(table), Calibration(1.0, thresholds))
    assert list(found) == [metric.name for metric in task.metrics]
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert found["f1"] == pytest.approx(f1_score(labels, predicted, average="binary" if classes == 2 else "macro"))
    auc = roc_auc_score(labels, table[:, 1]) if classes == 2 else roc_auc_score(labels, table, multi_class="ovr")
    assert found["roc_auc"] == pytest.approx(auc)
    assert found["loss"] == pytest.approx(log_loss(labels, table), rel=1e-5)
    statistics = task.statistics(examples_of(labels), Outputs.of_rows(table), Calibration(1.0, thresholds))
    assert task.main_metric(statistics.sum(axis=0)) == pytest.approx(found["accuracy"])
    assert task.main_metric(statistics).tolist() == (predicted == labels).astype(float).tolist()


def test_metrics_of_rows_of_one_class_are_numbers() -> None:
    found = of_classes(2).score(examples_of([1, 1]), Outputs.of_rows(np.array([[0.0, 1.0], [1.0, 0.0]])), Calibration())
    assert found["roc_auc"] == 0.5
    assert np.isfinite(list(found.values())).all()


def test_answers_say_the_class_by_the_threshold_or_the_likeliest() -> None:
    task = of_classes(2, names={"1": "disaster"})
    outputs = Outputs.of_rows(np.array([[0.7, 0.3], [0.4, 0.6]]))
    told = task.answers(examples_of([0, 0]), outputs, Calibration(1.0, [0.3]))
    assert [(each.label, each.value) for each in told] == [("disaster", "1"), ("disaster", "1")]
    assert [each.probability for each in told] == pytest.approx([0.3, 0.6])
    told = task.answers(examples_of([0, 0]), outputs, Calibration(1.0, [0.31]))
    assert [each.label for each in told] == ["0", "disaster"]
    assert told[0].probability == pytest.approx(0.3)  # of the positive class, whatever the answer
    assert task.flat(told[1]) == {
        "label": "disaster",
        "probability": told[1].probability,
        "probability_0": told[1].probabilities["0"],
        "probability_disaster": told[1].probability,
    }
    assert task.key_of(told[1]) == "disaster"
    three = of_classes(3)
    [one] = three.answers(examples_of([0]), Outputs.of_rows(np.array([[0.2, 0.3, 0.5]])), Calibration())
    assert (one.label, one.value, one.probability) == ("2", "2", 0.5)


def test_the_threshold_is_that_of_least_expected_cost() -> None:
    assert of_classes(2).fixed_thresholds(Evaluate(miss_cost=3.0)) == [0.25]
    assert of_classes(2).fixed_thresholds(Evaluate(miss_cost=3.0, threshold=0.7)) == [0.7]
    assert of_classes(3).fixed_thresholds(Evaluate(threshold=0.7)) == []


def test_calibration_divides_and_keeps_the_threshold_it_is_given() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(3000, 2)) * 1.5
    labels = (generator.random(3000) < softmax(logits, axis=1)[:, 1]).astype(int)
    task = of_classes(2)
    found = task.calibrate(examples_of(labels), Outputs.of_rows(3 * logits), [0.25])
    assert found.temperature == pytest.approx(3.0, rel=0.1)
    assert found.thresholds == [0.25]
    calibrated = task.probabilities(Outputs.of_rows(3 * logits), found).values
    np.testing.assert_allclose(calibrated, softmax(3 * logits / found.temperature, axis=1), atol=1e-6)
    assert task.calibrate([], Outputs.of_tables([], 2), [0.25]) == Calibration(1.0, [0.25])


def test_the_most_confident_errors_come_first() -> None:
    table = np.array([[0.9, 0.1], [0.3, 0.7], [0.05, 0.95], [0.4, 0.6]])
    assert of_classes(2).confident_errors(examples_of([0, 0, 0, 1]), Outputs.of_rows(table)) == [(2, 1), (1, 1)]
    assert of_classes(2).explained_output(Outputs.of_rows(table[:1])) == 1
    assert of_classes(3).explained_output(Outputs.of_rows(np.array([[0.2, 0.5, 0.3]]))) == 1


# Baselines

DISASTER = [
    "forest fire spreads near the town",
    "earthquake hits the coast",
    "flood warning for the river",
    "지진이 발생했습니다",
]
OTHER = ["what a lovely morning", "my mixtape is out now", "coffee with friends", "오늘 점심 맛있다"]
TEXTS = [f"{text} {number}" for number in range(40) for text in DISASTER + OTHER]
LABELS = [label for _ in range(40) for label in [1] * 4 + [0] * 4]


def rows_of(texts: Sequence[str], labels: Sequence[int]) -> list[Example[str]]:
    return [example(text, str(label)) for text, label in zip(texts, labels, strict=True)]


def said_by_tfidf(task: ClassificationTask, training: Sequence[Example[str]], asked: Sequence[str]) -> np.ndarray:
    outputs = task.tfidf_outputs(task.fit_tfidf(training), [example(text) for text in asked])
    return task.probabilities(outputs, Calibration()).values


def said_by_majority(task: ClassificationTask, training: Sequence[Example[str]], count: int) -> np.ndarray:
    return task.probabilities(task.naive(training, examples_of([0] * count)), Calibration()).values


def test_majority_gives_the_shares() -> None:
    table = said_by_majority(of_classes(4), examples_of([0, 0, 2, 0]), 3)
    np.testing.assert_allclose(table, [[0.75, 0.0, 0.25, 0.0]] * 3, atol=1e-7)
    np.testing.assert_allclose(said_by_majority(of_classes(2), [], 1), [[0.5, 0.5]])


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("rows", [60, 240])
def test_tfidf_is_scikit_learns(sentences: list[str], classes: int, rows: int) -> None:
    labels = [len(text) % classes for text in sentences[:rows]]
    asked = [*sentences[rows : rows + 40], "never seen", sentences[0].upper()]
    rare = rows >= 200
    features = make_union(
        TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", min_df=2 if rare else 1, sublinear_tf=True),
        TfidfVectorizer(ngram_range=(2, 5), analyzer="char_wb", min_df=3 if rare else 1, sublinear_tf=True),
    )
    theirs = LogisticRegression(C=2.0, max_iter=1000).fit(features.fit_transform(sentences[:rows]), labels)
    expected = theirs.predict_proba(features.transform(asked))
    found = said_by_tfidf(of_classes(classes), rows_of(sentences[:rows], labels), asked)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_words_are_learned_and_the_same_each_time() -> None:
    asked = ["fire near the river", "coffee this morning", "지진이 났다", "맛있다"]
    table = said_by_tfidf(of_classes(2), rows_of(TEXTS, LABELS), asked)
    assert table.shape == (4, 2)
    assert table.argmax(axis=1).tolist() == [1, 0, 1, 0]
    np.testing.assert_array_equal(table, said_by_tfidf(of_classes(2), rows_of(TEXTS, LABELS), asked))


def test_classes_keep_their_columns_when_one_is_missing() -> None:
    table = said_by_tfidf(of_classes(4), rows_of(TEXTS, [2 * label for label in LABELS]), ["earthquake"])
    assert table.shape == (1, 4)
    assert table.argmax() == 2
    assert table[0, [1, 3]].max() < 1e-20


def test_three_classes() -> None:
    texts, labels = ["red"] * 5 + ["green"] * 5 + ["blue"] * 5, [0] * 5 + [1] * 5 + [2] * 5
    table = said_by_tfidf(of_classes(3), rows_of(texts, labels), ["blue", "red", "green"])
    assert table.argmax(axis=1).tolist() == [2, 0, 1]


def test_texts_without_a_word() -> None:
    table = said_by_tfidf(of_classes(2), rows_of(["🔥🔥", "🙂", "🔥", "🙂🙂"], [1, 0, 1, 0]), ["🔥", "🙂", ""])
    assert table[:2].argmax(axis=1).tolist() == [1, 0]
    assert np.isfinite(table).all()


@pytest.mark.parametrize(("texts", "labels"), [(["a b", "c d"], [1, 1]), (["", " "], [0, 1])])
def test_nothing_to_learn_from_is_the_majority(texts: list[str], labels: list[int]) -> None:
    task, training = of_classes(2), rows_of(texts, labels)
    found = said_by_tfidf(task, training, ["a", "b"])
    np.testing.assert_allclose(found, said_by_majority(task, training, 2), atol=1e-6)
