"""One trial: the recipe of a point, run through the pipeline up to the stage that decides, with what other trials share."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bongsu.errors import BongsuError, TrainingError
from bongsu.files import read_json, write_json
from bongsu.finetuning.trainable import figures
from bongsu.pipeline.running import run
from bongsu.pipeline.stages import stages
from bongsu.search.ledger import Ledger, Record, Status
from bongsu.search.study import Trial
from bongsu.training.checkpoints import checkpoints
from bongsu.training.log import read_log
from bongsu.workspace import Workspace

SHARED = "shared"
"""The folder of a search where stages lie that trials have in common."""
CHANGES = "changes.json"

Report = Callable[[dict[str, float]], None]


def run_trial(ledger: Ledger, trial: Trial, name: str, report: Report, population: bool = False) -> Record:
    """Runs a trial to its end, going on from where it was stopped, and records what came of it.

    Args:
        name: of its folder; in a population the point changes on the way and the name does not.
        report: told the figures of each evaluation of the stage that decides, and `step`.
        population: whether other trials take over this one's weights: then the outcome is not decided by the recipe alone,
            and the stage is not shared.
    """
    study, folder = ledger.plan.study, ledger.folder(name)
    recipe = ledger.plan.recipe(trial)
    store = ledger.out / SHARED

    def listen(stage: str, step: int, measured: dict[str, float]) -> None:
        if stage == study.stage:
            report({**measured, "step": step})

    start = time.perf_counter()
    status: Status
    try:
        if population:
            run(recipe, folder, "encode", store)
        run(recipe, folder, study.stage, None if population else store, listen)
    except (BongsuError, MemoryError, RuntimeError) as error:
        status, reason, measured = _what_went_wrong(error), str(error), {}
    else:
        status, reason, measured = "finished", "", outcome(folder, study.stage)
    spent = Workspace(folder).seconds(study.stage)
    record = ledger.end(
        trial,
        status,
        reason,
        name,
        figures=measured,
        seconds=time.perf_counter() - start if spent is None else spent,
        changes=read_json(folder / CHANGES) if population and (folder / CHANGES).is_file() else [],
    )
    if not study.keep_weights:
        drop_checkpoints(folder)
    return record


def outcome(folder: Path, stage: str) -> dict[str, float]:
    """The figures of a finished trial: of the last evaluation (pretrain), or over all rows held out (finetune)."""
    if stage == "pretrain":
        log = read_log(folder / "pretrain" / "checkpoints" / "metrics.jsonl")
        last = next(record for record in reversed(log) if "validation_loss" in record)
        return {key.removeprefix("validation_"): value for key, value in last.items() if key.startswith("validation_")}
    data = read_json(folder / "finetune" / "predictions.json")
    return figures(np.array(data["labels"])[data["rows"]], np.array(data["probabilities"]))


def rows_right(folder: Path) -> dict[int, bool]:
    """Of a trial of fine-tuning: whether its verdict on each row held out is right."""
    data = read_json(folder / "finetune" / "predictions.json")
    right = np.array(data["probabilities"]).argmax(axis=1) == np.array(data["labels"])[data["rows"]]
    return dict(zip(data["rows"], right.tolist(), strict=True))


def curves(folder: Path, stage: str) -> list[list[dict[str, float]]]:
    """The logs of a trial: one of pre-training, one a fold of fine-tuning."""
    pattern = "checkpoints/metrics.jsonl" if stage == "pretrain" else "fold-*/checkpoints/metrics.jsonl"
    return [read_log(path) for path in sorted((folder / stage).resolve().glob(pattern))]


def drop_checkpoints(folder: Path) -> None:
    """Deletes the checkpoints of finished stages; their curves, figures and models stay."""
    for stage in ("pretrain", "finetune"):
        if (folder / stage / "stage.json").is_file():
            for checkpoint in (folder / stage).resolve().rglob("step-*"):
                shutil.rmtree(checkpoint, ignore_errors=True)


def at_its_end(ledger: Ledger, name: str) -> bool:
    """Whether a trial's pre-training has done its last step."""
    newest = checkpoints(ledger.folder(name) / "pretrain" / "checkpoints")[:1]
    return bool(newest) and bool(read_json(newest[0] / "state.json")["state"]["finished"])


def take_over(ledger: Ledger, trial: Trial, name: str, donor: Path) -> None:
    """Puts a donor's pre-training (its stage folder) in the place of a trial's own, to go on with the trial's settings."""
    folder = ledger.folder(name)
    workspace = Workspace(folder)
    stage = next(stage for stage in stages(ledger.plan.recipe(trial), workspace) if stage.name == "pretrain")
    workspace.hand_over(stage, donor)
    step = read_log(donor / "checkpoints" / "metrics.jsonl")[-1]["step"]
    before = read_json(folder / CHANGES) if (folder / CHANGES).is_file() else []
    write_json(folder / CHANGES, [*before, {"step": step, **trial.point}])


def _what_went_wrong(error: Exception) -> Status:
    """Raises the error again when it is a bug."""
    if _ran_out(error):
        return "out of memory"
    if isinstance(error, TrainingError):
        return "diverged"
    if isinstance(error, BongsuError):
        return "failed"
    raise error


def _ran_out(error: BaseException | None) -> bool:
    """Whether memory ran out: on a GPU, or on the CPU, where PyTorch has no error of its own for it."""
    if error is None:
        return False
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    told = isinstance(error, RuntimeError) and ("not enough memory" in str(error) or "t allocate memory" in str(error))
    return told or _ran_out(error.__cause__)
