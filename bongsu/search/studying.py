"""What a search found: its records put together by point, with the spread over seeds, and how much each setting matters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances

from bongsu.search.ledger import FIGURES, Ledger, Record
from bongsu.search.searchers import distributions, parameters
from bongsu.search.space import Point, label
from bongsu.search.study import Study

FEWEST_POINTS = 4
"""With fewer, the importance of a setting is not told."""


@dataclass(frozen=True)
class Spread:
    """A figure over seeds."""

    mean: float
    deviation: float | None
    """Standard deviation of the sample; None of a single seed."""
    count: int


@dataclass(frozen=True)
class Result:
    """A point, and what came of it with each seed."""

    point: Point
    names: list[str]
    figures: dict[str, Spread]
    by_seed: dict[int, float]
    """The figure that decides, of each seed."""
    seconds: float
    """Mean of a trial."""
    whole: bool
    """Whether every seed ran to its end."""


def results(ledger: Ledger, records: dict[str, Record]) -> list[Result]:
    """The points that have figures, the best first; those that are whole before those with a trial that was not finished."""
    study = ledger.plan.study
    groups: dict[str, dict[str, Record]] = {}
    for name, record in records.items():
        groups.setdefault(record.trial.group, {})[name] = record
    found = []
    for group in groups.values():
        told = {name: record for name, record in group.items() if study.figure in record.figures}
        if told:
            figures = {figure: spread([record.figures[figure] for record in told.values() if figure in record.figures])
                       for figure in FIGURES if any(figure in record.figures for record in told.values())}  # fmt: skip
            whole = all(record.status == "finished" for record in group.values())
            seconds = fmean(record.seconds for record in told.values())
            by_seed = {record.seed: record.figures[study.figure] for record in told.values()}
            found.append(Result(next(iter(told.values())).point, list(told), figures, by_seed, seconds, whole))
    sign = 1 if study.mode == "min" else -1
    return sorted(found, key=lambda result: (not result.whole, sign * result.figures[study.figure].mean))


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation."""
    return Spread(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


def importances(results: Sequence[Result], study: Study) -> dict[str, float]:
    """The share of the objective's variance each setting explains, by fANOVA (Hutter et al. 2014); empty with few points."""
    whole = [result for result in results if result.whole]
    if len(whole) < FEWEST_POINTS:
        return {}
    space = {name: domain for name, domain in study.space.items() if len({label(r.point[name]) for r in whole}) > 1}
    trials = [
        optuna.trial.create_trial(
            params=parameters(space, result.point),
            distributions=distributions(space),
            value=result.figures[study.figure].mean,
        )
        for result in whole
    ]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    told = optuna.create_study(direction="minimize" if study.mode == "min" else "maximize")
    told.add_trials(trials)
    if not space or len({trial.value for trial in trials}) == 1:
        return {}
    return dict(get_param_importances(told, evaluator=FanovaImportanceEvaluator(seed=0)))


def counts(records: dict[str, Record]) -> dict[str, dict[str, Any]]:
    """How many trials ended how, and the time they took."""
    table: dict[str, dict[str, Any]] = {}
    for record in records.values():
        row = table.setdefault(record.status, {"trials": 0, "seconds": 0.0})
        row["trials"] += 1
        row["seconds"] += record.seconds
    return table
