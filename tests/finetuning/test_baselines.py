"""Baselines of a run: fitted on each fold's rows, kept, and read again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tiny_task import baselines_of, data_of, make
from tokenizers import Tokenizer

from bongsu.finetuning.data import Data
from bongsu.tasks.task import Calibration, Outputs


def probabilities(data: Data, outputs: Outputs) -> np.ndarray:
    return data.task.probabilities(outputs, Calibration()).values


def test_each_fold_has_its_own_and_the_test_rows_those_of_all_rows(tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("text,target\nthe flood number 9 in street 4,1\na song,0\n")
    data = data_of(make(tokenizer, tmp_path, task={"test": str(tmp_path / "test.csv")}), tmp_path)
    found = baselines_of(data, tmp_path)
    assert [each.name for each in found.all()] == ["majority class", "TF-IDF + logistic regression"]
    assert found.tfidf is not None
    wanted = [(fold, data.take(rows), data.take(held)) for fold, (rows, held) in enumerate(data.splits)]
    for fold, training, measured in [*wanted, (None, data.training, data.test)]:
        unique = data.task.unique(training)
        naive = found.naive.test if fold is None else found.naive.folds[fold]
        shares = np.bincount(data.task.strata(unique), minlength=2) / len(unique)
        np.testing.assert_allclose(probabilities(data, naive), np.tile(shares, (len(measured), 1)), atol=1e-6)
        tfidf = found.tfidf.test if fold is None else found.tfidf.folds[fold]
        model = data.task.fit_tfidf(unique)
        np.testing.assert_array_equal(tfidf.values, data.task.tfidf_outputs(model, measured).values)
        kept = found.tfidf_model(fold)
        assert kept is not None
        np.testing.assert_array_equal(data.task.tfidf_outputs(kept, measured).values, tfidf.values)


def test_without_test_rows_nothing_is_said_of_them(tokenizer: Tokenizer, tmp_path: Path) -> None:
    found = baselines_of(data_of(make(tokenizer, tmp_path), tmp_path), tmp_path)
    assert [len(each.test) for each in found.all()] == [0, 0]
