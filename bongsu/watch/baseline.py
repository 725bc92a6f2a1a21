"""How many messages are to be expected, and how surprising more of them are.

Counts a bin are Poisson with a rate that drifts. With a Gamma prior and the past discounted exponentially, the rate's
posterior mean is an exponentially weighted moving average and the next count is negative binomial (Harvey & Fernandes 1989,
"Time Series Models for Count or Qualitative Observations"; Smith & Miller 1986). As in the EARS methods C2 and C3 (Hutwagner
et al. 2003) the bins that are tested, and at least the latest `GUARD`, are kept out of the baseline, so that a burst does not
hide itself.

The rest of the stream is the control: when it is so many times as much as is to be expected, as by day after a night, so is
each key (Poisson with an offset). The key that is tested is left out of it: a stream that is all one event still shows it.

A test is made when a message comes. That it came is evidence as well: names that are met are on average commoner than names
are. So the rate's posterior counts it (Gamma of shape 1 + past, from the prior 1/rate, which knows no scale), and the
surprise is that of the *other* messages beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

GUARD = 15
"""Bins that no baseline holds, however short the window."""
ALL = "*"
"""The key of all messages."""
_CONTROL = 60
"""Bins from which the load is taken, or as many as the window has."""


def upper_tail(count: int, shape: float, rate: float, exposure: float) -> float:
    """Return P(X >= count) for X negative binomial: Poisson with mean `exposure` x Gamma(shape, rate).

    Args:
        count: at least 0.
        shape, rate: of the Gamma distribution of the rate a bin; both above 0.
        exposure: for how many bins X counts.
    """
    if count <= 0:
        return 1.0
    log_q = math.log(exposure) - math.log(rate + exposure)
    log_p = math.log(rate) - math.log(rate + exposure)
    log_term = math.lgamma(count + shape) - math.lgamma(shape) - math.lgamma(count + 1) + shape * log_p + count * log_q
    if count <= shape * exposure / rate:  # the tail holds most of the mass: sum what it leaves out, downwards
        below, term, k = 0.0, math.exp(log_term), count
        while k > 0:
            term *= k / ((k - 1 + shape) * math.exp(log_q))
            k -= 1
            below += term
            if term < below * 1e-15:
                break
        return max(0.0, 1.0 - below)
    total, term, k, q = 1.0, 1.0, count, math.exp(log_q)  # upwards, relative to the first term: no cancellation
    while term > total * 1e-15:
        term *= (k + shape) / (k + 1) * q
        k += 1
        total += term
    return min(1.0, math.exp(log_term) * total)


@dataclass(slots=True)
class _Past:
    """What is remembered of a key: the bins younger than the longest window as they are, the older as a discounted sum."""

    total: float
    when: int
    recent: list[tuple[int, int]]


@dataclass(frozen=True)
class BaselineState:
    """What a baseline goes on from."""

    past: dict[str, tuple[float, int, list[tuple[int, int]]]]
    """For each key the discounted sum of its older bins, the bin it was last discounted at, and the younger (bin, count)."""
    forgotten: tuple[float, int]
    """The most that a forgotten key weighed, and at which bin."""
    first: int | None
    latest: int


class Baseline:
    """The counts of every key.

    A key that was never seen has the stream's whole past as evidence that it is rare. Of more than `limit` keys the rarest
    are forgotten; from then on a key that is not remembered is taken to be as common as the commonest forgotten one.
    """

    def __init__(self, half_life: float, longest: int, limit: int) -> None:
        """Args: half_life: in bins. longest: the longest window that is asked about. limit: the most keys remembered."""
        self._discount: float = 0.5 ** (1 / half_life)
        self._longest, self._limit = longest, limit
        self._past: dict[str, _Past] = {}
        self._forgotten = (0.0, 0)  # the most a forgotten key weighed, and when
        self._first: int | None = None
        self._latest = 0
        self._of_all: dict[tuple[int, int, int], tuple[float, int]] = {}
        """What was asked of the whole stream since the last bin was added: every key asks for it."""

    def add(self, bin: int, counts: dict[str, int]) -> None:
        """Take in a bin's counts; those without a message may be left out. Bins come in order, but for more of one that is
        among the latest `longest`."""
        if self._first is None:
            self._first = bin
        self._latest = max(self._latest, bin)
        self._of_all.clear()
        for key, count in counts.items():
            past = self._past.get(key)
            if past is None:
                total, when = self._forgotten
                past = self._past[key] = _Past(total * self._decay(max(0, bin - when)), bin, [])
            past.recent.append((bin, count))
            if len(past.recent) > 1 and past.recent[-2][0] > bin:
                past.recent.sort()
            while past.recent[0][0] <= self._latest - self._longest:
                old, number = past.recent.pop(0)
                past.total = past.total * self._decay(old - past.when) + number
                past.when = old
        if len(self._past) > self._limit:
            self._forget(bin)

    @contextmanager
    def seen_from(self, bin: int) -> Iterator[None]:
        """Answer as when a bin was the latest, one of the latest `longest`."""
        latest, self._latest = self._latest, bin
        try:
            yield
        finally:
            self._latest = latest

    def past_bins(self, lag: int = GUARD) -> int:
        """Return how many bins lie behind, the latest `lag` left out."""
        return 0 if self._first is None else max(0, self._latest - lag + 1 - self._first)

    def rate(self, key: str, lag: int = GUARD) -> float:
        """Return the expected messages a bin."""
        return self._total(key, lag) / (1 + self._seen(lag))

    def latest_rate(self, key: str) -> float:
        """Return messages a bin, of the latest hour."""
        return self._latest_of(key, _CONTROL) / _CONTROL

    def expected(self, key: str, window: int) -> float:
        """Return the expected messages in the latest `window` bins."""
        return self.rate(key, max(window, GUARD)) * window * self._load(key, window)

    def surprise(self, key: str, count: int, window: int) -> float:
        """Return how probable `count` messages of a key in the latest `window` bins are, given one, were nothing going on."""
        lag = max(window, GUARD)
        return upper_tail(count - 1, 1 + self._total(key, lag), 1 + self._seen(lag), window * self._load(key, window))

    def _load(self, key: str, window: int) -> float:
        """Return how many times as much as expected the rest of the stream is; at least 1: silence makes nothing surprising."""
        span, lag = max(window, _CONTROL), max(window, GUARD)
        asked = self._latest, span, lag
        if asked not in self._of_all:
            self._of_all[asked] = self.rate(ALL, lag), self._latest_of(ALL, span)
        rate, latest = self._of_all[asked]
        expected = span * (rate - self.rate(key, lag))
        return max(1.0, (latest - self._latest_of(key, span)) / expected) if expected > 0 else 1.0

    def _latest_of(self, key: str, bins: int) -> int:
        past = self._past.get(key)
        return 0 if past is None else sum(count for bin, count in past.recent if self._latest - bins < bin <= self._latest)

    def _seen(self, lag: int) -> float:
        """Return how many bins the baseline is of, each by its weight."""
        return (1 - self._decay(self.past_bins(lag))) / (1 - self._discount)

    def _total(self, key: str, lag: int) -> float:
        """Return the messages of the bins before the latest `lag`, each by its weight."""
        end = self._latest - lag
        past = self._past.get(key)
        if past is None:
            total, when = self._forgotten
            return total * self._decay(max(0, end - when))
        older = past.total * self._decay(max(0, end - past.when))
        return older + sum(count * self._decay(end - bin) for bin, count in past.recent if bin <= end)

    def _decay(self, bins: int) -> float:
        return math.pow(self._discount, bins)

    def _forget(self, bin: int) -> None:
        weights = {key: self._total(key, 0) for key in self._past}
        ranked = sorted(weights, key=lambda key: (-weights[key], key))
        kept = ranked[: self._limit // 2]
        self._forgotten = (weights[ranked[self._limit // 2]], bin)
        self._past = {key: self._past[key] for key in kept}

    def state(self) -> BaselineState:
        """Return everything."""
        past = {key: (one.total, one.when, one.recent) for key, one in self._past.items()}
        return BaselineState(past, self._forgotten, self._first, self._latest)

    def restore(self, state: BaselineState) -> None:
        """Go on from what `state` returned."""
        self._past = {key: _Past(total, when, list(recent)) for key, (total, when, recent) in state.past.items()}
        self._forgotten, self._first, self._latest = state.forgotten, state.first, state.latest
        self._of_all.clear()
