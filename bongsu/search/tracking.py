"""The curves of trials for TensorBoard and MLflow, read from the `metrics.jsonl` that training writes anyway."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from bongsu.errors import BongsuError
from bongsu.search.ledger import Ledger
from bongsu.search.space import label
from bongsu.search.study import Trial
from bongsu.search.trial import curves

Records = list[dict[str, float]]


class Tracker(Protocol):
    """Whoever wants to see the curves grow."""

    def update(self, name: str, trial: Trial) -> None:
        """Called whenever a trial has reported; `name`: of its folder."""


class _Logs:
    """Hands on the lines that are new."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._told: dict[tuple[str, int], int] = {}

    def new(self, name: str) -> list[tuple[str, Records]]:
        """What each curve of a trial has gained: one of pre-training, one a fold of fine-tuning."""
        stage = self.ledger.plan.study.stage
        found = []
        for number, records in enumerate(curves(self.ledger.folder(name), stage)):
            told = self._told.get((name, number), 0)
            self._told[name, number] = len(records)
            part = name if stage == "pretrain" else f"{name}/fold-{number}"
            found.append((part, records[told:]))
        return found


class TensorBoard:
    """`tensorboard --logdir OUT/tensorboard`."""

    def __init__(self, ledger: Ledger) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Callable[[str], Any] = SummaryWriter
        self._logs = _Logs(ledger)
        self._open: dict[str, Any] = {}

    def update(self, name: str, trial: Trial) -> None:
        for part, records in self._logs.new(name):
            if part not in self._open:
                self._open[part] = self._writer(str(self._logs.ledger.out / "tensorboard" / part))
                self._open[part].add_text("settings", str(trial))
            for record in records:
                for key, value in _scalars(record).items():
                    self._open[part].add_scalar(key, value, int(record["step"]))
            self._open[part].flush()


class MLflow:
    """One MLflow run a trial, in an experiment of the study's name; `uri` of a tracking server."""

    def __init__(self, ledger: Ledger, uri: str) -> None:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        self._logs = _Logs(ledger)
        name = ledger.plan.study.name
        try:
            self._client = MlflowClient(uri)
            experiment = self._client.get_experiment_by_name(name)
        except (MlflowException, ImportError) as error:
            raise BongsuError(f"--mlflow {uri}: cannot be logged to ({str(error).splitlines()[0]})") from None
        self._experiment = experiment.experiment_id if experiment else self._client.create_experiment(name)
        self._runs: dict[str, str] = {}

    def update(self, name: str, trial: Trial) -> None:
        for part, records in self._logs.new(name):
            if part not in self._runs:
                run = self._client.create_run(self._experiment, run_name=part)
                self._runs[part] = run.info.run_id
                for key, value in {**trial.point, "seed": trial.seed}.items():
                    self._client.log_param(run.info.run_id, key, label(value))
            for record in records:
                for key, value in _scalars(record).items():
                    self._client.log_metric(self._runs[part], key, value, step=int(record["step"]))


def _scalars(record: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in record.items() if key != "step" and isinstance(value, int | float)}
