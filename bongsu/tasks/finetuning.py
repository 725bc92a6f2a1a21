"""The fine-tuning stage: measure by folds or a hold-out, then train the detector to keep."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from bongsu import progress
from bongsu.errors import RecipeError
from bongsu.files import atomic_folder, read_json, write_json
from bongsu.model.heads import Classifier, CNNConfig
from bongsu.model.initialization import initialize
from bongsu.model.io import load_masked_lm, save_classifier
from bongsu.recipe import Recipe
from bongsu.tasks.classification import Classification, Encoded, figures, probabilities
from bongsu.tasks.labelled import Labelled, folds, groups_of, hold_out, read_labelled
from bongsu.tokens.bpe import UNK_ID, load_tokenizer, save_tokenizer
from bongsu.training.devices import resolve_device
from bongsu.training.loop import OnEvaluation, Plan, State, load_best, train

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


def encode(tokenizer: Tokenizer, texts: list[str], max_length: int) -> list[Int64]:
    """Ids of each text, at most `max_length`; a text without any becomes one [UNK]."""
    encodings = tokenizer.encode_batch_fast(texts)
    return [np.array(encoding.ids[:max_length] or [UNK_ID], dtype=np.int64) for encoding in encodings]


def finetune(recipe: Recipe, encoder_folder: Path, folder: Path, on_evaluation: OnEvaluation | None = None) -> dict[str, Any]:
    """Fine-tunes the encoder in `encoder_folder`; `on_evaluation` is told every evaluation of every fold.

    Leaves in `folder`: `fold-N/` with each fold's checkpoints and `result.json`, `model/` (the detector), `predictions.json`
    (for each row measured: its probabilities), and `test.json` when the recipe names a labelled test file.
    """
    settings = recipe.finetune
    assert settings is not None
    tokenizer = load_tokenizer(encoder_folder)
    data = read_labelled(settings, settings.train, settings.where)
    test = read_labelled(settings, settings.test, settings.test_where, data.classes) if settings.test else None
    ids = encode(tokenizer, data.texts, settings.max_length)
    groups = groups_of(data.texts)
    if settings.folds:
        splits = folds(data.labels, groups, settings.folds, recipe.seed)
    else:
        splits = [hold_out(data.labels, groups, settings.holdout, recipe.seed)]

    results = []
    for number, (rows, held) in enumerate(splits):
        part = folder / f"fold-{number}"
        fold = _measure(recipe, encoder_folder, data, ids, groups, rows, held, part, number, len(splits), on_evaluation)
        results.append(fold)
    if settings.refit:
        epochs = float(np.mean([result["epochs"] for result in results]))
        detector = _refit(recipe, encoder_folder, data, ids, epochs, folder / "final")
    else:
        detector = _start(recipe, encoder_folder, len(data.classes))
        load_best(folder / "fold-0" / "checkpoints", detector, State(**results[0]["state"]))

    details = {
        "classes": data.classes,
        "names": [settings.names.get(name, name) for name in data.classes],
        "context": settings.context,
        "text": settings.text,
        "id": settings.id,
        "max_length": settings.max_length,
        "threshold": recipe.evaluate.threshold,
        "cleaning": settings.cleaning.model_dump(),
    }
    with atomic_folder(folder / "model") as model_folder:
        save_classifier(model_folder, detector, details)
        save_tokenizer(tokenizer, model_folder, settings.max_length)
    _write_predictions(folder / "predictions.json", data, splits, results)
    if test is not None:
        _write_test(folder / "test.json", test, data, detector, encode(tokenizer, test.texts, settings.max_length))
    return {"folds": [result["figures"] for result in results]}


def _measure(
    recipe: Recipe,
    encoder_folder: Path,
    data: Labelled,
    ids: list[Int64],
    groups: Int64,
    rows: Int64,
    held: Int64,
    folder: Path,
    number: int,
    count: int,
    on_evaluation: OnEvaluation | None,
) -> dict[str, Any]:
    """Trains on `rows`, measures on `held`; a fold that is done is not done again."""
    if (folder / "result.json").is_file():
        return dict(read_json(folder / "result.json"))
    settings = recipe.finetune
    assert settings is not None
    kept, development = hold_out(data.labels[rows], groups[rows], settings.development, recipe.seed + number)
    task = Classification(
        model=_start(recipe, encoder_folder, len(data.classes), seed=number),
        training=_take(ids, data.labels, rows[kept]),
        development=_take(ids, data.labels, rows[development]),
        settings=settings,
        seed=recipe.seed + number,
    )
    plan = _plan(recipe, task, f"fold {number + 1}/{count}" if settings.folds else "finetune")
    state = train(task, plan, settings, folder / "checkpoints", on_evaluation)
    load_best(folder / "checkpoints", task.model, state)
    predicted = probabilities(task.model, [ids[row] for row in held])
    measured = figures(data.labels[held], predicted)
    progress.note(f"{plan.title}: accuracy {measured['accuracy']:.3f}, F1 {measured['f1']:.3f} on {len(held):,} rows held out")
    result = {
        "figures": measured,
        "probabilities": predicted.tolist(),
        "epochs": (state.best_step or state.step) / task.batches_per_epoch,
        "state": dataclasses.asdict(state),
    }
    write_json(folder / "result.json", result)
    return result


def _refit(recipe: Recipe, encoder_folder: Path, data: Labelled, ids: list[Int64], epochs: float, folder: Path) -> Classifier:
    """The detector: trained on every row, for as long as the folds took to be best."""
    settings = recipe.finetune
    assert settings is not None
    everything = Encoded(ids, data.labels)
    task = Classification(_start(recipe, encoder_folder, len(data.classes)), everything, everything, settings, recipe.seed)
    steps = max(1, round(epochs * task.batches_per_epoch))
    plan = dataclasses.replace(_plan(recipe, task, "final"), stop_after=steps, patience=None, evaluate_every=10**9)
    train(task, plan, settings, folder / "checkpoints")
    return task.model


def _plan(recipe: Recipe, task: Classification, title: str) -> Plan:
    settings = recipe.finetune
    assert settings is not None
    return Plan(
        steps=settings.epochs * task.batches_per_epoch // settings.accumulate or 1,
        evaluate_every=max(1, task.batches_per_epoch // settings.accumulate),
        monitor=settings.metric,
        higher_is_better=settings.metric != "loss",
        patience=settings.patience,
        seed=recipe.seed,
        title=title,
    )


def _start(recipe: Recipe, encoder_folder: Path, classes: int, seed: int = 0) -> Classifier:
    """The pre-trained encoder under a fresh head, with layers removed and frozen as the recipe says."""
    settings = recipe.finetune
    assert settings is not None
    encoder = load_masked_lm(encoder_folder).encoder
    if settings.max_length > encoder.config.max_length:  # what the recipe cannot know when the encoder is a folder of its own
        longest = encoder.config.max_length
        raise RecipeError(f"finetune.max_length: {settings.max_length} is more than the encoder's {longest} positions")
    classifier = Classifier(encoder, CNNConfig.from_recipe(settings, classes))
    initialize(classifier.head, recipe.seed + seed)
    if settings.remove_last:
        classifier.remove_last(settings.remove_last)
    if settings.freeze:
        classifier.freeze(settings.unfreeze_last)
    return classifier.to(resolve_device(settings.device))


def _take(ids: list[Int64], labels: Int64, rows: Int64) -> Encoded:
    return Encoded([ids[row] for row in rows], labels[rows])


def _write_predictions(path: Path, data: Labelled, splits: list[tuple[Int64, Int64]], results: list[dict[str, Any]]) -> None:
    """Every row measured, once, in the order of the file."""
    fold_of = np.full(len(data.labels), -1, dtype=np.int64)
    predicted = np.zeros((len(data.labels), len(data.classes)))
    for number, ((_, held), result) in enumerate(zip(splits, results, strict=True)):
        fold_of[held] = number
        predicted[held] = result["probabilities"]
    rows = np.flatnonzero(fold_of >= 0)
    write_json(
        path,
        {
            "classes": data.classes,
            "rows": rows.tolist(),
            "fold": fold_of[rows].tolist(),
            "probabilities": predicted[rows].tolist(),
            "splits": [{"train": train.tolist(), "held": held.tolist()} for train, held in splits],
            "texts": data.texts,
            "raw": data.raw,
            "ids": data.ids,
            "labels": data.labels.tolist(),
            "curves": [str(Path(f"fold-{number}") / "checkpoints" / "metrics.jsonl") for number in range(len(splits))],
            "epochs": [result["epochs"] for result in results],
        },
    )


def _write_test(path: Path, test: Labelled, data: Labelled, detector: Classifier, ids: list[Int64]) -> None:
    predicted = probabilities(detector, ids)
    write_json(
        path,
        {
            "classes": data.classes,
            "probabilities": predicted.tolist(),
            "texts": test.texts,
            "raw": test.raw,
            "ids": test.ids,
            "labels": test.labels.tolist(),
        },
    )
