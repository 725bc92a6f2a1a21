"""TF-IDF as it is kept, against scikit-learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_union

from bongsu.errors import WorkspaceError
from bongsu.model.tfidf import FILES, Tfidf, _character_grams, _word_grams, constant_tfidf, fit_tfidf, load_tfidf

WORDS = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b")
CHARACTERS = TfidfVectorizer(ngram_range=(2, 5), analyzer="char_wb")


def fitted(texts: list[str], outputs: int = 2) -> tuple[Tfidf, np.ndarray, np.ndarray]:
    """A model with drawn weights, and the weights."""
    drawn: list[np.ndarray] = []

    def fit(table: Any) -> tuple[np.ndarray, np.ndarray]:
        generator = np.random.default_rng(0)
        drawn.extend([generator.normal(size=(table.shape[1], outputs)), generator.normal(size=outputs)])
        return drawn[0], drawn[1]

    return fit_tfidf(texts, fit), drawn[0], drawn[1]


@given(st.text("ab Cd'\t\n\u3000#é바다_1", max_size=30) | st.text(max_size=20))
def test_words_and_runs_of_characters_are_those_of_scikit_learn(text: str) -> None:
    assert sorted(_word_grams(text.lower())) == sorted(WORDS.build_analyzer()(text))
    grams = sorted(gram for word in text.lower().split() for gram in _character_grams(word))
    assert grams == sorted(CHARACTERS.build_analyzer()(text))


@pytest.mark.parametrize("outputs", [1, 2, 3])
@pytest.mark.parametrize("rows", [60, 240])
def test_scores_are_those_of_scikit_learns_features_saved_or_not(
    sentences: list[str], outputs: int, rows: int, tmp_path: Path
) -> None:
    texts, others = sentences[:rows], [*sentences[rows : rows + 40], "", "never seen", sentences[0].upper(), "a a a b"]
    rare = rows >= 200  # what hardly occurs is left out of larger files
    features = make_union(
        TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", min_df=2 if rare else 1, sublinear_tf=True),
        TfidfVectorizer(ngram_range=(2, 5), analyzer="char_wb", min_df=3 if rare else 1, sublinear_tf=True),
    ).fit(texts)
    model, weights, bias = fitted(texts, outputs)
    expected = features.transform(others) @ weights + bias
    np.testing.assert_allclose(model.scores(others), expected, atol=2e-5)
    model.save(tmp_path)
    kept = load_tfidf(tmp_path)
    assert kept is not None
    np.testing.assert_array_equal(kept.scores(others), model.scores(others))
    assert model.scores([]).shape == (0, outputs)


def test_neither_the_batch_nor_the_cache_changes_a_score(sentences: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    model, _, _ = fitted(sentences[:60])
    alone = np.concatenate([replace(model).scores([text]) for text in sentences])
    np.testing.assert_allclose(model.scores(sentences), alone, atol=1e-12)
    monkeypatch.setattr("bongsu.model.tfidf._CACHED_WORDS", 3)
    np.testing.assert_allclose(model.scores(sentences), alone, atol=1e-12)


def test_texts_of_emoji_alone_have_features_of_characters() -> None:
    model, _, bias = fitted(["🔥", "🔥 🔥", "❄", "❄❄"])
    assert not model.words
    assert np.abs(model.scores(["🔥"]) - bias).max() > 0.01
    np.testing.assert_allclose(model.scores(["x"])[0], bias, atol=1e-6)


def test_a_model_without_features_says_the_same_of_every_text(tmp_path: Path) -> None:
    model = constant_tfidf(np.array([0.25, -1.0]))
    model.save(tmp_path)
    kept = load_tfidf(tmp_path)
    assert kept is not None
    np.testing.assert_array_equal(kept.scores(["a", ""]), [[0.25, -1.0]] * 2)


def test_a_damaged_one_is_refused(sentences: list[str], tmp_path: Path) -> None:
    assert load_tfidf(tmp_path) is None
    fitted(sentences[:20])[0].save(tmp_path)
    for name in FILES:
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(WorkspaceError, match="damaged"):
            load_tfidf(tmp_path)
        (tmp_path / name).write_bytes(whole)
