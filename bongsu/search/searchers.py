"""Sources of trials: a list of points, or those that Optuna's TPE asks for, each with every seed; not infeasible ones."""

from __future__ import annotations

import math
from collections import deque
from statistics import fmean
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from ray.tune.search import Searcher

from bongsu.search.ledger import REFUSED, Ledger, Record
from bongsu.search.space import LogRange, Point, Range, Space
from bongsu.search.study import Trial

NAME, SEED = "bongsu.trial", "bongsu.seed"  # in the configuration of a trial, with its settings
ASKED_PER_POINT = 50  # infeasible points that TPE may ask for until the search ends


class Suggestions(Searcher):
    """Ray Tune's source of trials. Trials that ended in an earlier session are skipped."""

    def __init__(self, ledger: Ledger) -> None:
        study = ledger.plan.study
        super().__init__(metric=study.metric, mode=study.mode)
        self.ledger = ledger
        self.waiting: deque[Trial] = deque()
        self.running: dict[str, Trial] = {}

    def more(self) -> bool:
        """Queue more trials; return False when there are none."""
        return False

    def ended(self, trial: Trial) -> None:
        """Note that a trial has ended, or was refused."""

    def suggest(self, trial_id: str) -> Point | str:  # type: ignore[override]  # Ray: "dict | FINISHED | None"
        while self.waiting or self.more():
            trial = self.waiting.popleft()
            if self.ledger.read(trial.name) is None and self.ledger.refuse(trial) is None:
                self.running[trial_id] = trial
                return configuration(trial)
            self.ended(trial)
        return str(Searcher.FINISHED)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.ended(self.running.pop(trial_id))

    def set_search_properties(self, metric: str | None, mode: str | None, config: Point, **spec: Any) -> bool:
        return True  # it knows

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Do nothing: a search resumes from the ledger."""


class Listed(Suggestions):
    """A grid, or a random search's draws."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.waiting.extend(ledger.plan.trials())


class Parzen(Suggestions):
    """Optuna's tree-structured Parzen estimator. A point is judged by the mean of its seeds; one that cannot run, or that
    diverges with any of them, counts as worse than all others."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        study = ledger.plan.study
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.space = study.space
        self.distributions = distributions(self.space)
        self.asked: dict[str, optuna.trial.Trial] = {}
        sampler = optuna.samplers.TPESampler(seed=study.search.seed, constant_liar=True)
        self.study = optuna.create_study(direction="minimize" if study.mode == "min" else "maximize", sampler=sampler)
        self.seeds = range(int(ledger.plan.tree.get("seed", 0)), int(ledger.plan.tree.get("seed", 0)) + study.seeds)
        self.left = study.search.trials
        self.patience = ASKED_PER_POINT * study.search.trials
        self._remember()

    def _remember(self) -> None:
        """Tell Optuna the results of earlier sessions, and queue the trials they began."""
        points = {record.trial.group: record.point for record in self.ledger.records().values()}
        points |= {trial.group: trial.point for trial in self.ledger.begun().values()}
        for group, point in points.items():
            trials = [Trial(point, seed) for seed in self.seeds]
            unfinished = [trial for trial in trials if self.ledger.read(trial.name) is None]
            value = self._value(trials)
            self.left -= value is not None or bool(unfinished)
            if unfinished:
                self.study.enqueue_trial(parameters(self.space, point))
                self.asked[group] = self.study.ask(self.distributions)
                self.waiting.extend(unfinished)
            else:
                state = TrialState.PRUNED if value is None else TrialState.COMPLETE
                self.study.add_trial(
                    optuna.trial.create_trial(
                        params=parameters(self.space, point), distributions=self.distributions, value=value, state=state
                    )
                )

    def more(self) -> bool:
        if self.left <= 0 or self.patience <= 0:
            return False
        self.patience -= 1
        asked = self.study.ask(self.distributions)
        trials = [Trial(point_of(self.space, asked.params), seed) for seed in self.seeds]
        self.asked[trials[0].group] = asked
        self.left -= 1
        self.waiting.extend(trials)
        return True

    def ended(self, trial: Trial) -> None:
        trials = [Trial(trial.point, seed) for seed in self.seeds]
        asked = self.asked.get(trial.group)
        records = [self.ledger.read(other.name) for other in trials]
        if asked is None or None in records:
            return
        del self.asked[trial.group]
        value = self._value(trials)
        self.study.tell(asked, value, state=TrialState.PRUNED if value is None else TrialState.COMPLETE)
        if all(record is not None and record.status in REFUSED for record in records):
            self.left += 1  # a refused point costs nothing

    def _value(self, trials: list[Trial]) -> float | None:
        """Return the mean over the seeds; None unless all of them have the metric."""
        values = [objective(self.ledger, self.ledger.read(trial.name)) for trial in trials]
        numbers = [value for value in values if value is not None]
        return fmean(numbers) if len(numbers) == len(values) else None


def objective(ledger: Ledger, record: Record | None) -> float | None:
    """Return the metric that decides, of a trial that finished or was stopped."""
    value = record.metrics.get(ledger.plan.study.metric) if record else None
    return value if value is not None and math.isfinite(value) else None


def configuration(trial: Trial, name: str | None = None) -> Point:
    """Return the configuration of a trial for Ray Tune; `name`: of its folder, where that is not its own."""
    return {NAME: name or trial.name, SEED: trial.seed, **trial.point}


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return the space for Optuna: listed values by index, since they may be tables."""
    found: dict[str, BaseDistribution] = {}
    for name, domain in space.items():
        if isinstance(domain, Range | LogRange):
            low, high = domain.ends
            kind = IntDistribution if domain.whole else FloatDistribution
            found[name] = kind(low, high, log=isinstance(domain, LogRange))  # type: ignore[arg-type]
        else:
            found[name] = CategoricalDistribution(range(len(domain.values())))
    return found


def parameters(space: Space, point: Point) -> Point:
    """Return a point as Optuna's parameters."""
    return {
        name: point[name] if isinstance(domain, Range | LogRange) else domain.values().index(point[name])
        for name, domain in space.items()
    }


def point_of(space: Space, chosen: Point) -> Point:
    """Return the point of Optuna's parameters."""
    return {
        name: chosen[name] if isinstance(domain, Range | LogRange) else domain.values()[chosen[name]]
        for name, domain in space.items()
    }
