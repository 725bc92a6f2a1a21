"""How far to trust a detector on the event at hand: by labels drawn at random, and before there are any by its confidence."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bongsu.arrays import Float32, Float64
from bongsu.evaluation.metrics import wilson
from bongsu.labelling.features import Rows, Stored
from bongsu.labelling.store import Label, Verdict

FEWEST = 5
"""Labels drawn at random by which a new version is judged, at least."""
LATEST = 25
"""...and at most: of earlier versions it says little."""
UNMEASURED_ERROR = 0.108
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

    @property
    def sentence(self) -> str:
        """The accuracy in words, such as "since 14:05 UTC: 41 of 46 right (0.77 to 0.95)"."""
        if self.since is None:
            return "no message drawn at random has a label yet"
        part, [low, high] = self.accuracy, self.accuracy.interval or [0.0, 1.0]
        clock = time.strftime("%H:%M", time.gmtime(self.since))
        return f"since {clock} UTC: {part.part:,} of {part.whole:,} right ({low:.2f} to {high:.2f})"


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


def judge(labels: Sequence[Label], since: int = 0) -> Verdict:
    """Return whether what the learner makes is at least as good as the bundle, and as what is in use.

    Compared is the log loss on the labels drawn at random, each predicted by the newest version before it was learned from.

    Args:
        since: labels up to this number do not count: somebody chose a version then.
    """
    tried = [each for each in _audit(labels) if each.number > since and each.asked.newest is not None][-LATEST:]
    if len(tried) < FEWEST:
        return Verdict("few", len(tried))
    against_bundle, against_used = (_difference(tried, "newest", other) for other in ("base", "probability"))
    for why, differences in (("worse_than_bundle", against_bundle), ("worse_than_used", against_used)):
        if len(differences) and differences.mean() > 0.0:
            return Verdict(why, len(differences), float(differences.mean()))  # type: ignore[arg-type]
    return Verdict("not_worse", len(tried), float(against_bundle.mean()) if len(against_bundle) else 0.0)


@dataclass(frozen=True)
class Setback:
    """The version in use answers worse than the bundle as it was exported: go back."""

    labels: int
    """Labels drawn at random on which both were measured."""
    difference: float
    """Of the mean log loss."""


def setback(labels: Sequence[Label], version: str) -> Setback | None:
    """Return by how much a version in use is worse than the bundle; None unless it is more than chance.

    Compared are its own answers to labels drawn at random with those of the bundle; worse is a mean difference in log loss of
    more than two standard errors.
    """
    own = [each for each in _audit(labels) if each.asked.version == version][-LATEST:]
    differences = _difference(own, "probability", "base")
    if len(differences) < FEWEST or differences.mean() <= 2.0 * differences.std(ddof=1) / np.sqrt(len(differences)):
        return None
    return Setback(len(differences), float(differences.mean()))


def _audit(labels: Sequence[Label]) -> list[Label]:
    """Return the labels of messages that were drawn at random: those alone say how often a detector is right."""
    return [each for each in labels if each.asked.drawn == "random" and each.label is not None]


def _difference(labels: Sequence[Label], one: str, other: str) -> Float64:
    """Return the log loss of one prediction less that of another, of the labels that have both."""
    pairs = [(getattr(each.asked, one), getattr(each.asked, other), each.label) for each in labels]
    table = np.array([pair for pair in pairs if None not in pair], dtype=np.float64).reshape(-1, 3)
    kept = np.clip(table[:, :2], _CLIP, 1.0 - _CLIP)
    losses = -np.log(np.where(table[:, 2:] == 1, kept, 1.0 - kept))
    result: Float64 = losses[:, 0] - losses[:, 1]
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
