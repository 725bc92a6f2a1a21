"""How many messages are to be expected, and how surprising more of them are.

Counts a bin are Poisson with a rate that drifts. With a Gamma prior and the past discounted exponentially, the rate's
posterior mean is an exponentially weighted moving average and the next count is negative binomial (Harvey & Fernandes 1989,
"Time Series Models for Count or Qualitative Observations"; Smith & Miller 1986). The alarm is the upper tail of that
prediction. As in the EARS methods C2 and C3 (Hutwagner et al. 2003) the latest bins are kept out of the baseline, so that a
burst does not hide itself.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

_A0, _B0 = 0.5, 1.0
"""The prior: half a message in one bin, so vague that the stream's first hour overrules it."""


def upper_tail(count: int, shape: float, rate: float, exposure: float) -> float:
    """P(X >= count) for X negative binomial: Poisson with mean `exposure` x Gamma(shape, rate).

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


class Baseline:
    """The counts of every key: the latest `lag` bins as they are, what is older as a discounted sum.

    A key that was never seen has the stream's whole past as evidence that it is rare.
    """

    def __init__(self, half_life: float, lag: int, limit: int) -> None:
        """Args: half_life: in bins. lag: bins kept out of the baseline. limit: the most keys remembered."""
        self._discount = 0.5 ** (1 / half_life)
        self._lag, self._limit = lag, limit
        self._sums: dict[str, tuple[float, int]] = {}  # the discounted sum, and the bin it is of
        self._recent: deque[tuple[int, dict[str, int]]] = deque()
        self._first: int | None = None
        self._latest = 0

    def __len__(self) -> int:
        return len(self._sums) + sum(len(counts) for _, counts in self._recent)

    def add(self, bin: int, counts: dict[str, int]) -> None:
        """Takes in a bin's counts; bins come in order, those without a message may be left out."""
        if self._first is None:
            self._first = bin
        self._latest = bin
        if counts:
            self._recent.append((bin, counts))
        while self._recent and self._recent[0][0] <= bin - self._lag:
            old, past = self._recent.popleft()
            for key, count in past.items():
                self._sums[key] = (self._at(key, old) + count, old)
        if len(self._sums) > self._limit:
            weights = {key: self._at(key, bin) for key in self._sums}
            kept = sorted(weights, key=lambda key: (-weights[key], key))[: self._limit // 2]
            self._sums = {key: self._sums[key] for key in kept}

    def past_bins(self) -> int:
        """How many bins lie behind, the recent ones left out."""
        return 0 if self._first is None else max(0, self._latest - self._lag + 1 - self._first)

    def expected(self, key: str, exposure: float) -> float:
        """The mean of the prediction for `exposure` bins."""
        shape, rate = self._posterior(key)
        return shape * exposure / rate

    def surprise(self, key: str, count: int, exposure: float) -> float:
        """The probability of at least `count` messages in `exposure` bins, were nothing going on."""
        shape, rate = self._posterior(key)
        return upper_tail(count, shape, rate, exposure)

    def _posterior(self, key: str) -> tuple[float, float]:
        seen = (1 - self._discount ** self.past_bins()) / (1 - self._discount)
        return _A0 + self._at(key, self._latest - self._lag), _B0 + seen

    def _at(self, key: str, bin: int) -> float:
        total, when = self._sums.get(key, (0.0, bin))
        return total * math.pow(self._discount, bin - when)

    def state(self) -> dict[str, Any]:
        """Everything, as JSON."""
        return {"sums": self._sums, "recent": list(self._recent), "first": self._first, "latest": self._latest}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from what `state` returned."""
        self._sums = {key: (total, when) for key, (total, when) in state["sums"].items()}
        self._recent = deque((bin, counts) for bin, counts in state["recent"])
        self._first, self._latest = state["first"], state["latest"]
