"""Whether the stream of a long-running detector has changed: samples of each hour, compared with those before.

Of each hour a random sample of messages is kept: the probability, the share of words that no training row has, length, script
and links as numbers, and the words. The latest hour is compared with the reference, which is the first hours seen, by a
two-sample test for each number (Kolmogorov and Smirnov); over all tests of the latest day the false-discovery rate is held at
5 % (Benjamini and Hochberg 1995). An alarm needs a difference that matters as well, for in large samples every difference is
significant. It is raised by the outputs alone: that the words are others is true of every new event, and explains an alarm.
"""

from __future__ import annotations

import heapq
import random
import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from bongsu.arrays import Bool, Float64
from bongsu.labelling.features import FEATURES, bucket_of, known_buckets
from bongsu.labelling.store import Candidate

if TYPE_CHECKING:
    from bongsu.inference.onnx import BundlePredictor
    from bongsu.labelling.differing import Difference

Advice = Literal["label", "adapt", "go back"]
"""Label messages; train for what the stream has become; use the bundle as it was exported again."""

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
_OTHER_SCRIPT = 0.25
"""The least change in a script's share of all characters that makes another language."""
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
    learned: bool
    """Whether the version in use learned from labels."""
    said: Difference | None
    """Which words differ; only of an alarm."""

    @property
    def alarm(self) -> bool:
        """Whether the outputs have changed."""
        return _alarms(self.changes)

    @property
    def explained(self) -> list[str]:
        """The other figures that have changed, the most changed first."""
        others = [change for change in self.changes if change.large and change.figure != OUTPUT]
        return [change.figure for change in sorted(others, key=lambda change: -change.distance)]

    @property
    def advice(self) -> Advice | None:
        """What to do; None without an alarm."""
        if not self.alarm:
            return None
        changes = {change.figure: change for change in self.changes}
        if any(
            changes[name].large and abs(changes[name].now - changes[name].before) >= _OTHER_SCRIPT
            for name in ("hangul", "latin")
        ):
            return "adapt"
        unknown = changes["unknown_words"]
        if self.learned and unknown.large and unknown.now < unknown.before:
            return "go back"  # the event that it learned is over
        return "label"

    @property
    def words(self) -> list[str]:
        """What has changed and what to do about it as sentences; empty without an alarm."""
        if self.advice is None:
            return []
        before, now = self.passing
        changes = {change.figure: change for change in self.changes}
        found = [f"The detector's answers have changed: {now:.0%} of messages pass, {before:.0%} did before."]
        for name in self.explained:
            found.append(f"{_NAMES[name]}: {changes[name].before:.2f} before, {changes[name].now:.2f} now")
        if self.said is not None and self.said.words:
            found.append(
                "Words: " + ", ".join(f"{each.word} ({each.before:.0%}, now {each.now:.0%})" for each in self.said.words)
            )
        return [*found, _ADVICE[self.advice]]


_NAMES = {
    "unknown_words": "unknown words",
    "characters": "length",
    "hangul": "Hangul",
    "latin": "Latin letters",
    "links": "links",
}
_ADVICE: dict[Advice, str] = {
    "label": "Label fifty messages, and the detector learns the new words.",
    "adapt": "The language has changed: train or adapt a detector for it; labels alone help little.",
    "go back": "The words are known again: go back to the bundle as it was exported.",
}


@dataclass(frozen=True)
class _Kept:
    """A message of the sample."""

    message: tuple[str, str, str]
    """Source, number and author, by which it can be taken back."""
    figures: tuple[float, ...]
    words: frozenset[str]


class _Hour:
    """A random sample of an hour's messages: the lowest of numbers drawn for each."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, _Kept]] = []
        self._count = 0

    def add(self, drawn: float, kept: Callable[[], _Kept]) -> None:
        self._count += 1
        if len(self._heap) < _KEPT:
            heapq.heappush(self._heap, (-drawn, self._count, kept()))
        elif -drawn > self._heap[0][0]:
            heapq.heapreplace(self._heap, (-drawn, self._count, kept()))

    def remove(self, concerns: Callable[[_Kept], bool]) -> None:
        self._heap = [each for each in self._heap if not concerns(each[2])]
        heapq.heapify(self._heap)

    def __len__(self) -> int:
        return len(self._heap)

    def sample(self) -> list[_Kept]:
        return [kept for _, _, kept in self._heap]


class DriftWatch:
    """Watches a stream for changes; thread-safe. Memory is some 100 kB an hour, for a day and the reference."""

    def __init__(
        self,
        threshold: float,
        known: Bool | None,
        learned: bool = False,
        seed: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            threshold: of the detector.
            known: [BUCKETS], whether a training row has a gram of a bucket; None when that is not known.
            learned: whether the version in use learned from labels.
        """
        self._threshold, self._known, self._learned = threshold, known, learned
        self._draw, self._clock, self._lock = random.Random(seed), clock, threading.RLock()
        self._hours: dict[int, _Hour] = {}
        self._found: tuple[float, Drift | None] | None = None
        self._said: Advice | None = None

    @classmethod
    def of(cls, detector: BundlePredictor) -> DriftWatch | None:
        """Return one for a detector; None for one that has not two classes."""
        if not detector.task.has_two_classes:
            return None
        bundle = detector.bundle
        return cls(detector.threshold, known_buckets(bundle.file(FEATURES)) if bundle.has(FEATURES) else None)

    def add(self, messages: Iterable[Candidate]) -> Drift | None:
        """Take in messages of the stream; return what has changed when an hour is over and there is news."""
        with self._lock:
            over = False
            for message in messages:
                over |= self._add(message)
            if not over:
                return None
            drift = self._compared()
            self._found = (self._clock(), drift)
            news = drift is not None and drift.advice != self._said
            self._said = None if drift is None else drift.advice
            return drift if news and self._said is not None else None

    def _add(self, message: Candidate) -> bool:
        """Take in a message; return whether it begins an hour."""
        number = int(message.time // 3600)
        begins = number not in self._hours
        if begins:
            self._hours[number] = _Hour()
            reference = sorted(self._hours)[:_REFERENCE]
            recent = sorted(self._hours)[-_DAY:]
            self._hours = {each: hour for each, hour in self._hours.items() if each in reference or each in recent}
        if number in self._hours:
            self._hours[number].add(self._draw.random(), lambda: self._kept(message))
        return begins

    def restart(self, learned: bool) -> None:
        """Begin a new reference: another version answers from now on."""
        with self._lock:
            self._hours.clear()
            self._learned, self._found, self._said = learned, None, None

    def forget(self, source: str, column: Literal["id", "author"], value: str) -> None:
        """Forget what a message or an author said."""
        place = {"id": 1, "author": 2}[column]
        with self._lock:
            self._found = None
            for hour in self._hours.values():
                hour.remove(lambda kept: kept.message[0] == source and kept.message[place] == value)

    def state(self, age: float = 60.0) -> Drift | None:
        """Return what has changed, at most `age` seconds old; None until there are hours enough to compare."""
        with self._lock:
            if self._found is None or self._clock() - self._found[0] >= age:
                self._found = (self._clock(), self._compared())
            return self._found[1]

    def _compared(self) -> Drift | None:
        from scipy.stats import false_discovery_control, ks_2samp

        from bongsu.labelling.differing import difference

        full = [number for number in sorted(self._hours) if len(self._hours[number]) >= _FEWEST]
        reference, compared = full[:_REFERENCE], full[_REFERENCE:][-_DAY:]
        if not compared:
            return None
        first = [kept for number in reference for kept in self._hours[number].sample()]
        latest = self._hours[compared[-1]].sample()
        before, tables = _table(first), [_table(self._hours[number].sample()) for number in compared]
        tests = [[ks_2samp(before[:, place], table[:, place]) for place in range(len(FIGURES))] for table in tables]
        adjusted = false_discovery_control([[test.pvalue for test in row] for row in tests], axis=None)
        now = tables[-1]
        changes = [
            Change(
                name, float(before[:, place].mean()), float(now[:, place].mean()), float(tests[-1][place].statistic), float(p)
            )
            for place, (name, p) in enumerate(zip(FIGURES, adjusted[-len(FIGURES) :], strict=True))
        ]
        passing = (float((before[:, 0] >= self._threshold).mean()), float((now[:, 0] >= self._threshold).mean()))
        said = difference([kept.words for kept in first], [kept.words for kept in latest]) if _alarms(changes) else None
        return Drift(compared[-1] * 3600.0, len(latest), changes, passing, self._learned, said)

    def _kept(self, message: Candidate) -> _Kept:
        text = message.text
        words = _WORD.findall(text.lower())
        unknown = 0.0
        if self._known is not None and words:
            unknown = sum(not self._known[bucket_of(word)] for word in words) / len(words)
        letters = max(1, len(text))
        scripts = (len(_HANGUL.findall(text)) / letters, len(_LATIN.findall(text)) / letters)
        figures = (message.probability, unknown, float(len(text)), *scripts, float(len(_LINK.findall(text))))
        return _Kept((message.source, message.id, message.author), figures, frozenset(words))


def _alarms(changes: Iterable[Change]) -> bool:
    return any(change.large for change in changes if change.figure == OUTPUT)


def _table(sample: Iterable[_Kept]) -> Float64:
    """Return the figures of a sample, [messages, figures]."""
    return np.array([kept.figures for kept in sample], dtype=np.float64)
