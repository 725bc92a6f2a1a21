"""One trial: the recipe of a point, run up to the stage that decides; stages that trials share are run once."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import torch

from bongsu.errors import BongsuError, TrainingError
from bongsu.finetuning.data import Data, load_data
from bongsu.finetuning.ensemble import Measured, load_measured
from bongsu.pipeline.running import run
from bongsu.recipe import load_recipe
from bongsu.search.ledger import Ledger, Record, Status
from bongsu.search.study import Trial
from bongsu.training.log import read_log
from bongsu.workspace import Workspace

SHARED = "shared"
"""The folder of a search with the stages that trials share."""

Report = Callable[[dict[str, float]], None]


def run_trial(ledger: Ledger, trial: Trial, report: Report) -> Record:
    """Run a trial to its end, or resume it, and record the result.

    Args:
        report: called with the metrics of each evaluation of the stage that decides, and `step`.
    """
    study, folder = ledger.plan.study, ledger.folder(trial.name)
    recipe = ledger.plan.recipe(trial)
    store = ledger.out / SHARED

    def listen(stage: str, step: int, measured: dict[str, float]) -> None:
        if stage == study.stage:
            report({**measured, "step": step})

    start = time.perf_counter()
    status: Status
    try:
        run(recipe, folder, study.stage, store, listen)
    except (BongsuError, MemoryError, RuntimeError) as error:
        status, reason, measured = _status_of(error), str(error), {}
    else:
        status, reason, measured = "finished", "", outcome(folder, study.stage)
    spent = Workspace(folder).seconds("pretrain" if study.stage == "pretrain" else "finetune/folds")
    record = ledger.end(
        trial,
        status,
        reason,
        metrics=measured,
        seconds=time.perf_counter() - start if spent is None else spent,
    )
    if not study.keep_weights:
        drop_checkpoints(folder)
    return record


def outcome(folder: Path, stage: str) -> dict[str, float]:
    """Return the metrics of a finished trial: of the last evaluation (pretrain), or over all rows held out (finetune)."""
    if stage == "pretrain":
        log = read_log(folder / "pretrain" / "checkpoints" / "metrics.jsonl")
        last = next(record for record in reversed(log) if "validation_loss" in record)
        return {key.removeprefix("validation_"): value for key, value in last.items() if key.startswith("validation_")}
    data, measured = _measured(folder)
    return dict(data.task.score(data.take(measured.rows), measured.seeds[0], measured.calibration))


def row_scores(folder: Path) -> dict[int, float]:
    """Return the main metric of each row that a trial of fine-tuning held out, such as 1 for a right answer."""
    data, measured = _measured(folder)
    statistics = data.task.statistics(data.take(measured.rows), measured.seeds[0], measured.calibration)
    return dict(zip(measured.rows.tolist(), data.task.main_metric(statistics).tolist(), strict=True))


def _measured(folder: Path) -> tuple[Data, Measured]:
    recipe = load_recipe(folder / "recipe.toml")
    return load_data(recipe, folder / "finetune" / "data"), load_measured(folder / "finetune" / "model")


def curves(folder: Path, stage: str) -> list[list[dict[str, float]]]:
    """Return the logs of a trial: one of pre-training, one a fold of fine-tuning."""
    pattern = "checkpoints/metrics.jsonl" if stage == "pretrain" else "folds/fold-*/checkpoints/metrics.jsonl"
    return [read_log(path) for path in sorted((folder / stage).glob(pattern))]


def drop_checkpoints(folder: Path) -> None:
    """Delete the checkpoints of finished stages; their curves, metrics and models stay."""
    for stage in ("pretrain", "finetune"):
        if (folder / stage / "stage.json").is_file():
            for checkpoint in (folder / stage).resolve().rglob("step-*"):
                shutil.rmtree(checkpoint, ignore_errors=True)


def _status_of(error: Exception) -> Status:
    """Return the status for an error; raise it again when it is a bug."""
    if _ran_out(error):
        return "out of memory"
    if isinstance(error, TrainingError):
        return "diverged"
    if isinstance(error, BongsuError):
        return "failed"
    raise error


def _ran_out(error: BaseException | None) -> bool:
    """Return whether memory ran out: on a GPU, or on the CPU, where PyTorch has no error type for it."""
    if error is None:
        return False
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    out_of_memory = isinstance(error, RuntimeError) and ("not enough memory" in str(error) or "t allocate memory" in str(error))
    return out_of_memory or _ran_out(error.__cause__)
