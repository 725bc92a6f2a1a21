"""The labelling desk: asks for labels, keeps them, learns from them, and deploys a new version if it is not worse."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from scipy.special import expit

from bongsu.errors import BongsuError, DataError
from bongsu.inference.bundle import Bundle
from bongsu.inference.onnx import BundlePredictor
from bongsu.labelling.drift import Drift, DriftWatch
from bongsu.labelling.features import FEATURES, Rows, Stored, require_two_classes
from bongsu.labelling.learning import Learner, LinearCorrection
from bongsu.labelling.queue import FRONT, Queue
from bongsu.labelling.store import Asked, Candidate, Label, LabelStore, Version, version_name
from bongsu.labelling.trust import Expectation, Likeness, Neighbours, Progress, Setback, expectation, judge, progress, setback
from bongsu.tasks.classification import ClassificationTask

EVERY = 10
"""Labels after which the detector learns by itself."""
_OUTLOOK = 200  # messages by which it is judged what to expect
Listener = Callable[[BundlePredictor], None]


@dataclass(frozen=True)
class Status:
    """How far to trust the detector now, by its labels."""

    version: str
    """The one in use."""
    labels: int
    skipped: int
    missing: int | None
    """Labels until it learns by itself; None when the bundle carries nothing to learn with."""
    progress: Progress
    setback: Setback | None
    versions: list[Version]
    used: int
    """The number of the version in use; 0 is the bundle as it was exported."""


@dataclass(frozen=True)
class Outlook:
    """What to expect of the detector without labels."""

    expected: Expectation | None
    likeness: Likeness | None


class Desk:
    """Collects labels for one bundle and learns from them; thread-safe."""

    def __init__(
        self,
        store: LabelStore,
        queue: Callable[[float], Queue] = Queue,
        every: int = EVERY,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            queue: makes a queue for a detector's threshold.
            every: labels after which it is time to learn.
        """
        self.store = store
        self.listeners: list[Listener] = []
        """Called with each version that comes into use, in the thread that learned it."""
        self._make_queue, self._every, self._clock = queue, every, clock
        self._lock, self._learning = threading.RLock(), threading.Lock()
        self._opened: _Opened | None = None
        self._queue = queue(0.5)
        self._front: list[tuple[str, str]] = []
        self._outlook: tuple[float, str, Outlook] | None = None

    def open(self, detector: BundlePredictor) -> BundlePredictor:
        """Take labels for a bundle from now on; return the version of it that is in use.

        Raises:
            BongsuError: when it is no classifier of two classes, or a version of it is damaged.
        """
        require_two_classes(detector, detector.bundle.path.name)
        opened = _Opened(detector.with_correction(None, detector.bundle.version))
        versions = self.store.versions(opened.bundle.version)
        if opened.learner is not None and versions:
            opened.newest = self._correction(opened.learner, versions[-1].number)
            number, _ = self.store.in_use(opened.bundle.version)
            if number:
                version = version_name(opened.bundle.version, number)
                opened.used = opened.base.with_correction(self._correction(opened.learner, number), version)
                opened.drift.restart(learned=True)
        with self._lock:
            waiting = self.store.asked()
            self._opened, self._queue = opened, self._make_queue(detector.threshold)
            self._queue.known(each.asked.text for each in self.store.labels())
            for asked in waiting:
                self._queue.offer(Candidate(*_message(asked), probability=asked.probability or 0.5))
        return opened.used

    def reopen(self, detector: BundlePredictor) -> BundlePredictor:
        """Do what `open` does, and say so to whoever listens."""
        used = self.open(detector)
        for listener in self.listeners:
            listener(used)
        return used

    @property
    def detector(self) -> BundlePredictor:
        """The version in use."""
        return self._open.used

    @property
    def classes(self) -> list[str]:
        """What 0 and 1 are called."""
        task = self._open.base.task
        assert isinstance(task, ClassificationTask)
        return task.names

    # Asking and answering

    def offer(self, candidates: Sequence[Candidate]) -> Drift | None:
        """Take in messages of the stream, which may be asked about; return what has changed when there is news."""
        with self._lock:
            for candidate in candidates:
                self._queue.offer(candidate)
        return self.drift.add(candidates)

    def front(self, count: int = FRONT) -> list[Asked]:
        """Return the messages to ask about now."""
        with self._lock:
            return self._queue.front(count)

    def show(self) -> None:
        """Let other processes see the queue, with what each version says of it, without what they have answered."""
        with self._lock:
            answered = self.store.uids()
            for asked in self.front():
                if asked.uid in answered:
                    self._queue.done(asked)
            front = self.front()
        uids = [asked.uid for asked in front]
        if uids != self._front:
            self.store.show(self._predicted(front))
            self._front = uids

    def answer(self, source: str, identity: str, label: int | None, by: str) -> Label:
        """Keep an answer to a message that waits for one.

        Args:
            label: 1 for the positive class, 0 for the other, None to skip it.

        Raises:
            DataError: when no such message waits: somebody was quicker, or it was taken back.
        """
        with self._lock:
            asked = self._queue.find(source, identity)
            if asked is None:
                raise DataError("This message does not wait for a label any more: it has one, is too old, or was taken back.")
            [predicted] = self._predicted([asked])
            answer = self.store.add(predicted, label, by, self._clock())
            self._queue.done(asked)
        return answer

    def take(self, asked: Sequence[Asked], labels: Sequence[int | None], by: str) -> list[Label]:
        """Keep answers to messages that were not asked about here, such as those of a file."""
        with self._lock:
            predicted = self._predicted(asked)
            self._queue.known(each.text for each in asked)
            for each in asked:
                self._queue.done(each)
            pairs = zip(predicted, labels, strict=True)
            return [self.store.add(each, label, by, self._clock()) for each, label in pairs]

    def undo(self, by: str) -> Label | None:
        """Take back the latest answer of somebody; the message waits again. None when there is nothing to take back."""
        with self._lock:
            label = self.store.undo(by, self._clock())
            if label is not None and label.asked.drawn != "chosen":
                self._queue.again(label.asked)
        return label

    def forget(self, source: str, identity: str = "", author: str = "") -> None:
        """Delete a message that was taken back, or all of an author."""
        with self._lock:
            column: Literal["id", "author"] = "author" if author else "id"
            for each in (self._queue, self.store, self.drift):
                each.forget(source, column, author or identity)
            self._open.rows.clear()

    # Learning

    @property
    def due(self) -> bool:
        """Whether there are enough new labels to learn from, wherever they were given."""
        return self._open.learner is not None and self.missing <= 0

    @property
    def missing(self) -> int:
        """How many labels are missing until it is time to learn."""
        return self._every - abs(self.store.answered() - self.store.learned(self._open.bundle.version))

    def learn(self) -> Version:
        """Learn from all labels; what is not worse by those drawn at random is used from now on.

        Raises:
            DataError: when there is no label, or the bundle carries no features to learn with.
        """
        with self._learning:
            return self._learn()

    def learn_when_due(self) -> Version | None:
        """Do what `learn` does if there are enough new labels; of several that ask at a time one learns."""
        with self._learning:
            return self._learn() if self.due else None

    def _learn(self) -> Version:
        opened = self._open
        if opened.learner is None:
            raise DataError(f"{opened.bundle.path}: carries no {FEATURES} to learn with. Export the run again.")
        labels = _answered(self.store.labels())
        if not labels:
            raise DataError("There is no label yet to learn from.")
        correction = opened.learner.fit(self._rows(opened, labels), np.array([each.label for each in labels]))
        bundle = opened.bundle.version
        with self._lock:
            if self._opened is not opened:
                raise DataError("Another bundle was opened meanwhile; learn again.")
            verdict = judge(labels, self.store.in_use(bundle)[1])
            version = self.store.add_version(bundle, self._clock(), len(labels), verdict, correction.to_bytes())
            opened.newest = correction
            if verdict.taken:
                opened.used = opened.base.with_correction(correction, version.name)
        if verdict.taken:
            self._changed(opened)
        return version

    def use(self, number: int, by: str) -> str:
        """Bring a version back and return its name; 0 is the bundle as it was exported. Later versions are judged anew.

        Raises:
            DataError: when there is no such version.
        """
        opened = self._open
        bundle = opened.bundle.version
        known = [each.number for each in self.store.versions(bundle)]
        if number != 0 and (opened.learner is None or number not in known):
            there = ", ".join(map(str, [0, *known]))
            raise DataError(f"There is no version {number} of this bundle; there are {there}.")
        self.store.use(bundle, number, by, self._clock())
        self._swap(opened, number)
        return opened.used.version

    def follow(self) -> None:
        """Use the version that another process chose, as `bongsu label --use` does."""
        opened = self._open
        with self._learning:
            number, _ = self.store.in_use(opened.bundle.version)
            if opened.learner is not None and version_name(opened.bundle.version, number) != opened.used.version:
                self._swap(opened, number)

    # What is known

    def status(self) -> Status:
        """Return how far the detector in use can be trusted, and its versions."""
        opened, labels = self._open, self.store.labels()
        bundle = opened.bundle.version
        return Status(
            opened.used.version,
            len(_answered(labels)),
            sum(each.label is None for each in labels),
            max(0, self.missing) if opened.learner is not None else None,
            progress(labels, opened.base.threshold),
            setback(labels, opened.used.version) if opened.used is not opened.base else None,
            self.store.versions(bundle),
            self.store.in_use(bundle)[0],
        )

    def outlook(self, age: float = 60.0) -> Outlook:
        """Return what to expect of the messages of the last hours without any label, at most `age` seconds old."""
        opened, now = self._open, self._clock()
        if self._outlook is not None and self._outlook[1] == opened.used.version and now - self._outlook[0] < age:
            return self._outlook[2]
        with self._lock:
            sample = self._queue.sample()[:_OUTLOOK]
        probabilities = np.array([each.probability for each in sample], dtype=np.float64)
        error = opened.stored.expected_error if opened.stored is not None else None
        likeness = None
        if sample and opened.neighbours is not None:
            likeness = opened.neighbours.of(Rows.of(opened.base, opened.base.examples([each.text for each in sample])))
        found = Outlook(expectation(probabilities, opened.base.threshold, error), likeness)
        self._outlook = (now, opened.used.version, found)
        return found

    @property
    def drift(self) -> DriftWatch:
        """Whether the stream has changed since the version in use came into use."""
        return self._open.drift

    @property
    def _open(self) -> _Opened:
        if self._opened is None:
            raise BongsuError("No bundle was opened for labels yet.")
        return self._opened

    def _correction(self, learner: Learner, number: int) -> LinearCorrection:
        return LinearCorrection.from_bytes(learner.space, self.store.weights(number))

    def _swap(self, opened: _Opened, number: int) -> None:
        correction = None if opened.learner is None or number == 0 else self._correction(opened.learner, number)
        with self._lock:
            opened.used = opened.base.with_correction(correction, version_name(opened.bundle.version, number))
        self._changed(opened)

    def _rows(self, opened: _Opened, labels: Sequence[Label]) -> Rows:
        """Return the features of labelled messages; each is computed once."""
        new = [each.asked for each in labels if each.asked.text not in opened.rows]
        if new:
            texts = list(dict.fromkeys(asked.text for asked in new))
            found = Rows.of(opened.base, opened.base.examples(texts))
            opened.rows.update({text: found.take(np.array([place])) for place, text in enumerate(texts)})
        return Rows.joined([opened.rows[each.asked.text] for each in labels])

    def _predicted(self, asked: Sequence[Asked]) -> list[Asked]:
        """Return messages with what each version says of them now."""
        opened = self._open
        if not asked:
            return []
        rows = Rows.of(opened.base, opened.base.examples([each.text for each in asked]))
        base = expit(rows.logits.astype(np.float64))
        correction = opened.used.correction
        used = base if not isinstance(correction, LinearCorrection) else expit(correction.logits(rows))
        newest = [None] * len(asked) if opened.newest is None else expit(opened.newest.logits(rows)).tolist()
        columns = zip(asked, used.tolist(), base.tolist(), newest, strict=True)
        version = opened.used.version
        return [replace(each, version=version, probability=a, base=b, newest=c) for each, a, b, c in columns]

    def _changed(self, opened: _Opened) -> None:
        for listener in self.listeners:
            listener(opened.used)
        with self._lock:
            texts = self._queue.texts()
        found = opened.used.probabilities(texts)[:, 1].tolist() if texts else []
        with self._lock:
            opened.drift.restart(opened.used.correction is not None)
            self._queue.rescore(dict(zip(texts, found, strict=True)))


class _Opened:
    """A bundle at the desk."""

    def __init__(self, base: BundlePredictor) -> None:
        self.base = self.used = base
        self.bundle: Bundle = base.bundle
        self.stored = Stored.load(self.bundle.file(FEATURES)) if self.bundle.has(FEATURES) else None
        self.learner = Learner(self.stored) if self.stored is not None else None
        self.drift = DriftWatch(base.threshold, None if self.learner is None else self.learner.space.known)
        self.newest: LinearCorrection | None = None
        self.rows: dict[str, Rows] = {}

    @cached_property
    def neighbours(self) -> Neighbours | None:
        """Found when first asked for: it compares a thousand stored rows with all others."""
        return Neighbours(self.stored) if self.stored is not None else None


def _answered(labels: Sequence[Label]) -> list[Label]:
    return [each for each in labels if each.label is not None]


def _message(asked: Asked) -> tuple[str, str, str, str, float]:
    return asked.source, asked.id, asked.author, asked.text, asked.time
