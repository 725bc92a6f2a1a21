"""Training curves for TensorBoard and MLflow, read from `metrics.jsonl`."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol

from bongsu.errors import BongsuError, need
from bongsu.training.log import read_log

CHECKPOINTS = "checkpoints"
"""The subfolder of a training stage that holds its log."""
Lines = list[dict[str, float]]
Status = Literal["FINISHED", "FAILED", "KILLED"]

_FOLDER, _LOGGED = "bongsu.folder", "bongsu.lines"
_AT_A_TIME = 1000  # metrics that a tracking server takes in one request


class Tracker(Protocol):
    """A backend that curves are logged to."""

    def update(self, curve: str, lines: Lines, settings: dict[str, object]) -> None:
        """Log the new lines of a curve.

        Args:
            lines: all lines so far.
            settings: parameters of the curve.
        """

    def end(self, curve: str, status: Status, words: str = "") -> None:
        """Close a curve, if it was begun; "KILLED" when it was interrupted."""


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
        self._logged: dict[str, int] = {}

    def update(self, curve: str, lines: Lines, settings: dict[str, object]) -> None:
        writer = self._open.get(curve) or self._begin(curve, settings)
        for line in lines[self._logged[curve] :]:
            for key, value in _scalars(line).items():
                writer.add_scalar(key, value, int(line["step"]))
        self._logged[curve] = len(lines)
        writer.flush()

    def end(self, curve: str, status: Status, words: str = "") -> None:
        if curve in self._open:
            self._open.pop(curve).close()

    def _begin(self, curve: str, settings: dict[str, object]) -> Any:
        """Begin a curve with its first line; what an earlier session logged of it is deleted."""
        folder = self._folder / curve
        shutil.rmtree(folder, ignore_errors=True)
        self._logged[curve] = 0
        self._open[curve] = self._writer(str(folder))
        self._open[curve].add_text("settings", ", ".join(f"{key} {value}" for key, value in settings.items()))
        return self._open[curve]


class MLflow:
    """One MLflow run a curve. A resumed training continues its runs."""

    def __init__(self, uri: str, experiment: str, folder: Path) -> None:
        """
        Args:
            uri: of a tracking server, or of a store that MLflow opens itself.
            experiment: its name.
            folder: of the training, which identifies its curves.

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
        self._logged: dict[str, int] = {}

    def update(self, curve: str, lines: Lines, settings: dict[str, object]) -> None:
        from mlflow.entities import Metric

        run = self._runs.get(curve) or self._begin(curve, settings)
        now = int(1000 * time.time())
        metrics = [
            Metric(key, value, now, int(line["step"]))
            for line in lines[self._logged[curve] :]
            for key, value in _scalars(line).items()
        ]
        for start in range(0, len(metrics), _AT_A_TIME):
            self._client.log_batch(run, metrics=metrics[start : start + _AT_A_TIME])
        self._logged[curve] = len(lines)
        self._client.set_tag(run, _LOGGED, len(lines))

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
            self._logged[curve] = int(found[0].data.tags.get(_LOGGED, 0))
        else:
            run = str(self._client.create_run(self._experiment, run_name=curve, tags={_FOLDER: place}).info.run_id)
            self._logged[curve] = 0
            for key, value in settings.items():
                self._client.log_param(run, key, value)
        self._runs[curve] = run
        return run


class RunCurves:
    """The curves of a run's training stages, logged as training proceeds; a context manager that closes them."""

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
        """Log what is new."""
        for path in sorted(self._run.rglob(f"{CHECKPOINTS}/metrics.jsonl")):
            stage = path.parent.parent.relative_to(self._run)
            curve = "/".join(part.removeprefix(".").removesuffix(".tmp") for part in stage.parts)
            self._begun[curve] = None
            for tracker in self._trackers:
                tracker.update(curve, read_log(path), self._settings)


def _scalars(line: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in line.items() if key != "step" and isinstance(value, int | float)}
