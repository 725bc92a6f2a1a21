"""TF-IDF as it is kept, against scikit-learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from bongsu.errors import WorkspaceError
from bongsu.finetuning.baselines import fit_tfidf, tfidf_logistic
from bongsu.inference.tfidf import CHARACTERS, FILES, WORDS, _character_grams, _word_grams, load_tfidf, product


@given(st.text("ab Cd'\t\n\u3000#é바다_1", max_size=30) | st.text(max_size=20))
def test_words_and_runs_of_characters_are_those_of_scikit_learn(text: str) -> None:
    words = TfidfVectorizer(ngram_range=WORDS, token_pattern=r"(?u)\b\w+\b").build_analyzer()
    characters = TfidfVectorizer(ngram_range=CHARACTERS, analyzer="char_wb").build_analyzer()
    assert sorted(_word_grams(text.lower())) == sorted(words(text))
    assert sorted(gram for word in text.lower().split() for gram in _character_grams(word)) == sorted(characters(text))


def test_what_is_remembered_changes_nothing(sentences: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    model = fit_tfidf(sentences[:60], np.arange(60) % 2, 2)
    alone = np.concatenate([replace(model).probabilities([text]) for text in sentences])
    assert np.array_equal(model.probabilities(sentences), alone)
    monkeypatch.setattr("bongsu.inference.tfidf._REMEMBERED", 3)
    assert np.array_equal(model.probabilities(sentences), alone)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("rows", [60, 240])
def test_probabilities_are_those_of_scikit_learn_saved_or_not(
    sentences: list[str], classes: int, rows: int, tmp_path: Path
) -> None:
    labels = np.array([len(text) % classes for text in sentences[:rows]])
    others = [*sentences[rows : rows + 40], "", "never seen", sentences[0].upper()]
    expected = tfidf_logistic(sentences[:rows], labels, others, classes)
    made = fit_tfidf(sentences[:rows], labels, classes)
    np.testing.assert_allclose(made.probabilities(others), expected, atol=2e-6)
    made.save(tmp_path)
    kept = load_tfidf(tmp_path)
    assert kept is not None
    np.testing.assert_array_equal(kept.probabilities(others), made.probabilities(others))
    assert made.probabilities([]).shape == (0, classes)

    odds = np.log(expected[:, 1] / expected[:, 0])
    cooler = made.divided(2.0).probabilities(others)
    np.testing.assert_allclose(np.log(cooler[:, 1] / cooler[:, 0]), odds / 2, atol=1e-5)


@pytest.mark.parametrize(
    ("texts", "labels"),
    [(["🔥", "🔥 🔥", "❄", "❄❄"], [1, 1, 0, 0]), (["a", "b"], [1, 1]), (["", " "], [0, 1]), (["a b", "c"], [2, 0])],
)
def test_odd_files_are_as_the_baseline_has_them(texts: list[str], labels: list[int]) -> None:
    wanted = tfidf_logistic(texts, labels, [*texts, "x"], 3)
    np.testing.assert_allclose(fit_tfidf(texts, np.array(labels), 3).probabilities([*texts, "x"]), wanted, atol=2e-6)


def test_a_product_of_probabilities() -> None:
    one, other = np.array([[0.2, 0.8], [1.0, 0.0]]), np.array([[0.6, 0.4], [0.0, 1.0]])
    np.testing.assert_allclose(product(one, other), [[0.12 / 0.44, 0.32 / 0.44], [0.5, 0.5]], rtol=1e-6)


def test_a_damaged_one_is_refused(sentences: list[str], tmp_path: Path) -> None:
    assert load_tfidf(tmp_path) is None
    fit_tfidf(sentences[:20], np.arange(20) % 2, 2).save(tmp_path)
    for name in FILES:
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(WorkspaceError, match="damaged"):
            load_tfidf(tmp_path)
        (tmp_path / name).write_bytes(whole)
