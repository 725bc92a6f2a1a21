"""TF-IDF with a linear model, against scikit-learn's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_union

from bongsu.errors import WorkspaceError
from bongsu.model.tfidf import FILES, Tfidf, _character_grams, _word_grams, constant_tfidf, fit_tfidf, load_tfidf


def logistic(labels: np.ndarray) -> Any:
    """Return what fits scikit-learn's logistic regression to features; of two classes the first has the score 0."""

    def fit(table: Any) -> tuple[np.ndarray, np.ndarray]:
        model = LogisticRegression(max_iter=1000).fit(table, labels)
        if len(model.classes_) == 2:
            return np.stack([0 * model.coef_[0], model.coef_[0]], axis=1), np.array([0.0, model.intercept_[0]])
        return model.coef_.T, model.intercept_

    return fit


def fitted(texts: list[str], classes: int = 2) -> Tfidf:
    return fit_tfidf(texts, logistic(np.array([len(text) % classes for text in texts])))


@given(st.text("ab Cd'\t\n\u3000#é바다_1", max_size=30) | st.text(max_size=20))
def test_words_and_runs_of_characters_are_those_of_scikit_learn(text: str) -> None:
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b").build_analyzer()
    characters = TfidfVectorizer(ngram_range=(2, 5), analyzer="char_wb").build_analyzer()
    assert sorted(_word_grams(text.lower())) == sorted(words(text))
    assert sorted(gram for word in text.lower().split() for gram in _character_grams(word)) == sorted(characters(text))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("rows", [60, 240])
def test_scores_are_those_of_scikit_learn_saved_or_not(sentences: list[str], classes: int, rows: int, tmp_path: Path) -> None:
    texts, others = sentences[:rows], [*sentences[rows : rows + 40], "", "never seen", sentences[0].upper()]
    labels = np.array([len(text) % classes for text in texts])
    rare = rows >= 200
    features = make_union(
        TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", min_df=2 if rare else 1, sublinear_tf=True),
        TfidfVectorizer(ngram_range=(2, 5), analyzer="char_wb", min_df=3 if rare else 1, sublinear_tf=True),
    )
    theirs = LogisticRegression(max_iter=1000).fit(features.fit_transform(texts), labels)
    expected = theirs.decision_function(features.transform(others))
    model = fit_tfidf(texts, logistic(labels))
    scores = model.scores(others)
    assert scores.shape == (len(others), classes)
    np.testing.assert_allclose(scores[:, 1] - scores[:, 0] if classes == 2 else scores, expected, atol=5e-6)
    model.save(tmp_path)
    kept = load_tfidf(tmp_path)
    assert kept is not None
    np.testing.assert_array_equal(kept.scores(others), scores)
    assert model.scores([]).shape == (0, classes)


def test_of_too_many_features_the_heaviest_stay(sentences: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    texts, others = sentences[:240], sentences[240:280]
    labels = np.array([len(text) % 3 for text in texts])
    whole, most = fit_tfidf(texts, logistic(labels)), 100
    monkeypatch.setattr("bongsu.model.tfidf.MOST_FEATURES", most)
    model = fit_tfidf(texts, logistic(labels))
    heavy = set(np.argsort(-np.abs(whole.weights).max(axis=1), kind="stable")[:most].tolist())
    words = [word for word, number in whole.words.items() if number in heavy]
    characters = [run for run, number in whole.characters.items() if number in heavy]
    assert [list(model.words), list(model.characters)] == [words, characters]
    features = make_union(
        TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", vocabulary=words, sublinear_tf=True),
        TfidfVectorizer(ngram_range=(2, 5), analyzer="char_wb", vocabulary=characters, sublinear_tf=True),
    )
    theirs = LogisticRegression(max_iter=1000).fit(features.fit_transform(texts), labels)
    np.testing.assert_allclose(model.scores(others), theirs.decision_function(features.transform(others)), atol=5e-6)


def test_what_is_cached_changes_nothing(sentences: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted(sentences[:60])
    alone = np.concatenate([replace(model).scores([text]) for text in sentences])
    np.testing.assert_allclose(model.scores(sentences), alone, rtol=0, atol=1e-12)
    monkeypatch.setattr("bongsu.model.tfidf._CACHED_WORDS", 3)
    np.testing.assert_allclose(model.scores(sentences), alone, rtol=0, atol=1e-12)


def test_texts_of_emoji_alone_are_told_apart_by_their_characters() -> None:
    texts = ["🔥", "🔥 🔥", "❄", "❄❄"]
    model = fit_tfidf(texts, logistic(np.array([1, 1, 0, 0])))
    assert model.words == {}
    assert (model.scores(texts)[:, 1] > 0).tolist() == [True, True, False, False]


def test_without_features_the_bias_is_what_it_says(tmp_path: Path) -> None:
    model = constant_tfidf(np.array([-0.5, 2.0, 0.25]))
    model.save(tmp_path)
    for each in (model, load_tfidf(tmp_path)):
        assert each is not None
        assert each.scores(["anything", ""]).tolist() == [[-0.5, 2.0, 0.25]] * 2


def test_a_damaged_one_is_refused(sentences: list[str], tmp_path: Path) -> None:
    assert load_tfidf(tmp_path) is None
    fitted(sentences[:20]).save(tmp_path)
    for name in FILES:
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(WorkspaceError, match="damaged"):
            load_tfidf(tmp_path)
        (tmp_path / name).write_bytes(whole)
    (tmp_path / FILES[0]).write_text('{"words": ["a"], "characters": []}')
    with pytest.raises(WorkspaceError, match="of different models"):
        load_tfidf(tmp_path)
