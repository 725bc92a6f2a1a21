"""The learning curves of a search's trials, for TensorBoard and MLflow."""

from __future__ import annotations

from bongsu.search.ledger import Ledger, Record
from bongsu.search.space import label
from bongsu.search.study import Trial
from bongsu.search.trial import curves
from bongsu.training.tracking import Lines, Status, Tracker


class TrialCurves:
    """Logs the curves of trials: one of pre-training, or one a fold of fine-tuning."""

    def __init__(self, ledger: Ledger, trackers: list[Tracker]) -> None:
        self.ledger, self.trackers = ledger, trackers

    def update(self, name: str, trial: Trial) -> None:
        """Log what is new of a trial; `name`: of its folder."""
        settings: dict[str, object] = {key: label(value) for key, value in trial.point.items()}
        settings["seed"] = trial.seed
        for curve, lines in self._curves(name).items():
            for tracker in self.trackers:
                tracker.update(curve, lines, settings)

    def end(self, name: str, record: Record | None) -> None:
        """Close the curves of a trial that has ended; without a record it was interrupted."""
        status: Status = "KILLED" if record is None else "FINISHED" if record.status in ("finished", "stopped") else "FAILED"
        words = "" if record is None else f"{record.status} {record.reason}".strip()
        for curve in self._curves(name):
            for tracker in self.trackers:
                tracker.end(curve, status, words)

    def _curves(self, name: str) -> dict[str, Lines]:
        stage = self.ledger.plan.study.stage
        logs = curves(self.ledger.folder(name), stage)
        return {name if stage == "pretrain" else f"{name}/fold-{number}": lines for number, lines in enumerate(logs)}
