"""What a detector has to beat: the majority class, and TF-IDF with logistic regression.

The second is strong on short texts (on the Kaggle disaster tweets about 0.81 accuracy by 5 folds), takes seconds, and knows
nothing but the training rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_union

from bongsu.inference.tfidf import CHARACTERS, WORD, WORDS, Tfidf

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
NEVER = -60.0  # the logit of a class without rows


def majority(train_labels: npt.ArrayLike, n_classes: int, n: int) -> Float64:
    """The same for every row: each class's share of the training rows. Returns probabilities [n, n_classes] float64.

    The likeliest class is the largest; without training rows all classes are alike.
    """
    counts = np.bincount(np.asarray(train_labels, dtype=np.int64), minlength=n_classes).astype(np.float64)
    shares = counts / counts.sum() if counts.sum() else np.full(n_classes, 1 / n_classes)
    return np.tile(shares, (n, 1))


def tfidf_logistic(
    train_texts: Sequence[str], train_labels: npt.ArrayLike, test_texts: Sequence[str], n_classes: int | None = None
) -> Float64:
    """TF-IDF of words (1-2) and of characters within words (2-5), with logistic regression; deterministic.

    Args:
        train_labels: classes [rows] int.
        n_classes: by default the largest label and one.

    Returns:
        probabilities [len(test_texts), n_classes] float64; a class without training rows has probability 0. With one class to
        learn from, or no text, the majority's.
    """
    labels = np.asarray(train_labels, dtype=np.int64)
    classes = n_classes or int(labels.max(initial=1)) + 1
    present = np.unique(labels)
    if len(present) < 2 or not len(test_texts) or not any(text.strip() for text in train_texts):
        return majority(labels, classes, len(test_texts))
    features, train = fit_features(train_texts, rare=len(labels) >= 200)
    model = LogisticRegression(C=2.0, solver="lbfgs", max_iter=1000, random_state=0).fit(train, labels)
    table = np.zeros((len(test_texts), classes))
    table[:, present] = model.predict_proba(features.transform(test_texts))
    return table


def fit_tfidf(texts: Sequence[str], labels: Int64, n_classes: int) -> Tfidf:
    """The classifier of `tfidf_logistic` as one to keep; arguments as there."""
    present = np.unique(labels)
    weights, bias = np.zeros((0, n_classes)), np.full(n_classes, NEVER)
    if len(present) < 2 or not any(text.strip() for text in texts):
        bias = np.log(np.maximum(majority(labels, n_classes, 1)[0], math.exp(NEVER)))
        return Tfidf({}, {}, *(part.astype(np.float32) for part in (np.zeros(0), weights, bias)))
    features, table = fit_features(texts, rare=len(labels) >= 200)
    model = LogisticRegression(C=2.0, solver="lbfgs", max_iter=1000, random_state=0).fit(table, labels)
    parts = dict(features.transformer_list) if hasattr(features, "transformer_list") else {"tfidfvectorizer-2": features}
    grams: list[dict[str, int]] = []
    for name in ("tfidfvectorizer-1", "tfidfvectorizer-2"):
        first = sum(map(len, grams))
        found = parts[name].vocabulary_ if name in parts else {}
        grams.append({gram: first + int(found[gram]) for gram in sorted(found, key=found.__getitem__)})
    rarity = np.concatenate([part.idf_ for part in parts.values()])
    weights, bias[present] = np.zeros((len(rarity), n_classes)), 0.0
    if len(present) == 2:  # one row of weights, for the second
        weights[:, present[1]], bias[present[1]] = model.coef_[0], model.intercept_[0]
    else:
        weights[:, present], bias[present] = model.coef_.T, model.intercept_
    return Tfidf(grams[0], grams[1], *(part.astype(np.float32) for part in (rarity, weights, bias)))


def fit_features(texts: Sequence[str], rare: bool) -> tuple[Any, Any]:
    """The fitted features and those of `texts` [rows, features].

    `rare`: leave out what hardly occurs. These limits and C = 2 were chosen by 5 folds of the Kaggle training file.
    """
    words = TfidfVectorizer(ngram_range=WORDS, token_pattern=WORD, min_df=2 if rare else 1, sublinear_tf=True)
    characters = TfidfVectorizer(ngram_range=CHARACTERS, analyzer="char_wb", min_df=3 if rare else 1, sublinear_tf=True)
    try:
        features = make_union(words, characters)
        return features, features.fit_transform(texts)
    except ValueError:  # scikit-learn's word for "no word left": texts of emoji alone
        return characters.set_params(min_df=1), characters.fit_transform(texts)
