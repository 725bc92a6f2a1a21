"""Many classifiers, kept as one: a student that learns what they say together of texts without labels (Hinton et al. 2015)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bongsu import progress
from bongsu.corpus.cleaning import Cleaner
from bongsu.corpus.dedup import twins_of
from bongsu.corpus.readers import Problems, read
from bongsu.errors import DataError
from bongsu.files import read_json, write_json
from bongsu.finetuning.baselines import tfidf_logistic
from bongsu.finetuning.cross_validation import Finetuning
from bongsu.finetuning.selection import most_like
from bongsu.finetuning.splits import Split, distinct
from bongsu.finetuning.trainable import Classification, Encoded, figures, probabilities
from bongsu.inference.calibration import ensemble
from bongsu.model.heads import Classifier
from bongsu.recipe import Distill
from bongsu.tokens.inputs import encode
from bongsu.training.loop import load_best, train

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
STUDENT_SEED = 500  # the student's first weights are no teacher's


@dataclass
class Distillation:
    """What the students of all folds share."""

    work: Finetuning
    settings: Distill

    def __post_init__(self) -> None:
        self.texts = unlabelled(self.settings, self.work)
        self.ids = encode(self.work.tokenizer, self.texts, self.work.settings.max_length)
        progress.note(f"distill: {len(self.texts):,} texts without labels, those most like the task's own")

    def measure(self, split: Split, number: int, members: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The student of a fold's classifiers, measured on the fold's other rows; what is done is not done again.

        Args:
            members: the fold's results, one a seed.
        """
        work = self.work
        folder = work.folder / f"fold-{number}-student"
        if (folder / "result.json").is_file():
            return dict(read_json(folder / "result.json"))
        held = split[1]
        training, development = work.rows(split, number)
        of_held = [np.array(result["probabilities"]) for result in members]
        of_texts = [
            probabilities(work.best(work.member(number, seed), result), self.ids) for seed, result in enumerate(members)
        ]
        if self.settings.tfidf:
            table = self._tfidf(training, [*(work.texts[row] for row in held), *self.texts])
            of_held.append(table[: len(held)])
            of_texts.append(table[len(held) :])
        teacher = ensemble(*of_held)
        task = self._task(training, work.take(development), ensemble(*of_texts), number)
        title = f"student {number + 1}"
        state = train(task, work.plan(task, title, self.settings.epochs), work.settings, folder / "checkpoints")
        load_best(folder / "checkpoints", task.model, state)
        beside = work.beside(training)
        result = work.outcome(task, state, held, development, beside)
        taught = figures(work.data.labels[held], teacher)
        progress.note(f"{title}: accuracy {result['figures']['accuracy']:.3f}, its teachers together {taught['accuracy']:.3f}")
        result |= work.examined(task.detector, beside, held, result, number, work.settings.examine)
        result["teacher"] = teacher.tolist()
        write_json(folder / "result.json", result)
        return result

    def refit(self, members: Sequence[Sequence[dict[str, Any]]], students: Sequence[dict[str, Any]]) -> Classifier:
        """The student to keep: its teachers, and it, saw every row.

        Args:
            members: results by seed and fold.
            students: results by fold.
        """
        work = self.work
        rows = np.arange(len(work.ids))
        said = [probabilities(work.refit(list(results), seed), self.ids) for seed, results in enumerate(members)]
        if self.settings.tfidf:
            said.append(self._tfidf(rows, self.texts))
        task = self._task(rows, Encoded([], np.zeros(0, dtype=np.int64)), ensemble(*said), 0)
        epochs = float(np.mean([result["epochs"] for result in students]))
        steps = max(1, round(epochs * task.batches_per_epoch / work.settings.accumulate))
        plan = dataclasses.replace(
            work.plan(task, "student", self.settings.epochs), stop_after=steps, patience=None, evaluate_every=10**9
        )
        train(task, plan, work.settings, work.folder / "student" / "checkpoints")
        return task.detector

    def _tfidf(self, rows: Int64, texts: Sequence[str]) -> Float64:
        rows, labels = distinct(self.work.cleaned, self.work.labels, rows)
        return tfidf_logistic([self.work.texts[row] for row in rows], labels, texts, n_classes=len(self.work.data.classes))

    def _task(self, rows: Int64, development: Encoded, soft: Float64, number: int) -> Classification:
        """Labelled rows with their labels, and the other texts with what the teachers say of them."""
        work = self.work
        rows, labels = distinct(work.cleaned, work.labels, rows)
        targets = np.concatenate([np.eye(soft.shape[1])[labels], soft]).astype(np.float32)
        seed = work.recipe.seed + number + STUDENT_SEED
        ids = [*(work.ids[row] for row in rows), *self.ids]
        return Classification(
            classifier=work.start(seed),
            training=Encoded(ids, targets.argmax(axis=1)),
            development=development,
            settings=work.settings,
            seed=seed,
            soft=targets,
        )


def unlabelled(settings: Distill, work: Finetuning) -> list[str]:
    """Cleaned texts of the sources, no near-twins of the task's and none twice: those most like the task's own.

    Raises:
        DataError: when none is left.
    """
    cleaner = Cleaner(work.settings.cleaning)
    found: dict[str, None] = {}
    for source in settings.sources:
        for document in read(source, Problems(source.max_bad)):
            if (text := cleaner.clean(document.text)) is not None:
                found[text] = None
    texts = list(found)
    # Twins are looked for among those that may be chosen: looking costs more than choosing.
    texts = [texts[row] for row in most_like(texts, work.cleaned, 2 * settings.texts)]
    twins = twins_of(texts, work.cleaned)
    texts = [text for text, twin in zip(texts, twins.tolist(), strict=True) if not twin]
    if not texts:
        raise DataError("finetune.distill.sources: no text is left that is not one of the task's own.")
    return [texts[row] for row in most_like(texts, work.cleaned, settings.texts)]
