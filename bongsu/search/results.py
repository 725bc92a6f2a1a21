"""Results of a search: records grouped by point, with the spread over seeds, and the importance of settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances

from bongsu.search.ledger import Ledger, Record, Status
from bongsu.search.searchers import distributions, parameters
from bongsu.search.space import Point, label
from bongsu.search.study import Study

FEWEST_POINTS = 4
"""With fewer, importance is not computed."""


@dataclass(frozen=True)
class Spread:
    """A metric over seeds."""

    mean: float
    deviation: float | None
    """Standard deviation of the sample; None of a single seed."""
    count: int


@dataclass(frozen=True)
class Result:
    """The results of a point over seeds."""

    point: Point
    names: list[str]
    metrics: dict[str, Spread]
    by_seed: dict[int, float]
    """The metric that decides, of each seed."""
    seconds: float
    """Mean of a trial."""
    complete: bool
    """Whether every seed ran to its end."""


def results(ledger: Ledger, records: dict[str, Record]) -> list[Result]:
    """Return the points with metrics, the best first; complete points before those with an unfinished trial."""
    study = ledger.plan.study
    groups: dict[str, dict[str, Record]] = {}
    for name, record in records.items():
        groups.setdefault(record.trial.group, {})[name] = record
    found = []
    for group in groups.values():
        measured = {name: record for name, record in group.items() if study.metric in record.metrics}
        if measured:
            values = {
                name: [each.metrics[name] for each in measured.values() if name in each.metrics] for name in ledger.plan.metrics
            }
            metrics = {name: spread(of_seeds) for name, of_seeds in values.items() if of_seeds}
            complete = all(record.status == "finished" for record in group.values())
            seconds = fmean(record.seconds for record in measured.values())
            by_seed = {record.seed: record.metrics[study.metric] for record in measured.values()}
            found.append(Result(next(iter(measured.values())).point, list(measured), metrics, by_seed, seconds, complete))
    sign = 1 if study.mode == "min" else -1
    return sorted(found, key=lambda result: (not result.complete, sign * result.metrics[study.metric].mean))


def spread(values: Sequence[float]) -> Spread:
    """Return mean and standard deviation."""
    return Spread(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


def importances(results: Sequence[Result], study: Study) -> dict[str, float]:
    """Return the share of the variance that each setting explains, by fANOVA (Hutter et al. 2014); empty with few points."""
    complete = [result for result in results if result.complete]
    if len(complete) < FEWEST_POINTS:
        return {}
    space = {name: domain for name, domain in study.space.items() if len({label(r.point[name]) for r in complete}) > 1}
    trials = [
        optuna.trial.create_trial(
            params=parameters(space, result.point),
            distributions=distributions(space),
            value=result.metrics[study.metric].mean,
        )
        for result in complete
    ]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    optimized = optuna.create_study(direction="minimize" if study.mode == "min" else "maximize")
    optimized.add_trials(trials)
    if not space or len({trial.value for trial in trials}) == 1:
        return {}
    return dict(get_param_importances(optimized, evaluator=FanovaImportanceEvaluator(seed=0)))


@dataclass(frozen=True)
class Count:
    """Trials that ended in one way."""

    trials: int
    seconds: float


def counts(records: dict[str, Record]) -> dict[Status, Count]:
    """Return how many trials ended in each way, and the time they took."""
    seconds: dict[Status, list[float]] = {}
    for record in records.values():
        seconds.setdefault(record.status, []).append(record.seconds)
    return {status: Count(len(times), sum(times)) for status, times in seconds.items()}
