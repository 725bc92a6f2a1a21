"""The fine-tuning stage: measure by folds, calibrate, then make the detector to keep.

The detector is trained on every row, for as many epochs as the folds took to be best, and its probabilities are brought to the
temperature that fits the rows measured on. With `distill` it is the student of all seeds, measured in the same folds; with
`tfidf` TF-IDF decides beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bongsu.files import atomic_folder, write_json
from bongsu.finetuning.cross_validation import Finetuning, together
from bongsu.finetuning.data import Labelled, read_labelled
from bongsu.finetuning.distillation import Distillation
from bongsu.finetuning.splits import Split
from bongsu.finetuning.trainable import probabilities
from bongsu.inference.calibration import at_temperature, calibrated_by_folds, temperature
from bongsu.inference.tfidf import product
from bongsu.model.io import save_classifier
from bongsu.recipe import Recipe
from bongsu.tokens.bpe import save_tokenizer
from bongsu.tokens.inputs import encode
from bongsu.training.loop import OnEvaluation

Float64 = npt.NDArray[np.float64]
LOG = "metrics.jsonl"


def finetune(recipe: Recipe, encoder_folder: Path, folder: Path, on_evaluation: OnEvaluation | None = None) -> dict[str, Any]:
    """Fine-tunes the encoder in `encoder_folder`; `on_evaluation` is told every evaluation of every fold.

    Leaves in `folder`: `fold-N/` with each fold's checkpoints and `result.json` (more seeds: `fold-N-seed-S/`; with `distill`
    `fold-N-student/`), `model/` (the detector), `predictions.json` (for each row measured: its probabilities), and `test.json`
    when the recipe names a labelled test file.
    """
    settings = recipe.finetune
    assert settings is not None
    data = read_labelled(settings, settings.train, settings.where)
    test = read_labelled(settings, settings.test, settings.test_where, data.classes) if settings.test else None
    work = Finetuning(recipe, settings, encoder_folder, folder, data, on_evaluation)
    splits = work.splits()
    members = [
        [work.measure(split, number, seed, len(splits)) for number, split in enumerate(splits)]
        for seed in range(settings.seeds)
    ]
    students: list[dict[str, Any]] = []
    if settings.distill:
        distillation = Distillation(work, settings.distill)
        students = [
            distillation.measure(split, number, [results[number] for results in members]) for number, split in enumerate(splits)
        ]
        detector = distillation.refit(members, students)
    else:
        detector = work.refit(members[0]) if settings.refit else work.best(work.member(0, 0), members[0][0])

    measured = out_of_fold(data, splits, [students] if students else members)
    if students:
        measured["curves"] = [str(Path(f"fold-{number}-student") / "checkpoints" / LOG) for number in range(len(splits))]
        taught = [{**student, "probabilities": student["teacher"], "beside": None} for student in students]
        measured["teacher"] = out_of_fold(data, splits, [taught])["uncalibrated"]
        measured["members"] = out_of_fold(data, splits, members)["seeds"]
    beside = work.beside(np.arange(len(work.ids)) if settings.refit else work.rows(splits[0], 0)[0])
    temperature_of_each = measured["temperature"] * (2 if beside else 1)  # the mean of two logits, then its temperature
    detector.divide_logits(temperature_of_each)
    details = {
        "classes": data.classes,
        "names": [settings.names.get(name, name) for name in data.classes],
        "context": settings.context,
        "text": settings.text,
        "id": settings.id,
        "max_length": settings.max_length,
        "threshold": recipe.evaluate.resolved_threshold,
        "cleaning": settings.cleaning.model_dump(),
    }
    with atomic_folder(folder / "model") as model_folder:
        save_classifier(model_folder, detector, details)
        save_tokenizer(work.tokenizer, model_folder, settings.max_length)
        if beside:
            beside = beside.divided(temperature_of_each)
            beside.save(model_folder)
    write_json(folder / "predictions.json", measured)
    if test is not None:
        predicted: Float64 = probabilities(detector, encode(work.tokenizer, test.texts, settings.max_length))
        if beside:
            predicted = product(predicted, beside.probabilities(test.texts)).astype(np.float64)
        write_json(folder / "test.json", {**_rows(test), "probabilities": predicted.tolist()})
    return {"folds": [result["figures"] for result in students or members[0]]}


def out_of_fold(data: Labelled, splits: list[Split], results: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """Every row measured, once, in the order of the file, for `predictions.json`.

    The temperature of a fold is chosen on the other folds' rows, that of a hold-out on its development split; the detector's
    own on all rows measured.
    """
    fold_of = np.full(len(data.labels), -1, dtype=np.int64)
    members = np.zeros((len(results), len(data.labels), len(data.classes)))
    alone = np.zeros_like(members)
    for seed, folds_ in enumerate(results):
        for number, ((_, held), result) in enumerate(zip(splits, folds_, strict=True)):
            fold_of[held] = number
            members[seed, held] = together(result)
            alone[seed, held] = result["probabilities"]
    rows = np.flatnonzero(fold_of >= 0)
    labels, members, fold = data.labels[rows], members[:, rows], fold_of[rows]
    if len(splits) > 1:
        calibrated = [calibrated_by_folds(labels, member, fold)[0] for member in members]
    else:
        calibrated = [_by_development(member, folds_[0]) for member, folds_ in zip(members, results, strict=True)]
    return {
        **_rows(data),
        "rows": rows.tolist(),
        "fold": fold.tolist(),
        "probabilities": calibrated[0].tolist(),
        "uncalibrated": members[0].tolist(),
        "seeds": [member.tolist() for member in calibrated],
        "encoder": [member.tolist() for member in alone[:, rows]],
        "temperature": temperature(labels, members[0]),
        "splits": [{"train": train.tolist(), "held": held.tolist()} for train, held in splits],
        "curves": [str(Path(f"fold-{number}") / "checkpoints" / LOG) for number in range(len(splits))],
        "epochs": [result["epochs"] for result in results[0]],
        "explained": {row: words for result in results[0] for row, words in result["explained"].items()},
        "robustness": _together([result["robustness"] for result in results[0]]),
    }


def _together(folds_: list[dict[str, dict[str, int]]]) -> list[dict[str, Any]]:
    """The share of verdicts that each kind of change flips, over all folds."""
    table = []
    for name in folds_[0]:
        texts, flipped = (sum(fold[name][key] for fold in folds_) for key in ("texts", "flipped"))
        table.append({"change": name, "texts": texts, "flipped": flipped / max(1, texts)})
    return table


def _by_development(predicted: Float64, result: dict[str, Any]) -> Float64:
    development = result["development"]
    table = np.array(development["probabilities"]).reshape(-1, predicted.shape[1])
    return at_temperature(predicted, temperature(np.array(development["labels"], dtype=np.int64), table))


def _rows(data: Labelled) -> dict[str, Any]:
    return {
        "classes": data.classes,
        "ids": data.ids,
        "texts": data.texts,
        "raw": data.raw,
        "labels": data.labels.tolist(),
    }
