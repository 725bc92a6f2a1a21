"""The last stage of fine-tuning: ensemble, calibration and thresholds, then the model folder.

Nothing is trained here, so a threshold, a name or the ensemble can change in seconds. Output: `config.json`, weights, tokenizer
and, in an ensemble, the files of TF-IDF; and `measured/` with calibrated outputs and diagnoses for the report.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bongsu import progress
from bongsu.arrays import Float32, Float64, Int64
from bongsu.evaluation.robustness import FlipCount, count_flips, sum_flips
from bongsu.files import atomic_file, read_json, record_hashes, write_json
from bongsu.finetuning.baselines import Baseline, Baselines
from bongsu.finetuning.cross_validation import CrossValidation, FoldOutputs, load_outputs, save_outputs
from bongsu.finetuning.data import AnyExample, Data
from bongsu.inference.explain import Word
from bongsu.inference.predictor import ModelDetails, Predictor
from bongsu.inference.torch_backend import TorchBackend
from bongsu.model.io import load_task_model, save_task_model
from bongsu.tasks.registry import AnyTask
from bongsu.tasks.task import Calibration, Outputs, RowCalibration
from bongsu.tokens.bpe import TOKENIZER, TOKENIZER_CONFIG

MEASURED = "measured"
EXPLAINED_ERRORS = 20  # of a fold
ROBUSTNESS_ROWS = 300  # of a fold


class Calibrated(NamedTuple):
    """Calibrated outputs, with the calibration that decides their answers."""

    probabilities: Outputs
    calibration: Calibration


@dataclass(frozen=True)
class Measured:
    """Outputs of the model on rows that it was not trained on."""

    rows: Int64
    """[N], numbers of the training rows that were measured, in the order of the file."""
    fold: Int64
    """[N], the fold that measured each."""
    raw: Outputs
    """Of the first seed, not calibrated."""
    seeds: list[Outputs]
    """Of each seed, calibrated on other rows than those measured."""
    encoder: Outputs
    """Of the first seed's encoder without TF-IDF, not calibrated."""
    calibrations: list[Calibration]
    """Of each fold, for the first seed."""
    final: Calibration
    """Of the model that is kept."""
    test: Outputs
    """Of the model that is kept on the test rows, calibrated; empty without a test file."""
    explanations: dict[int, list[Word]]
    """The words that drove the most confident errors, by row."""
    flips: list[FlipCount]
    """How many answers change with perturbations that should not matter."""
    epochs: list[float]
    """Of each fold, after how many its first seed was best."""

    @property
    def calibration(self) -> Calibration:
        """The calibration of the measured rows, each by that of its fold."""
        return by_row(self.calibrations, self.fold)


def assemble(work: CrossValidation, baselines: Baselines, refitted: Path, folder: Path) -> None:
    """Combine and calibrate the model, diagnose it, and write the model folder."""
    data, task, folds = work.data, work.task, work.load()
    ensemble = work.recipe.ensemble.tfidf and baselines.tfidf is not None
    if work.recipe.ensemble.tfidf and baselines.tfidf is None:
        progress.warn(f"ensemble.tfidf: a {task.kind} task has no TF-IDF baseline; the encoder decides alone")
    thresholds = task.fixed_thresholds(work.recipe.evaluate)
    rows, fold_of = _measured_rows(data)
    tfidf_outputs = _tfidf_outputs(work, baselines.tfidf, rows, folds[0][0]) if ensemble and baselines.tfidf else None
    members = [_members(work, seed, rows, fold_of, tfidf_outputs) for seed in folds]
    merged = [each.measured.merged(task, np.take(each.scales, fold_of)) for each in members]
    calibrations = [
        _calibrations(task, each, outputs, fold_of, thresholds) for each, outputs in zip(members, merged, strict=True)
    ]
    seeds = [_calibrated_by_fold(task, outputs, fold_of, chosen) for outputs, chosen in zip(merged, calibrations, strict=True)]
    measured_rows = members[0].measured
    scale = measured_rows.scale(task)
    final = task.calibrate(measured_rows.examples, measured_rows.merged(task, scale), thresholds)
    details = ModelDetails(task.settings, task.schema, final)
    model, _ = load_task_model(refitted)
    save_task_model(folder, model, details.to_dict())
    for name in (TOKENIZER, TOKENIZER_CONFIG):
        shutil.copyfile(refitted / name, folder / name)
    record_hashes(folder, TOKENIZER, TOKENIZER_CONFIG)
    tfidf = baselines.tfidf_model(None if work.settings.refit else 0) if ensemble else None
    if tfidf is not None:
        tfidf = tfidf.scaled(scale)
        tfidf.save(folder)
    predictor = Predictor(details, work.tokenizer, TorchBackend(model), tfidf)
    explanations, flips = _diagnose(work, baselines, folds[0], calibrations[0], members[0].scales if ensemble else [])
    measured = Measured(
        rows=rows,
        fold=fold_of,
        raw=merged[0],
        seeds=seeds,
        encoder=measured_rows.encoder,
        calibrations=calibrations[0],
        final=final,
        test=predictor.outputs_of(data.test),
        explanations=explanations,
        flips=flips,
        epochs=[fold.result.epochs for fold in folds[0]],
    )
    _save(measured, folder / MEASURED)


def load_measured(folder: Path) -> Measured:
    """Load what `assemble` measured, from its model folder."""
    folder = folder / MEASURED
    values = read_json(folder / "measured.json")
    return Measured(
        rows=np.load(folder / "rows.npy"),
        fold=np.load(folder / "fold.npy"),
        raw=load_outputs(folder / "raw"),
        seeds=[load_outputs(folder / f"seed-{seed}") for seed in range(values["seeds"])],
        encoder=load_outputs(folder / "encoder"),
        calibrations=[Calibration(**each) for each in values["calibrations"]],
        final=Calibration(**values["final"]),
        test=load_outputs(folder / "test"),
        explanations={int(row): [Word(**word) for word in words] for row, words in values["explanations"].items()},
        flips=[FlipCount(**each) for each in values["flips"]],
        epochs=values["epochs"],
    )


def _save(measured: Measured, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name, array in (("rows", measured.rows), ("fold", measured.fold)):
        with atomic_file(folder / f"{name}.npy") as file:
            np.save(file, array)
    for name, outputs in (("raw", measured.raw), ("encoder", measured.encoder), ("test", measured.test)):
        save_outputs(folder / name, outputs)
    for seed, outputs in enumerate(measured.seeds):
        save_outputs(folder / f"seed-{seed}", outputs)
    write_json(
        folder / "measured.json",
        {
            "seeds": len(measured.seeds),
            "calibrations": [asdict(each) for each in measured.calibrations],
            "final": asdict(measured.final),
            "explanations": {str(row): [asdict(word) for word in words] for row, words in measured.explanations.items()},
            "flips": [asdict(each) for each in measured.flips],
            "epochs": measured.epochs,
        },
    )


class _Rows(NamedTuple):
    """Examples that neither member of an ensemble was trained on, with the outputs of each."""

    examples: list[AnyExample]
    encoder: Outputs
    tfidf: Outputs | None

    def take(self, places: Int64) -> _Rows:
        """Return some of the examples."""
        examples = [self.examples[place] for place in places.tolist()]
        return _Rows(examples, self.encoder.take(places), self.tfidf.take(places) if self.tfidf else None)

    def scale(self, task: AnyTask) -> float:
        """Return the factor that makes TF-IDF's logits as confident as the encoder's: the ratio of their temperatures.

        A mean of logits would otherwise follow the member that is overconfident, not the one that is right.
        """
        if self.tfidf is None or not self.examples:
            return 1.0
        return task.calibrate(self.examples, self.encoder).temperature / task.calibrate(self.examples, self.tfidf).temperature

    def merged(self, task: AnyTask, scale: float | Float64) -> Outputs:
        """Return the outputs of the ensemble.

        Args:
            scale: TF-IDF's factor, of all examples or of each, [examples].
        """
        if self.tfidf is None:
            return task.merge([self.encoder])
        factors = np.repeat(np.broadcast_to(scale, len(self.examples)), self.tfidf.lengths).astype(np.float32)
        return task.merge([self.encoder, self.tfidf.with_values(self.tfidf.values * factors[:, None])])


class _Members(NamedTuple):
    """The outputs of the ensemble's members, for one seed."""

    measured: _Rows
    chosen_on: list[_Rows]
    """The rows that the scale and the calibration of each fold are chosen on."""
    scales: list[float]
    """Of each fold."""


def _measured_rows(data: Data) -> tuple[Int64, Int64]:
    """Return the rows that some fold measured, in the order of the file, and the fold of each."""
    fold_of = np.full(len(data.training), -1, dtype=np.int64)
    for fold, (_, held_out) in enumerate(data.splits):
        fold_of[held_out] = fold
    rows = np.flatnonzero(fold_of >= 0)
    return rows, fold_of[rows]


def in_file_order(data: Data, rows: Int64, folds: Sequence[Outputs]) -> Outputs:
    """Return the outputs of all folds as those of the measured rows, in the order of the file."""
    tables: dict[int, Float32] = {}
    for (_, held_out), outputs in zip(data.splits, folds, strict=True):
        tables.update(zip(held_out.tolist(), outputs.tables(), strict=True))
    return Outputs.of_tables([tables[row] for row in rows.tolist()], folds[0].values.shape[1])


def _tfidf_outputs(work: CrossValidation, tfidf: Baseline, rows: Int64, fold: FoldOutputs) -> tuple[Outputs, Outputs | None]:
    """Return TF-IDF's outputs for the measured rows and, of a hold-out, for its development split; the same for all seeds.

    On the development split the fold's own TF-IDF, which has learned from it, would look more confident than it is.
    """
    task, data = work.task, work.data
    measured = in_file_order(data, rows, tfidf.folds)
    if len(data.splits) > 1:
        return measured, None
    learned = data.take(np.setdiff1d(data.splits[0][0], fold.development_rows))
    return measured, task.tfidf_outputs(task.fit_tfidf(task.unique(learned)), data.take(fold.development_rows))


def _members(
    work: CrossValidation,
    folds: Sequence[FoldOutputs],
    rows: Int64,
    fold_of: Int64,
    tfidf_outputs: tuple[Outputs, Outputs | None] | None,
) -> _Members:
    """Return the outputs of the ensemble's members for the measured rows and for those that scales are chosen on."""
    task, data = work.task, work.data
    tfidf, tfidf_development = tfidf_outputs or (None, None)
    measured = _Rows(data.take(rows), in_file_order(data, rows, [fold.held_out for fold in folds]), tfidf)
    if len(folds) > 1:
        chosen_on = [measured.take(np.flatnonzero(fold_of != fold)) for fold in range(len(folds))]
    else:
        chosen_on = [_Rows(data.take(folds[0].development_rows), folds[0].development, tfidf_development)]
    return _Members(measured, chosen_on, [each.scale(task) for each in chosen_on])


def _calibrations(
    task: AnyTask, members: _Members, merged: Outputs, fold_of: Int64, thresholds: list[float]
) -> list[Calibration]:
    """Return each fold's calibration, chosen on the other folds' rows; of a hold-out on its development split."""
    if len(members.chosen_on) == 1:
        [development], [scale] = members.chosen_on, members.scales
        return [task.calibrate(development.examples, development.merged(task, scale), thresholds)]
    return _cross_calibrate(task, members.measured.examples, merged, fold_of, thresholds)


def calibrate_by_fold(task: AnyTask, examples: Sequence[AnyExample], outputs: Outputs, fold_of: Int64) -> Calibrated:
    """Return a baseline's calibrated outputs; thresholds, where the kind needs them, are chosen on the other folds' rows.

    Args:
        fold_of: [N], the fold of each example, from 0.
    """
    if not task.calibrates_baselines:
        return Calibrated(task.probabilities(outputs, Calibration()), Calibration())
    chosen = _cross_calibrate(task, examples, outputs, fold_of)
    return Calibrated(_calibrated_by_fold(task, outputs, fold_of, chosen), by_row(chosen, fold_of))


def cross_calibrated(task: AnyTask, examples: Sequence[AnyExample], outputs: Outputs, fold_of: Int64) -> Outputs:
    """Return outputs calibrated on the other folds' rows; of a single fold, as they are.

    Args:
        fold_of: [N], the fold of each example, from 0.
    """
    return _calibrated_by_fold(task, outputs, fold_of, _cross_calibrate(task, examples, outputs, fold_of))


def by_row(calibrations: Sequence[Calibration], fold_of: Int64) -> Calibration:
    """Return the calibration of rows [N] of several folds, given each fold's."""
    first = calibrations[0]
    if all(each.thresholds == first.thresholds for each in calibrations):
        return first
    table = np.array([each.thresholds for each in calibrations])
    return RowCalibration(thresholds=table.mean(axis=0).tolist(), by_row=table[fold_of])


def _cross_calibrate(
    task: AnyTask, examples: Sequence[AnyExample], outputs: Outputs, fold_of: Int64, thresholds: Sequence[float] = ()
) -> list[Calibration]:
    """Return each fold's calibration, chosen on the other folds' rows."""
    others = [np.flatnonzero(fold_of != fold) for fold in range(int(fold_of.max()) + 1)]
    return [task.calibrate([examples[row] for row in other.tolist()], outputs.take(other), thresholds) for other in others]


def _calibrated_by_fold(task: AnyTask, outputs: Outputs, fold_of: Int64, calibrations: Sequence[Calibration]) -> Outputs:
    """Return calibrated outputs, each fold's by its own calibration."""
    tables: list[Float32] = [np.zeros((0, 0), dtype=np.float32)] * len(outputs)
    for fold, calibration in enumerate(calibrations):
        mine = np.flatnonzero(fold_of == fold)
        for row, table in zip(mine.tolist(), task.probabilities(outputs.take(mine), calibration).tables(), strict=True):
            tables[row] = table
    return Outputs.of_tables(tables, tables[0].shape[1])


def _diagnose(
    work: CrossValidation,
    baselines: Baselines,
    folds: Sequence[FoldOutputs],
    calibrations: Sequence[Calibration],
    scales: Sequence[float],
) -> tuple[dict[int, list[Word]], list[FlipCount]]:
    """Explain the most confident errors and count flipped answers; empty unless `validation.diagnose`."""
    task, data = work.task, work.data
    if not (work.recipe.validation.diagnose and task.explains):
        return {}, []
    explanations: dict[int, list[Word]] = {}
    flips: list[list[FlipCount]] = []
    with progress.bar("diagnose", len(folds), "folds") as bar:
        for fold, calibration in zip(folds, calibrations, strict=True):
            number = fold.result.fold
            tfidf = baselines.tfidf_model(number) if scales else None
            tfidf = tfidf.scaled(scales[number]) if tfidf else None
            details = ModelDetails(task.settings, task.schema, calibration)
            predictor = Predictor(details, work.tokenizer, TorchBackend(work.best_model(fold.result)), tfidf)
            held_out = data.splits[number][1]
            examples = data.take(held_out)
            errors = task.confident_errors(examples, predictor.outputs_of(examples))
            for row, output in errors[:EXPLAINED_ERRORS]:
                explanations[int(held_out[row])] = predictor.explain_example(examples[row], output)
            flips.append(_flips(predictor, examples[:ROBUSTNESS_ROWS], number))
            bar.advance()
    return explanations, sum_flips(flips)


def _flips(predictor: Predictor, examples: Sequence[AnyExample], seed: int) -> list[FlipCount]:
    """Return how many answers to raw texts, without context, change under perturbations."""

    def answer(texts: Sequence[str]) -> list[str]:
        return [predictor.task.key_of(each) for each in predictor.predict(list(texts))]

    return count_flips([example.raw[0] for example in examples], answer, seed)
