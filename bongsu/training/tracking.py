"""The curves of a training for TensorBoard and MLflow, read from the `metrics.jsonl` that it writes anyway."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol

from bongsu.errors import BongsuError, need
from bongsu.training.log import read_log

CHECKPOINTS = "checkpoints"
"""The folder, in that of a training, where its log lies."""
Lines = list[dict[str, float]]
Status = Literal["FINISHED", "FAILED", "KILLED"]

_FOLDER, _HANDED_ON = "bongsu.folder", "bongsu.lines"
_AT_A_TIME = 1000  # metrics that a tracking server takes in one request


class Tracker(Protocol):
    """Whoever wants to see the curves grow."""

    def update(self, curve: str, lines: Lines, settings: dict[str, object]) -> None:
        """Hand on the lines of a curve that are new.

        Args:
            lines: all there are so far.
            settings: what the curve is of.
        """

    def end(self, curve: str, status: Status, words: str = "") -> None:
        """Close a curve, if it was begun; "KILLED": it was stopped on the way."""


class TensorBoard:
    """`tensorboard --logdir FOLDER`."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            MissingExtraError: when TensorBoard is not installed.
        """
        need("tensorboard", "track")
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Callable[[str], Any] = SummaryWriter
        self._folder = folder
        self._open: dict[str, Any] = {}
        self._handed_on: dict[str, int] = {}

    def update(self, curve: str, lines: Lines, settings: dict[str, object]) -> None:
        writer = self._open.get(curve) or self._begin(curve, settings)
        for line in lines[self._handed_on[curve] :]:
            for key, value in _scalars(line).items():
                writer.add_scalar(key, value, int(line["step"]))
        self._handed_on[curve] = len(lines)
        writer.flush()

    def end(self, curve: str, status: Status, words: str = "") -> None:
        if curve in self._open:
            self._open.pop(curve).close()

    def _begin(self, curve: str, settings: dict[str, object]) -> Any:
        """Begin a curve with its first line: what an earlier session handed on of it goes."""
        folder = self._folder / curve
        shutil.rmtree(folder, ignore_errors=True)
        self._handed_on[curve] = 0
        self._open[curve] = self._writer(str(folder))
        self._open[curve].add_text("settings", ", ".join(f"{key} {value}" for key, value in settings.items()))
        return self._open[curve]


class MLflow:
    """One MLflow run a curve. A training that goes on goes on with its runs."""

    def __init__(self, uri: str, experiment: str, folder: Path) -> None:
        """
        Args:
            uri: of a tracking server, or of a store that MLflow opens itself.
            experiment: its name.
            folder: of the training, which tells its curves from those of others.

        Raises:
            MissingExtraError: when MLflow is not installed.
            BongsuError: when it cannot be logged to.
        """
        need("mlflow", "track")
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        try:
            self._client = MlflowClient(uri)
            found = self._client.get_experiment_by_name(experiment)
            self._experiment = found.experiment_id if found else self._client.create_experiment(experiment)
        except (MlflowException, ImportError) as error:
            raise BongsuError(f"--mlflow {uri}: cannot be logged to ({str(error).splitlines()[0]})") from None
        self._folder = folder
        self._runs: dict[str, str] = {}
        self._handed_on: dict[str, int] = {}

    def update(self, curve: str, lines: Lines, settings: dict[str, object]) -> None:
        from mlflow.entities import Metric

        run = self._runs.get(curve) or self._begin(curve, settings)
        now = int(1000 * time.time())
        metrics = [
            Metric(key, value, now, int(line["step"]))
            for line in lines[self._handed_on[curve] :]
            for key, value in _scalars(line).items()
        ]
        for start in range(0, len(metrics), _AT_A_TIME):
            self._client.log_batch(run, metrics=metrics[start : start + _AT_A_TIME])
        self._handed_on[curve] = len(lines)
        self._client.set_tag(run, _HANDED_ON, len(lines))

    def end(self, curve: str, status: Status, words: str = "") -> None:
        if curve in self._runs:
            run = self._runs.pop(curve)
            if words:
                self._client.set_tag(run, "bongsu.status", words)
            self._client.set_terminated(run, status)

    def _begin(self, curve: str, settings: dict[str, object]) -> str:
        """Return the run of a curve: that of an earlier session, or a new one."""
        place = str((self._folder / curve).resolve())
        found = self._client.search_runs([self._experiment], f"tags.`{_FOLDER}` = '{place}'", max_results=1)
        if found:
            run = str(found[0].info.run_id)
            self._client.update_run(run, status="RUNNING")
            self._handed_on[curve] = int(found[0].data.tags.get(_HANDED_ON, 0))
        else:
            run = str(self._client.create_run(self._experiment, run_name=curve, tags={_FOLDER: place}).info.run_id)
            self._handed_on[curve] = 0
            for key, value in settings.items():
                self._client.log_param(run, key, value)
        self._runs[curve] = run
        return run


class RunCurves:
    """The curves of a run's training stages, handed on while they grow; a context that closes them."""

    def __init__(self, run: Path, trackers: list[Tracker], settings: dict[str, object]) -> None:
        self._run, self._trackers, self._settings = run, trackers, settings
        self._begun: dict[str, None] = {}

    def __enter__(self) -> RunCurves:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.update()
        stopped = kind is not None and not issubclass(kind, Exception)
        status: Status = "KILLED" if stopped else "FAILED" if kind else "FINISHED"
        for curve in self._begun:
            for tracker in self._trackers:
                tracker.end(curve, status, str(error or ""))

    def update(self) -> None:
        """Hand on what is new."""
        for path in sorted(self._run.rglob(f"{CHECKPOINTS}/metrics.jsonl")):
            stage = path.parent.parent.relative_to(self._run)
            curve = "/".join(part.removeprefix(".").removesuffix(".tmp") for part in stage.parts)
            self._begun[curve] = None
            for tracker in self._trackers:
                tracker.update(curve, read_log(path), self._settings)


def _scalars(line: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in line.items() if key != "step" and isinstance(value, int | float)}
