"""Points compared pair by pair: on the same seed, and with all other settings the same.

What a seed decides for every point alike (the rows held out, the order of the text) cancels out of a difference, so that a
difference needs fewer seeds than the metrics themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import orjson

from bongsu.search.ledger import Ledger
from bongsu.search.results import Result, Spread, spread
from bongsu.search.space import LogRange, Point, Range, label
from bongsu.search.study import Study
from bongsu.search.trial import row_scores

MOST_VALUES = 12
"""Settings with more values are not compared value by value."""


@dataclass(frozen=True)
class Difference:
    """The mean difference over pairs, with the 95 % interval of Student's t."""

    mean: float
    half: float | None
    """Half the width of the interval; None of a single pair."""
    count: int

    @property
    def significant(self) -> bool:
        """Whether the interval excludes zero."""
        return self.half is not None and abs(self.mean) > self.half


@dataclass(frozen=True)
class Effect:
    """The effect of a value of a setting."""

    over_points: Spread
    against_first: Difference | None
    """The difference to the setting's first value, over points and seeds that differ in nothing else; None without any."""


def difference(pairs: Sequence[tuple[float, float]]) -> Difference | None:
    """Return the mean of the second less the first of each pair; None without pairs."""
    if not pairs:
        return None
    from scipy.stats import t as student

    values = [second - first for first, second in pairs]
    count = len(values)
    half = float(student.ppf(0.975, count - 1)) * stdev(values) / count**0.5 if count > 1 else None
    return Difference(fmean(values), half, count)


def difference_to_best(best: Result, other: Result) -> Difference | None:
    """Return the difference of another point to the best, over the seeds that both were run with."""
    return difference([(best.by_seed[seed], other.by_seed[seed]) for seed in best.by_seed if seed in other.by_seed])


def difference_to_best_by_rows(best: Result, other: Result, ledger: Ledger) -> Difference | None:
    """Return the difference over the rows held out, which has an interval even for a single seed."""
    seeds = [dict(zip(result.by_seed, result.names, strict=True)) for result in (best, other)]
    pairs: list[tuple[float, float]] = []
    for seed in seeds[0].keys() & seeds[1].keys():
        first, second = (row_scores(ledger.folder(names[seed])) for names in seeds)
        pairs.extend((first[row], second[row]) for row in first.keys() & second.keys())
    return difference(pairs)


def effects(results: Sequence[Result], study: Study) -> dict[str, dict[str, Effect]]:
    """Return for each setting with few values the metric at each value, and its difference to the first."""
    complete = [result for result in results if result.complete]
    table: dict[str, dict[str, Effect]] = {}
    for name, domain in study.space.items():
        given = [] if isinstance(domain, Range | LogRange) else [label(value) for value in domain.values()]
        groups: dict[str, list[Result]] = {}
        for result in complete:
            groups.setdefault(label(result.point[name]), []).append(result)
        order = [value for value in given if value in groups]
        if not 1 < len(order) <= MOST_VALUES:
            continue
        metrics = {value: _by_place(groups[value], name) for value in order}
        first = metrics[order[0]]
        table[name] = {
            value: Effect(
                spread([result.metrics[study.metric].mean for result in groups[value]]),
                difference([(first[place], metric) for place, metric in metrics[value].items() if place in first])
                if value != order[0]
                else None,
            )
            for value in order
        }
    return table


def _by_place(results: Sequence[Result], name: str) -> dict[tuple[bytes, int], float]:
    """Return the metric of each point and seed, by all its settings but one."""
    return {(_without(result.point, name), seed): metric for result in results for seed, metric in result.by_seed.items()}


def _without(point: Point, name: str) -> bytes:
    return orjson.dumps({key: value for key, value in point.items() if key != name}, option=orjson.OPT_SORT_KEYS)
