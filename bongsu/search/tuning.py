"""Running a search on Ray Tune.

A search resumes from its own folder, not Ray's: the ledger has the trials that have ended, and a trial that was stopped is a
run like any other, which resumes from its checkpoints.

    OUT/
      study.json          what the records below are of
      trials/NAME/        a run's folder; NAME.json its record
      shared/             stages that trials share, by fingerprint
      report.html         results.md, best.toml
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import orjson
import ray
import torch
from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from bongsu import progress
from bongsu.cluster import LOCAL, SMALL, connected
from bongsu.errors import WorkspaceError
from bongsu.files import read_json, redacted, write_json
from bongsu.search.inputs import file_fingerprints
from bongsu.search.ledger import Ledger
from bongsu.search.searchers import NAME, SEED, Listed, Parzen
from bongsu.search.space import Arms, Point, label
from bongsu.search.study import Plan, Trial
from bongsu.search.tracking import TrialCurves
from bongsu.search.trial import run_trial
from bongsu.training.tracking import Tracker
from bongsu.workspace import Workspace

_PLACE = "place"  # what a trial takes one of, where their number is limited
# Ray Tune's own ways of logging, and of telling users about itself, have no place here.
_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that diverges has no metric
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # paths in a recipe are relative to the current folder
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
}


def search(
    ledger: Ledger, address: str | None = None, trackers: list[Tracker] | None = None, at_once: int | None = None
) -> None:
    """Run the trials that have not ended; `Ledger.records` has the results.

    Args:
        address: of a Ray cluster whose machines share the search's folder; by default this machine alone.
        at_once: trials at a time on this machine; by default as many as its cores and GPUs allow.

    Raises:
        WorkspaceError: when the folder holds another study, or another search is at work in it.
    """
    study, out = ledger.plan.study, ledger.out
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    places = {"resources": {_PLACE: at_once}} if at_once else {}
    with Workspace(out).locked(), connected(address or LOCAL, **SMALL, **places), _terminated_as_interrupted():
        _claim(ledger)
        ledger.judge_again()
        shutil.rmtree(out / "ray", ignore_errors=True)
        resources = {"cpu": study.resources.cpus, "gpu": study.resources.gpus, **({_PLACE: 1} if at_once else {})}
        searcher = (Parzen if study.search.searcher == "tpe" else Listed)(ledger)
        total = None if study.search.searcher == "tpe" else len(ledger.plan.trials())
        with progress.bar(study.name, total or study.search.trials * study.seeds, "trials", done=len(ledger.records())) as bar:
            tune.Tuner(
                tune.with_resources(partial(_run, ledger=ledger, cwd=os.getcwd()), resources),
                param_space={},
                tune_config=tune.TuneConfig(
                    metric=study.metric,
                    mode=study.mode,
                    search_alg=searcher,
                    scheduler=_scheduler(ledger.plan),
                    num_samples=-1,
                    reuse_actors=True,
                    time_budget_s=3600 * study.search.hours if study.search.hours else None,
                ),
                run_config=tune.RunConfig(
                    name="search", storage_path=str((out / "ray").resolve()), verbose=0,
                    callbacks=[_Watch(ledger, bar, TrialCurves(ledger, trackers or []))],
                ),
            ).fit()  # fmt: skip
        shutil.rmtree(out / "ray", ignore_errors=True)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C, which Ray Tune handles; Ray itself would abort the process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _trial(ledger: Ledger, config: Point) -> Trial:
    """Return the trial of a Ray Tune configuration."""
    return Trial({key: config[key] for key in ledger.plan.study.space}, config[SEED])


def _run(config: Point, ledger: Ledger, cwd: str) -> None:
    """Run a trial, in a process of its own."""
    os.chdir(cwd)
    torch.set_num_threads(max(1, int(ledger.plan.study.resources.cpus)))
    trial = _trial(ledger, config)
    if ledger.refuse(trial) is not None:  # Ray asks for trials ahead: one that ran out of memory since then rules this one out
        return
    ledger.begin(trial)
    record = run_trial(ledger, trial, lambda measured: tune.report(dict(measured)))
    if record.metrics:  # the last evaluation
        tune.report(dict(record.metrics))


class _Watch(tune.Callback):
    """Keeps the ledger, the bar and the curves up to date."""

    def __init__(self, ledger: Ledger, bar: progress.Bar, curves: TrialCurves) -> None:
        self.ledger, self.bar, self.curves = ledger, bar, curves
        hours = ledger.plan.study.search.hours
        self.end = time.monotonic() + 3600 * hours if hours else float("inf")

    def __getstate__(self) -> dict[str, object]:
        """Return nothing: a search resumes from the ledger, not from Ray's state."""
        return {}

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any) -> None:
        self.curves.update(trial.config[NAME], _trial(self.ledger, trial.config))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        name = trial.config[NAME]
        if self.ledger.read(name) is None and time.monotonic() < self.end:  # the scheduler has ended it
            result = trial.last_result
            self.ledger.end(
                _trial(self.ledger, trial.config),
                "stopped",
                f"by the scheduler at step {result['step']:,}",
                name,
                metrics={key: value for key, value in result.items() if key in self.ledger.plan.metrics},
                seconds=float(result["time_total_s"]),
            )
        record = self.ledger.read(name)
        if record is not None and record.status in ("failed", "diverged"):
            what = ", ".join(f"{key} {label(value)}" for key, value in record.point.items())
            progress.warn(progress.escape(f"{what}, seed {record.seed}: {record.status}: {record.reason}"))
        self.curves.end(name, record)
        self.bar.advance(1, name)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        name, error = trial.config[NAME], trial.get_error()
        if isinstance(getattr(error, "cause", error), ray.exceptions.OutOfMemoryError):
            self.ledger.end(_trial(self.ledger, trial.config), "out of memory", str(error), name)
        else:
            shown = progress.escape(str(error))
            progress.warn(f"trial {name} ended without a result; the same command tries it again:\n{shown}")
        self.curves.end(name, self.ledger.read(name))


def _scheduler(plan: Plan) -> TrialScheduler:
    search = plan.study.search
    if search.scheduler == "asha":
        return AsyncHyperBandScheduler(max_t=10**6, grace_period=search.grace, reduction_factor=search.reduction)
    return FIFOScheduler()


def _claim(ledger: Ledger) -> None:
    """Make sure that what lies in the folder belongs to this study: how long and by what means to search may change, what is
    measured, and the files it is measured on, may not.

    Raises:
        WorkspaceError: when it belongs to another study, or a file has changed since.
    """
    plan = ledger.plan
    arms = {name: domain.arms for name, domain in plan.study.space.items() if isinstance(domain, Arms)}
    mine = orjson.loads(orjson.dumps({"recipe": plan.tree, "objective": plan.study.objective, "arms": arms}))
    files = file_fingerprints(plan)
    path = ledger.out / "study.json"
    if path.is_file():
        before = read_json(path)
        known = before.pop("files", {})
        if before != mine:
            raise WorkspaceError(f"{ledger.out}: holds trials of another study, or of this one with another recipe; use --out.")
        if changed := [name for name, fingerprint in files.items() if known.get(name, fingerprint) != fingerprint]:
            raise WorkspaceError(
                f"{ledger.out}: {redacted(changed[0])} has changed since trials were run here; what they measured cannot be "
                "compared with new ones. Use --out for a search on the new files, or delete the folder to begin anew."
            )
        files = {**known, **files}
    write_json(path, {**mine, "files": files})
