"""Points compared pair by pair: on the same seed, and with all other settings the same.

What a seed decides for every point alike (the rows held out, the order of the text) falls out of a difference, so that three
seeds tell more of it than of the figures themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import orjson

from bongsu.search.ledger import Ledger
from bongsu.search.space import LogRange, Point, Range, label
from bongsu.search.study import Study
from bongsu.search.studying import Result, Spread, spread
from bongsu.search.trial import row_scores

MOST_VALUES = 12
"""Of a setting with more, the values are not set side by side."""


@dataclass(frozen=True)
class Difference:
    """The mean difference over pairs, with the 95 % interval of Student's t."""

    mean: float
    half: float | None
    """Half the width of the interval; None of a single pair."""
    count: int

    @property
    def significant(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.half is not None and abs(self.mean) > self.half


@dataclass(frozen=True)
class Effect:
    """What a value of a setting does."""

    over_points: Spread
    against_first: Difference | None
    """To the setting's first value, over points and seeds that differ in nothing else; None where there are none."""


def difference(pairs: Sequence[tuple[float, float]]) -> Difference | None:
    """The second of each pair less the first; None of no pairs."""
    if not pairs:
        return None
    from scipy.stats import t as student

    values = [second - first for first, second in pairs]
    count = len(values)
    half = float(student.ppf(0.975, count - 1)) * stdev(values) / count**0.5 if count > 1 else None
    return Difference(fmean(values), half, count)


def behind(best: Result, other: Result) -> Difference | None:
    """How the figure of another point differs from the best's, over the seeds that both were run with."""
    return difference([(best.by_seed[seed], other.by_seed[seed]) for seed in best.by_seed if seed in other.by_seed])


def behind_by_rows(best: Result, other: Result, ledger: Ledger) -> Difference | None:
    """Return the same over the rows held out, which says something of a single seed too."""
    seeds = [dict(zip(result.by_seed, result.names, strict=True)) for result in (best, other)]
    pairs: list[tuple[float, float]] = []
    for seed in seeds[0].keys() & seeds[1].keys():
        first, second = (row_scores(ledger.folder(names[seed])) for names in seeds)
        pairs.extend((first[row], second[row]) for row in first.keys() & second.keys())
    return difference(pairs)


def effects(results: Sequence[Result], study: Study) -> dict[str, dict[str, Effect]]:
    """For each setting with few values: the figure that decides at each value, and its difference to the first."""
    whole = [result for result in results if result.whole]
    table: dict[str, dict[str, Effect]] = {}
    for name, domain in study.space.items():
        given = [] if isinstance(domain, Range | LogRange) else [label(value) for value in domain.values()]
        groups: dict[str, list[Result]] = {}
        for result in whole:
            groups.setdefault(label(result.point[name]), []).append(result)
        order = [value for value in given if value in groups]
        if not 1 < len(order) <= MOST_VALUES:
            continue
        figures = {value: _by_place(groups[value], name) for value in order}
        first = figures[order[0]]
        table[name] = {
            value: Effect(
                spread([result.figures[study.figure].mean for result in groups[value]]),
                difference([(first[place], figure) for place, figure in figures[value].items() if place in first])
                if value != order[0]
                else None,
            )
            for value in order
        }
    return table


def _by_place(results: Sequence[Result], name: str) -> dict[tuple[bytes, int], float]:
    """The figure of each point and seed, by all its settings but one."""
    return {(_without(result.point, name), seed): figure for result in results for seed, figure in result.by_seed.items()}


def _without(point: Point, name: str) -> bytes:
    return orjson.dumps({key: value for key, value in point.items() if key != name}, option=orjson.OPT_SORT_KEYS)
