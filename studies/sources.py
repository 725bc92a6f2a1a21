"""What other labels are worth to a linear classifier: TF-IDF alone, and with the scores of models of [intermediate]'s labels.

    python studies/sources.py RECIPE [--set KEY=VALUE ...]

For each label of the recipe's [intermediate] sources a linear model on their words learns to tell its texts from the rest; its
scores of the task's rows are features beside TF-IDF. Near-twins of those rows are left out of the sources. It takes minutes and
no encoder, and says beforehand whether a stage [intermediate] has anything to teach.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from bongsu.evaluation.bootstrap import paired_difference
from bongsu.finetuning.baselines import fit_features
from bongsu.finetuning.data import read_labelled
from bongsu.finetuning.intermediate import read_texts
from bongsu.finetuning.splits import distinct, folds, groups_of
from bongsu.recipe import load_recipe

WEIGHT = 0.5  # of a score beside a TF-IDF feature, when its deviation is one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--set", action="append", default=[])
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.recipe, arguments.set)
    task, intermediate = recipe.finetune, recipe.intermediate
    assert task is not None
    assert intermediate is not None, "the recipe needs a section [intermediate] with sources"
    data = read_labelled(task, task.train, task.where)
    assert len(data.classes) == 2, "two classes are needed"

    texts, sources, names = read_texts(intermediate, task)
    words = TfidfVectorizer(
        ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b|\[LINK\]|\[USER\]|[#!?]", min_df=3, sublinear_tf=True, dtype=np.float32
    )
    model = SGDClassifier(loss="log_loss", alpha=1e-6, max_iter=5, tol=None, random_state=0, class_weight="balanced")
    model.fit(words.fit_transform(texts), sources)
    scores = model.decision_function(words.transform(data.cleaned)).reshape(len(data.cleaned), -1)
    print(f"{len(texts):,} texts. ROC-AUC of each label's score alone:", flush=True)
    for name, score in zip(names if scores.shape[1] > 1 else names[1:], scores.T, strict=True):
        print(f"  {name}: {roc_auc_score(data.labels, score):.3f}", flush=True)
    scores = WEIGHT * StandardScaler().fit_transform(scores)

    alone, beside = np.zeros(len(data.labels)), np.zeros(len(data.labels))
    for train, held in folds(data.labels, groups_of(data.cleaned), task.folds, recipe.seed):
        rows, labels = distinct(data.cleaned, data.labels, train)
        features, fitted = fit_features([data.texts[row] for row in rows], rare=True)
        measured = features.transform([data.texts[row] for row in held])
        for result, one, other in (
            (alone, fitted, measured),
            (beside, sparse.hstack([fitted, scores[rows]]).tocsr(), sparse.hstack([measured, scores[held]]).tocsr()),
        ):
            classifier = LogisticRegression(C=2.0, max_iter=1000).fit(one, labels)
            result[held] = classifier.predict_proba(other)[:, 1]
    for name, result in (("TF-IDF", alone), ("with the scores", beside)):
        accuracy = float(((result > 0.5) == data.labels).mean())
        print(f"{name}: accuracy {accuracy:.4f}, ROC-AUC {roc_auc_score(data.labels, result):.4f}", flush=True)
    found = paired_difference(data.labels, (beside > 0.5).astype(np.int64), (alone > 0.5).astype(np.int64), seed=recipe.seed)
    low, high = found["interval"]
    print(f"difference {found['difference']:+.2f} points, 95 % interval {low:+.2f} to {high:+.2f}")


if __name__ == "__main__":
    main()
