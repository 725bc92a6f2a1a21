"""Whether the stream of a long-running detector has changed: samples of each hour, compared with those before.

Of each hour a random sample of messages is kept as numbers: the probability, the share of words that no training row has,
length, script, links. The latest hour is compared with the reference, which is the first hours seen, by a two-sample test for
each number (Kolmogorov and Smirnov); over all tests of the latest day the false-discovery rate is held at 5 % (Benjamini and
Hochberg 1995). An alarm needs a difference that matters as well, for in large samples every difference is significant. It is
raised by the outputs alone: that the words are others is true of every new event, and explains an alarm.
"""

from __future__ import annotations

import heapq
import random
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import false_discovery_control, ks_2samp

from bongsu.arrays import Bool, Float64
from bongsu.labelling.features import bucket_of

OUTPUT = "probability"
FIGURES = (OUTPUT, "unknown_words", "characters", "hangul", "latin", "links")
"""What is compared; the first raises the alarm."""
_KEPT = 200  # messages of an hour
_REFERENCE = 6  # hours
_FEWEST = 50  # messages of an hour that is compared
_DAY = 24
_RATE = 0.05
_MATTERS = 0.2
"""The least distance between two distribution functions that is worth an alarm."""
_WORD = re.compile(r"\w+")
_LINK = re.compile(r"https?://|www\.|\[LINK\]|t\.co/", re.IGNORECASE)
_HANGUL = re.compile("[가-힣]")
_LATIN = re.compile("[A-Za-z]")


@dataclass(frozen=True)
class Change:
    """How a figure of the latest hour differs from the reference."""

    figure: str
    before: float
    """The mean in the reference."""
    now: float
    """The mean of the latest hour."""
    distance: float
    """Between the two distribution functions, 0 to 1."""
    p_value: float
    """Adjusted for all tests of the latest day."""

    @property
    def large(self) -> bool:
        """Whether it is neither chance nor trifling."""
        return self.p_value < _RATE and self.distance >= _MATTERS


@dataclass(frozen=True)
class Drift:
    """What is known of changes in the stream."""

    hour: float
    """The hour that is compared, seconds since 1970."""
    messages: int
    changes: list[Change]
    passing: tuple[float, float]
    """The share of messages that pass the threshold: in the reference, and now."""

    @property
    def alarm(self) -> bool:
        """Whether the outputs have changed."""
        return any(change.large for change in self.changes if change.figure == OUTPUT)

    @property
    def explained(self) -> list[str]:
        """The other figures that have changed, the most changed first."""
        others = [change for change in self.changes if change.large and change.figure != OUTPUT]
        return [change.figure for change in sorted(others, key=lambda change: -change.distance)]

    @property
    def advice(self) -> str:
        """What to do: label, adapt, or go back."""
        if not self.alarm:
            return "nothing"
        strange = next((change for change in self.changes if change.figure == "unknown_words"), None)
        if strange is not None and strange.large and strange.now > strange.before:
            return "label"
        if {"hangul", "latin"} & set(self.explained):
            return "adapt"
        return "label"


class _Hour:
    """A random sample of an hour's messages: the lowest of numbers drawn for each."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, tuple[float, ...]]] = []
        self._count = 0

    def add(self, drawn: float, figures: Callable[[], tuple[float, ...]]) -> None:
        self._count += 1
        if len(self._heap) < _KEPT:
            heapq.heappush(self._heap, (-drawn, self._count, figures()))
        elif -drawn > self._heap[0][0]:
            heapq.heapreplace(self._heap, (-drawn, self._count, figures()))

    def __len__(self) -> int:
        return len(self._heap)

    def table(self) -> Float64:
        """Return the sample, [messages, figures]."""
        return np.array([figures for _, _, figures in self._heap], dtype=np.float64)


class DriftWatch:
    """Watches a stream for changes; memory is some 10 kB an hour, for a day and the reference."""

    def __init__(self, threshold: float, known: Bool | None, seed: int = 0) -> None:
        """
        Args:
            threshold: of the detector.
            known: [BUCKETS], whether a training row has a gram of a bucket; None when that is not known.
        """
        self._threshold, self._known = threshold, known
        self._draw = random.Random(seed)
        self._hours: dict[int, _Hour] = {}

    def add(self, text: str, time: float, probability: float) -> None:
        """Take in a message of the stream."""
        number = int(time // 3600)
        if number not in self._hours:
            self._hours[number] = _Hour()
            reference = sorted(self._hours)[:_REFERENCE]
            recent = sorted(self._hours)[-_DAY:]
            self._hours = {each: hour for each, hour in self._hours.items() if each in reference or each in recent}
        if number in self._hours:
            self._hours[number].add(self._draw.random(), lambda: self._figures(text, probability))

    def restart(self) -> None:
        """Begin a new reference: another detector answers from now on."""
        self._hours.clear()

    def state(self) -> Drift | None:
        """Return what has changed; None until there are hours enough to compare."""
        full = [number for number in sorted(self._hours) if len(self._hours[number]) >= _FEWEST]
        reference, compared = full[:_REFERENCE], full[_REFERENCE:][-_DAY:]
        if not compared:
            return None
        before = np.concatenate([self._hours[number].table() for number in reference])
        tables = [self._hours[number].table() for number in compared]
        tests = [[ks_2samp(before[:, place], table[:, place]) for place in range(len(FIGURES))] for table in tables]
        adjusted = false_discovery_control([[test.pvalue for test in row] for row in tests], axis=None)
        latest = tables[-1]
        changes = [
            Change(
                name,
                float(before[:, place].mean()),
                float(latest[:, place].mean()),
                float(tests[-1][place].statistic),
                float(p),
            )
            for place, (name, p) in enumerate(zip(FIGURES, adjusted[-len(FIGURES) :], strict=True))
        ]
        passing = (float((before[:, 0] >= self._threshold).mean()), float((latest[:, 0] >= self._threshold).mean()))
        return Drift(compared[-1] * 3600.0, len(latest), changes, passing)

    def _figures(self, text: str, probability: float) -> tuple[float, ...]:
        words = _WORD.findall(text.lower())
        unknown = 0.0
        if self._known is not None and words:
            unknown = sum(not self._known[bucket_of(word)] for word in words) / len(words)
        letters = max(1, len(text))
        scripts = (len(_HANGUL.findall(text)) / letters, len(_LATIN.findall(text)) / letters)
        return (probability, unknown, float(len(text)), *scripts, float(len(_LINK.findall(text))))


def in_words(drift: Drift | None) -> list[str]:
    """Return what has changed and what to do about it as sentences; empty when nothing has."""
    if drift is None or not drift.alarm:
        return []
    advice = {
        "label": "Label fifty messages, and the detector learns the new words.",
        "adapt": "The language has changed: train or adapt a detector for it; labels alone help little.",
    }
    before, now = drift.passing
    said = [f"The detector's answers have changed: {now:.0%} of messages pass, {before:.0%} did before."]
    named = {
        "unknown_words": "unknown words",
        "characters": "length",
        "hangul": "Hangul",
        "latin": "Latin letters",
        "links": "links",
    }
    for change in drift.changes:
        if change.figure in drift.explained:
            said.append(f"{named[change.figure]}: {change.before:.2f} before, {change.now:.2f} now")
    return [*said, advice[drift.advice]]
