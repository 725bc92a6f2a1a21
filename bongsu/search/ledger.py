"""The records of trials: one file a trial, written when it ends, from which a search resumes."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bongsu.errors import RecipeError, WorkspaceError
from bongsu.files import read_json, write_json
from bongsu.search.feasibility import memory_bytes, why
from bongsu.search.space import Point, contains
from bongsu.search.study import Plan, Trial

Status = Literal["finished", "stopped", "diverged", "out of memory", "infeasible", "invalid", "failed"]
"""`stopped`: ended early by the scheduler; `infeasible`: not started, too large; `invalid`: no valid recipe."""
REFUSED: tuple[Status, ...] = ("infeasible", "invalid")
"""Of trials that were not started."""

BEGUN = "trial.json"


class Record(BaseModel):
    """A trial that has ended."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    point: Point
    seed: int
    status: Status
    reason: str = ""
    metrics: dict[str, float] = Field(default={}, alias="figures")
    """Of the objective's stage, such as `accuracy`."""
    seconds: float = 0.0
    """Of work on this trial alone, without shared stages."""
    bytes: float | None = None
    """Estimated memory."""

    @property
    def trial(self) -> Trial:
        return Trial(self.point, self.seed)


class Ledger:
    """The records of a search, and which trials may start."""

    def __init__(self, plan: Plan, out: Path, available_bytes: float, device: str) -> None:
        """
        Args:
            out: the search's folder.
            available_bytes: memory a trial may take.
            device: "cpu" or "cuda", for the estimate.
        """
        self.plan, self.out, self.available_bytes, self.device = plan, out, available_bytes, device

    def folder(self, name: str) -> Path:
        """Return the run's folder of a trial."""
        return self.out / "trials" / name

    def read(self, name: str) -> Record | None:
        """Return the record of a trial that has ended, or None.

        Raises:
            WorkspaceError: when its record cannot be read.
        """
        path = self._path(name)
        return _record(path, path.stat().st_mtime_ns) if path.is_file() else None

    def end(self, trial: Trial, status: Status, reason: str = "", name: str | None = None, **more: Any) -> Record:
        """Record that a trial has ended. `name`: of its folder, where that is not its own; `more`: fields of `Record`."""
        record = Record(point=trial.point, seed=trial.seed, status=status, reason=reason, bytes=self.needed(trial), **more)
        write_json(self._path(name or trial.name), record.model_dump(by_alias=True))
        return record

    def begin(self, trial: Trial) -> None:
        """Note the point of a trial, for a search that resumes before it has ended."""
        write_json(self.folder(trial.name) / BEGUN, {"point": trial.point, "seed": trial.seed})

    def begun(self) -> dict[str, Trial]:
        """Return the trials that have begun and not ended, by name."""
        found = {path.parent.name: Trial(**read_json(path)) for path in sorted((self.out / "trials").glob(f"*/{BEGUN}"))}
        space = self.plan.study.space
        return {name: trial for name, trial in found.items() if contains(space, trial.point) and not self._path(name).is_file()}

    def records(self) -> dict[str, Record]:
        """Return every trial of the study's space that has ended, by name.

        Raises:
            WorkspaceError: when a record cannot be read.
        """
        found = {path.stem: _record(path, path.stat().st_mtime_ns) for path in sorted((self.out / "trials").glob("*.json"))}
        return {name: record for name, record in found.items() if contains(self.plan.study.space, record.point)}

    def needed(self, trial: Trial) -> float | None:
        """Return the estimated memory; None when the point is no valid recipe."""
        try:
            return memory_bytes(self.plan.recipe(trial), self.device)
        except RecipeError:
            return None

    def refuse(self, trial: Trial) -> Record | None:
        """Record why a trial must not start and return that; None when it may."""
        try:
            needed = memory_bytes(self.plan.recipe(trial), self.device)
        except RecipeError as error:
            return self.end(trial, "invalid", why(error))
        full = [record.bytes for record in self.records().values() if record.status == "out of memory" and record.bytes]
        if needed > self.available_bytes:
            limit = f"has {self.available_bytes / 1e9:.1f} GB"
        elif full and needed >= min(full):
            limit = f"a trial of {min(full) / 1e9:.1f} GB ran out of memory"
        else:
            return None
        return self.end(trial, "infeasible", f"needs about {needed / 1e9:.1f} GB, and {limit}")

    def judge_again(self) -> None:
        """Delete the records of trials that failed or were refused and may start now, such as on a larger device."""
        for name, record in self.records().items():
            if record.status == "failed":
                self._path(name).unlink()
            elif record.status in REFUSED:
                self._path(name).unlink()
                self.refuse(record.trial)

    def _path(self, name: str) -> Path:
        return self.out / "trials" / f"{name}.json"


@cache
def _record(path: Path, changed: int) -> Record:
    """Read a record, cached until it changes: a search reads all of them before each trial."""
    try:
        return Record.model_validate(read_json(path))
    except ValueError:
        raise WorkspaceError(f"{path}: not a record of a trial. Delete it, and its trial is run again.") from None
