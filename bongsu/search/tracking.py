"""The curves of trials for TensorBoard and MLflow, read from the `metrics.jsonl` that training writes anyway."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import Any, Protocol

from bongsu.errors import BongsuError
from bongsu.search.ledger import Ledger, Record
from bongsu.search.space import label
from bongsu.search.study import Trial
from bongsu.search.trial import curves

Lines = list[dict[str, float]]

_FOLDER, _TOLD = "bongsu.folder", "bongsu.lines"
_AT_A_TIME = 1000  # metrics that a tracking server takes in one request


class Tracker(Protocol):
    """Whoever wants to see the curves grow."""

    def update(self, name: str, trial: Trial) -> None:
        """Called whenever a trial has reported; `name`: of its folder."""

    def end(self, name: str, record: Record | None) -> None:
        """Called when a trial has ended; without a record it was stopped on the way."""


class _Logs:
    """Hands on the lines that are new."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.told: dict[str, int] = {}
        """Lines that were handed on, by curve."""

    def parts(self, name: str) -> dict[str, Lines]:
        """All lines of each curve of a trial: one of pre-training, one a fold of fine-tuning."""
        stage = self.ledger.plan.study.stage
        logs = curves(self.ledger.folder(name), stage)
        return {name if stage == "pretrain" else f"{name}/fold-{number}": lines for number, lines in enumerate(logs)}

    def new(self, part: str, lines: Lines) -> Lines:
        told, self.told[part] = self.told.get(part, 0), len(lines)
        return lines[told:]


class TensorBoard:
    """`tensorboard --logdir OUT/tensorboard`."""

    def __init__(self, ledger: Ledger) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Callable[[str], Any] = SummaryWriter
        self._logs = _Logs(ledger)
        self._open: dict[str, Any] = {}

    def update(self, name: str, trial: Trial) -> None:
        for part, lines in self._logs.parts(name).items():
            writer = self._open.get(part) or self._begin(part, trial)
            for line in self._logs.new(part, lines):
                for key, value in _scalars(line).items():
                    writer.add_scalar(key, value, int(line["step"]))
            writer.flush()

    def end(self, name: str, record: Record | None) -> None:
        for part in _of(name, self._open):
            self._open.pop(part).close()

    def _begin(self, part: str, trial: Trial) -> Any:
        """A curve is told from its first line, so what an earlier session told of it goes."""
        folder = self._logs.ledger.out / "tensorboard" / part
        shutil.rmtree(folder, ignore_errors=True)
        self._open[part] = self._writer(str(folder))
        self._open[part].add_text("settings", f"{trial}, seed {trial.seed}")
        return self._open[part]


class MLflow:
    """One MLflow run a curve, in an experiment of the study's name. A search that goes on goes on with its runs."""

    def __init__(self, ledger: Ledger, uri: str) -> None:
        """
        Args:
            uri: of a tracking server, or of a store that MLflow opens itself.

        Raises:
            BongsuError: when it cannot be logged to.
        """
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        self._logs = _Logs(ledger)
        name = ledger.plan.study.name
        try:
            self._client = MlflowClient(uri)
            experiment = self._client.get_experiment_by_name(name)
            self._experiment = experiment.experiment_id if experiment else self._client.create_experiment(name)
        except (MlflowException, ImportError) as error:
            raise BongsuError(f"--mlflow {uri}: cannot be logged to ({str(error).splitlines()[0]})") from None
        self._runs: dict[str, str] = {}

    def update(self, name: str, trial: Trial) -> None:
        from mlflow.entities import Metric

        for part, lines in self._logs.parts(name).items():
            run = self._runs.get(part) or self._begin(part, trial)
            now = int(1000 * time.time())
            metrics = [
                Metric(key, value, now, int(line["step"]))
                for line in self._logs.new(part, lines)
                for key, value in _scalars(line).items()
            ]
            for start in range(0, len(metrics), _AT_A_TIME):
                self._client.log_batch(run, metrics=metrics[start : start + _AT_A_TIME])
            self._client.set_tag(run, _TOLD, len(lines))

    def end(self, name: str, record: Record | None) -> None:
        status = "KILLED" if record is None else "FINISHED" if record.status in ("finished", "stopped") else "FAILED"
        for part in _of(name, self._runs):
            run = self._runs.pop(part)
            if record is not None:
                self._client.set_tag(run, "bongsu.status", f"{record.status} {record.reason}".strip())
            self._client.set_terminated(run, status)

    def _begin(self, part: str, trial: Trial) -> str:
        """The run of a curve: that of an earlier session, or a new one."""
        place = str((self._logs.ledger.out / "trials" / part).resolve())
        found = self._client.search_runs([self._experiment], f"tags.`{_FOLDER}` = '{place}'", max_results=1)
        if found:
            run = str(found[0].info.run_id)
            self._client.update_run(run, status="RUNNING")
            self._logs.told[part] = int(found[0].data.tags.get(_TOLD, 0))
        else:
            run = str(self._client.create_run(self._experiment, run_name=part, tags={_FOLDER: place}).info.run_id)
            for key, value in {**trial.point, "seed": trial.seed}.items():
                self._client.log_param(run, key, label(value))
        self._runs[part] = run
        return run


def _of(name: str, parts: dict[str, Any]) -> list[str]:
    """The curves of a trial."""
    return [part for part in parts if part.partition("/")[0] == name]


def _scalars(line: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in line.items() if key != "step" and isinstance(value, int | float)}
