"""How far to trust a detector on the event at hand: by labels drawn at random, and before there are any by its confidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bongsu.arrays import Float32, Float64
from bongsu.evaluation.metrics import wilson
from bongsu.labelling.features import Rows, Stored
from bongsu.labelling.store import Label

FEWEST = 5
"""Labels drawn at random by which a new version is judged, at least."""
LATEST = 25
"""...and at most: of earlier versions it says little."""
UNMEASURED_ERROR = 0.136
"""By how much confidence was wrong about the accuracy on CrisisLexT6's events, on average: for bundles that measured none."""
_CLIP = 0.02  # one sure mistake must not decide alone
_SAMPLE = 1000  # stored rows whose distances say what is usual


@dataclass(frozen=True)
class Share:
    """So many of so many, with the 95 % Wilson interval."""

    part: int
    whole: int

    @property
    def value(self) -> float | None:
        """The share; None of nothing."""
        return self.part / self.whole if self.whole else None

    @property
    def interval(self) -> list[float] | None:
        """[low, high]; None of nothing."""
        return wilson(self.part, self.whole) if self.whole else None

    def __str__(self) -> str:
        if not self.whole:
            return "nothing yet"
        low, high = wilson(self.part, self.whole)
        return f"{self.part:,} of {self.whole:,} ({low:.2f} to {high:.2f})"


@dataclass(frozen=True)
class Progress:
    """How the detectors in use answered the labels drawn at random, each before anything was learned from it."""

    since: float | None
    """When the first of these labels was given, seconds since 1970."""
    accuracy: Share
    precision: Share
    """Of what passed the threshold, how much is what it should be."""
    recall: Share
    """Of what should pass, how much did."""
    steps: list[tuple[float, int, int]]
    """After each label: when, how many were right so far, of how many."""


def progress(labels: Sequence[Label], threshold: float) -> Progress:
    """Return how the detectors in use did; labels of doubtful messages say nothing of the stream and are left out."""
    audit = [each for each in _audit(labels) if each.asked.probability is not None]
    pairs = [((each.asked.probability or 0.0) >= threshold, each.label == 1) for each in audit]
    right = np.cumsum([passed == wanted for passed, wanted in pairs])
    both = sum(passed and wanted for passed, wanted in pairs)
    return Progress(
        audit[0].at if audit else None,
        Share(int(right[-1]) if audit else 0, len(audit)),
        Share(both, sum(passed for passed, _ in pairs)),
        Share(both, sum(wanted for _, wanted in pairs)),
        [(each.at, int(so_far), number) for number, (each, so_far) in enumerate(zip(audit, right, strict=True), 1)],
    )


@dataclass(frozen=True)
class Verdict:
    """Whether what was learned is taken into use."""

    taken: bool
    reason: str


def judge(labels: Sequence[Label], since: int = 0) -> Verdict:
    """Return whether what the learner makes is at least as good as the bundle, and as what is in use.

    Compared is the log loss on the labels drawn at random, each predicted by the newest version before it was learned from.

    Args:
        since: labels up to this number do not count: somebody chose a version then.
    """
    tried = [each for each in _audit(labels) if each.number > since and each.asked.newest is not None][-LATEST:]
    if len(tried) < FEWEST:
        return Verdict(False, f"not judged yet: {len(tried)} of {FEWEST} random labels came after the version before it")
    wanted = np.array([each.label for each in tried])
    newest = _losses(wanted, [each.asked.newest for each in tried])
    for name, others in (("the bundle", "base"), ("the version in use", "probability")):
        values = [getattr(each.asked, others) for each in tried]
        known = np.array([value is not None for value in values])
        difference = float((newest - _losses(wanted, values))[known].mean()) if known.any() else 0.0
        if difference > 0.0:
            return Verdict(False, f"worse than {name} on {int(known.sum())} random labels (log loss {difference:+.3f})")
    gain = float((newest - _losses(wanted, [each.asked.base for each in tried])).mean())
    return Verdict(True, f"log loss {gain:+.3f} against the bundle on {len(tried)} random labels")


def _audit(labels: Sequence[Label]) -> list[Label]:
    """Return the labels of messages that were drawn at random: those alone say how often a detector is right."""
    return [each for each in labels if each.asked.drawn == "random" and each.label is not None]


def _losses(wanted: np.ndarray, values: Sequence[float | None]) -> Float64:
    kept = np.clip(np.array([0.5 if value is None else value for value in values], dtype=np.float64), _CLIP, 1.0 - _CLIP)
    result: Float64 = -np.log(np.where(wanted == 1, kept, 1.0 - kept))
    return result


@dataclass(frozen=True)
class Expectation:
    """The accuracy that confidence promises, without any label (Guillory et al. 2021; Garg et al. 2022)."""

    accuracy: float
    error: float
    """By how much such promises were wrong on events left out, on average."""
    measured: bool
    """Whether that was measured on this bundle's own events."""
    messages: int

    @property
    def band(self) -> list[float]:
        """[low, high]."""
        return [max(0.0, self.accuracy - self.error), min(1.0, self.accuracy + self.error)]


def expectation(probabilities: Float64, threshold: float, error: float | None) -> Expectation | None:
    """Return what to expect of the answers to some messages; None without messages.

    Args:
        probabilities: [N], calibrated.
        error: the bundle's own, where it was measured.
    """
    if len(probabilities) == 0:
        return None
    right = np.where(probabilities >= threshold, probabilities, 1.0 - probabilities)
    known = UNMEASURED_ERROR if error is None else error
    return Expectation(float(right.mean()), known, error is not None, len(probabilities))


@dataclass(frozen=True)
class Likeness:
    """How some messages compare with what the detector was trained on."""

    strange: float
    """The share of messages farther from every training row than 95 % of training rows are from each other."""
    nearest: str
    """The event whose rows are nearest to most of the messages; empty where the bundle knows none."""
    share: float
    """The share of messages nearest to it."""


class Neighbours:
    """Finds how near messages are to the rows that a detector was trained on, by the cosine of their pooled vectors."""

    def __init__(self, stored: Stored, seed: int = 0) -> None:
        self._mean = stored.rows.pooled.mean(axis=0)
        self._rows = self._directions(stored.rows.pooled)
        self._groups, self._names = stored.groups, stored.names
        sample = np.random.default_rng(seed).permutation(len(self._rows))[:_SAMPLE]
        likeness = self._rows[sample] @ self._rows.T
        likeness[np.arange(len(sample)), sample] = -1.0
        self.limit = float(np.quantile(1.0 - likeness.max(axis=1), 0.95))
        """The distance that 95 % of training rows keep to their nearest other."""

    def of(self, rows: Rows) -> Likeness | None:
        """Return how messages compare with the training rows; None without messages."""
        if len(rows) == 0:
            return None
        likeness = self._directions(rows.pooled) @ self._rows.T
        nearest = likeness.argmax(axis=1)
        counts = Counter(self._groups[nearest].tolist())
        [(group, count)] = counts.most_common(1)
        strange = float((1.0 - likeness.max(axis=1) > self.limit).mean())
        return Likeness(strange, self._names[group], count / len(rows))

    def _directions(self, vectors: Float32) -> Float32:
        centred = vectors - self._mean
        directions: Float32 = (centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)).astype(np.float32)
        return directions
