"""Corrections against scikit-learn on the same numbers, and a corrected detector as any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix, hstack
from sklearn.linear_model import LogisticRegression

from bongsu.errors import DataError, WorkspaceError
from bongsu.inference.onnx import BundlePredictor
from bongsu.labelling import features, learning
from bongsu.labelling.features import BUCKETS, Grams, Rows, Stored, logit
from bongsu.labelling.learning import Learner, LinearCorrection, Space
from bongsu.recipe import Classification
from bongsu.tasks.classification import ClassificationTask
from bongsu.tasks.task import Schema


def test_grams_are_counted_and_cut_out_as_they_were_put_in() -> None:
    grams = Grams.of(["the flood the", "", "홍수 경보"])
    assert np.diff(grams.starts).tolist()[1] == 0
    first = grams.take(np.array([0]))
    word = features.bucket_of("the")
    assert first.counts[first.buckets.tolist().index(word)] == 2
    # two words, two pairs, and runs of 3 in "\tthe\t" (3) and "\tflood\t" (5)
    assert len(first.buckets) == 2 + 2 + 3 + 5
    turned = grams.take(np.array([2, 0, 1]))
    again = Grams.joined([grams.take(np.array([2])), first, grams.take(np.array([1]))])
    for name in ("starts", "buckets", "counts"):
        assert getattr(turned, name).tolist() == getattr(again, name).tolist()


def test_features_survive_the_file_and_hold_no_text(stored: Stored, tmp_path: Path, sentences: list[str]) -> None:
    stored.save(tmp_path / "one")
    read = Stored.load(tmp_path / "one")
    np.testing.assert_allclose(read.rows.pooled, stored.rows.pooled, atol=2e-3)
    assert read.rows.grams.buckets.tolist() == stored.rows.grams.buckets.tolist()
    assert (read.names, read.expected_error) == (["2013 flood", "2014 storm"], 0.04)
    content = (tmp_path / "one").read_bytes()
    words = {word for sentence in sentences[:200] for word in sentence.split() if len(word) > 5}
    assert len(words) > 50
    assert not [word for word in words if word.encode() in content]
    assert len(content) < 1.3 * len(stored.targets) * features.bytes_of_a_row(stored.rows) + 1000
    (tmp_path / "two").write_bytes(content[:-7])
    with pytest.raises(WorkspaceError, match="damaged"):
        Stored.load(tmp_path / "two")


def test_the_fit_is_that_of_scikit_learn(stored: Stored) -> None:
    draw = np.random.default_rng(0)
    new = draw.permutation(len(stored.targets))[:20]
    correction = Learner(stored).fit(stored.rows.take(new), 1 - stored.targets[new])
    space = Space(stored.rows)
    rows = Rows.joined([stored.rows, stored.rows.take(new)])
    # scikit-learn penalises all columns alike but the intercept, so what is hardly penalised is scaled up.
    dense = space.dense(rows)
    lightly = np.sqrt(learning._PENALTY / learning._LIGHT)
    dense[:, -2] *= lightly
    table = hstack([csr_matrix(dense[:, :-1]), space.sparse(rows.grams)]).tocsr()
    weights = np.concatenate([np.ones(len(stored.targets)), np.full(20, len(stored.targets) / 2 / 20)])
    assert weights[-20:].sum() == pytest.approx(weights.sum() / 3)
    wanted = np.concatenate([stored.targets, 1 - stored.targets[new]])
    model = LogisticRegression(C=1 / learning._PENALTY, max_iter=5000, tol=1e-8).fit(table, wanted, sample_weight=weights)
    theirs, ours = model.decision_function(table), correction.logits(rows)
    assert np.abs(theirs).max() > 1.0
    assert np.abs(ours - theirs).max() < 0.1


def test_an_updated_detector_is_a_detector_like_any_other(
    detector: BundlePredictor, stored: Stored, sentences: list[str]
) -> None:
    texts = [f"{text} rimo kota" for text in sentences[200:240]]
    before = detector.probabilities(texts)
    wrong = (before[:, 1] < np.median(before[:, 1])).astype(int).tolist()  # the opposite of what it thinks
    rows = Rows.of(detector, detector.examples(texts))
    updated = detector.with_correction(Learner(stored).fit(rows, np.array(wrong)), "made+1")
    after = updated.probabilities(texts)
    assert updated.version == "made+1"
    agrees = ((after[:, 1] >= 0.5) == np.array(wrong)).mean()
    assert agrees >= 0.8 > 0.5 >= ((before[:, 1] >= 0.5) == np.array(wrong)).mean()
    np.testing.assert_allclose(after.sum(axis=1), 1.0, atol=1e-6)
    assert np.array_equal(detector.probabilities(texts), before)  # the one before answers as it did
    assert detector.correction is None
    answer = updated.predict([texts[0]])[0]
    assert answer.probability == pytest.approx(after[0, 1], abs=1e-5)
    words = updated.explain(texts[0])
    assert [word.text for word in words] == texts[0].split()
    np.testing.assert_allclose(updated.embed(texts[:3]), detector.embed(texts[:3]))
    assert updated.probabilities([]).shape == (0, 2)


def test_weights_survive_the_store(stored: Stored) -> None:
    correction = Learner(stored).fit(stored.rows.take(np.arange(10)), stored.targets[:10])
    again = LinearCorrection.from_bytes(correction.space, correction.to_bytes())
    np.testing.assert_allclose(again.logits(stored.rows), correction.logits(stored.rows), atol=0.02)
    assert again.gram_weights.shape == (BUCKETS,)
    with pytest.raises(WorkspaceError, match="damaged"):
        LinearCorrection.from_bytes(correction.space, b"x")
    other = Space(Rows(stored.rows.pooled[:, :5], stored.rows.logits, stored.rows.grams))
    with pytest.raises(WorkspaceError, match="another size"):
        LinearCorrection.from_bytes(other, correction.to_bytes())


def test_extreme_probabilities_have_finite_logits() -> None:
    values = logit(np.array([0.0, 1.0, 0.5]))
    assert values[2] == 0.0
    assert values[1] == -values[0] == pytest.approx(12.0, abs=1e-3)


def test_a_model_of_three_classes_is_refused(detector: BundlePredictor) -> None:
    class Three:
        task = ClassificationTask(Classification(train="x"), Schema(["a", "b", "c"]))

    with pytest.raises(DataError, match="3 labels"):
        features.require_two_classes(Three(), "x")  # type: ignore[arg-type]
