"""Asking, answering, learning and going back, with a real bundle."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bongsu.errors import DataError
from bongsu.inference.onnx import BundlePredictor
from bongsu.labelling.desk import Desk
from bongsu.labelling.features import Stored
from bongsu.labelling.store import Asked, Candidate, Label, LabelStore, Verdict
from bongsu.labelling.trust import FEWEST, LATEST, UNMEASURED_ERROR, Neighbours, Share, expectation, judge, progress, setback


def offer(desk: Desk, detector: BundlePredictor, texts: list[str]) -> None:
    positive = detector.probabilities(texts)[:, 1].tolist()
    rows = enumerate(zip(texts, positive, strict=True))
    desk.offer([Candidate("s", str(number), "", text, 3600.0 + number, value) for number, (text, value) in rows])


def event(sentences: list[str]) -> list[str]:
    """Messages of an event that the detector knows nothing of; every second one is about it."""
    return [f"{text} flood in mokpo" if number % 2 else text for number, text in enumerate(sentences)]


def truth(text: str) -> int:
    return int("mokpo" in text)


def label(desk: Desk, count: int, wrong: bool = False) -> None:
    for _ in range(count):
        [asked] = desk.front(1)
        desk.answer(*asked.uid, truth(asked.text) ^ wrong, "kim")
        if desk.due:
            desk.learn()


def open_desk(detector: BundlePredictor, path: Path | None = None) -> Desk:
    clock = itertools.count(1_000_000)
    desk = Desk(LabelStore(path), clock=lambda: float(next(clock)))
    desk.open(detector)
    return desk


def test_a_detector_learns_and_every_version_can_be_brought_back(
    detector: BundlePredictor, sentences: list[str], tmp_path: Path
) -> None:
    desk, used = open_desk(detector, tmp_path / "labels.db"), list[str]()
    desk.listeners.append(lambda version: used.append(version.version))
    offer(desk, detector, event(sentences[200:500]))
    label(desk, 60)
    versions = desk.store.versions(detector.bundle.version)
    assert [each.labels for each in versions] == [10, 20, 30, 40, 50, 60]
    assert versions[0].verdict == Verdict("few", 0)  # nothing was predicted by it yet
    assert any(each.verdict.taken for each in versions)
    assert used == [each.name for each in versions if each.verdict.taken]
    texts = event(sentences[500:600])
    wanted = np.array([truth(text) for text in texts])
    right = [(one.probabilities(texts)[:, 1] >= 0.5) == wanted for one in (detector, desk.detector)]
    assert right[1].mean() > right[0].mean() + 0.1
    learned = desk.detector.probabilities(texts)
    again = open_desk(detector, tmp_path / "labels.db")  # as after a kill
    assert again.detector.version == desk.detector.version
    np.testing.assert_allclose(again.detector.probabilities(texts), learned, atol=2e-3)
    assert again.use(0, "lee") == detector.bundle.version
    np.testing.assert_array_equal(again.detector.probabilities(texts), detector.probabilities(texts))
    last = versions[-1].number
    assert again.use(last, "lee") == f"{detector.bundle.version}+{last}"
    with pytest.raises(DataError, match="no version 99"):
        again.use(99, "lee")


def test_each_label_is_predicted_before_it_is_learned_from(detector: BundlePredictor, sentences: list[str]) -> None:
    desk = open_desk(detector)
    offer(desk, detector, sentences[200:400])
    label(desk, 25)
    for each in desk.store.labels():
        expected = detector.probabilities([each.asked.text])[0, 1]
        assert each.asked.base == pytest.approx(expected, abs=1e-4)
        assert (each.asked.newest is None) == (each.number <= 10)
    status = desk.status()
    known = [each for each in desk.store.labels() if each.asked.drawn == "random"]
    assert len(known) == 13
    right = sum((each.asked.probability >= detector.threshold) == (each.label == 1) for each in known)  # type: ignore[operator]
    assert status.progress.accuracy == Share(right, 13)
    assert status.progress.sentence.startswith("since ")
    assert f"{right} of 13 right (" in status.progress.sentence
    assert status.missing == 5


def test_answers_can_be_taken_back_and_nobody_answers_twice(detector: BundlePredictor, sentences: list[str]) -> None:
    desk = open_desk(detector)
    offer(desk, detector, sentences[200:300])
    [asked] = desk.front(1)
    desk.answer(*asked.uid, 1, "kim")
    with pytest.raises(DataError, match="does not wait"):
        desk.answer(*asked.uid, 0, "lee")
    assert desk.undo("lee") is None
    undone = desk.undo("kim")
    assert undone is not None
    assert desk.front(1)[0].uid == asked.uid
    assert desk.store.labels() == []
    desk.answer(*asked.uid, None, "kim")  # skipped
    assert (desk.status().labels, desk.status().skipped) == (0, 1)
    with pytest.raises(DataError, match="no label yet"):
        desk.learn()


def test_what_was_taken_back_is_forgotten(detector: BundlePredictor, sentences: list[str]) -> None:
    desk = open_desk(detector)
    offer(desk, detector, sentences[200:300])
    label(desk, 2)
    gone = desk.store.labels()[0].asked
    desk.forget(gone.source, identity=gone.id)
    assert gone.uid not in {each.asked.uid for each in desk.store.labels()}


def test_a_bundle_without_features_keeps_labels_and_says_why_it_does_not_learn(bundle: Path, sentences: list[str]) -> None:
    plain = BundlePredictor.load(bundle, "float32", sessions=1)
    desk = open_desk(plain)
    offer(desk, plain, sentences[200:300])
    label(desk, 12)
    assert (desk.status().missing, desk.status().labels) == (None, 12)
    with pytest.raises(DataError, match="Export the run again"):
        desk.learn()


def audit(*rows: tuple[float, float, float | None, int], drawn: str = "random") -> list[Label]:
    """Labels with what the bundle, the version in use and the newest say."""
    return [
        Label(number, Asked("s", str(number), "", "", 0.0, drawn, "v", used, base, newest), wanted, "kim", float(number))  # type: ignore[arg-type]
        for number, (base, used, newest, wanted) in enumerate(rows, 1)
    ]


def test_a_version_is_taken_over_only_if_it_is_not_worse() -> None:
    better = audit(*[(0.5, 0.5, 0.8, 1)] * FEWEST)
    assert judge(better).taken
    assert not judge(better[:-1]).taken
    assert not judge(better, since=1).taken  # somebody went back after the first
    assert not judge(audit(*[(0.5, 0.5, 0.2, 1)] * 9)).taken
    assert not judge(audit(*[(0.5, 0.9, 0.8, 1)] * 9)).taken  # better than the bundle, worse than what is in use
    assert not judge(audit(*[(0.5, 0.5, 0.8, 1)] * 20, drawn="doubtful")).taken
    assert not judge(audit(*[(0.5, 0.5, None, 1)] * 20)).taken
    assert judge(audit(*[(0.9, 0.9, 0.9, 1)] * 9)).taken  # as good is good enough
    assert judge(audit(*[(0.5, 0.5, 0.01, 1)] * 9, *[(0.5, 0.5, 0.9, 1)] * LATEST)).taken  # early versions were bad
    one_sure_mistake = audit(*[(0.5, 0.5, 0.9, 1)] * 9, (0.5, 0.5, 0.0, 1))
    assert judge(one_sure_mistake).taken


def test_a_version_that_answers_worse_than_the_bundle_is_a_setback() -> None:
    worse = audit(*[(0.9, 0.2, None, 1), (0.1, 0.3, None, 0)] * FEWEST)
    found = setback(worse, "v")
    assert found is not None
    loss = (np.log(0.9 / 0.2) + np.log(0.9 / 0.7)) / 2
    assert found.labels == 2 * FEWEST
    assert found.difference == pytest.approx(loss)
    assert setback(worse, "another") is None
    assert setback(worse[: FEWEST - 1], "v") is None
    assert setback(audit(*[(0.9, 0.1, None, 1), (0.1, 0.9, None, 1)] * FEWEST), "v") is None  # chance
    assert setback(audit(*[(0.2, 0.9, None, 1), (0.3, 0.9, None, 1)] * FEWEST), "v") is None


def test_a_version_chosen_by_another_process_is_used(detector: BundlePredictor, sentences: list[str], tmp_path: Path) -> None:
    desk, used = open_desk(detector, tmp_path / "labels.db"), list[str]()
    desk.listeners.append(lambda version: used.append(version.version))
    offer(desk, detector, event(sentences[200:300]))
    label(desk, 10)
    other = LabelStore(tmp_path / "labels.db")
    other.use(detector.version, 1, "lee", 5.0)
    desk.follow()
    desk.follow()
    assert used == [desk.detector.version] == [f"{detector.version}+1"]


def test_what_another_process_answered_is_asked_no_more(
    detector: BundlePredictor, sentences: list[str], tmp_path: Path
) -> None:
    desk = open_desk(detector, tmp_path / "labels.db")
    offer(desk, detector, sentences[200:300])
    desk.show()
    other = LabelStore(tmp_path / "labels.db")  # as `bongsu label watch.db` in another terminal
    first = other.asked()
    for asked in first[:7]:
        other.add(asked, 1, "lee", 5.0)
    desk.show()
    assert other.asked()[:3] == first[7:]
    assert len({each.uid for each in [*first, *other.asked()]}) == 17


def test_progress_counts_random_labels_alone() -> None:
    labels = audit((0, 0.9, None, 1), (0, 0.9, None, 0), (0, 0.1, None, 1), (0, 0.2, None, 0))
    labels += audit((0, 0.9, None, 0), drawn="doubtful")
    known = progress(labels, 0.5)
    assert (known.accuracy, known.precision, known.recall) == (Share(2, 4), Share(1, 2), Share(1, 2))
    assert known.steps == [(1.0, 1, 1), (2.0, 1, 2), (3.0, 1, 3), (4.0, 2, 4)]
    assert str(Share(41, 46)) == "41 of 46 (0.77 to 0.95)"
    assert progress([], 0.5).accuracy.interval is None


def test_what_confidence_promises_comes_with_its_error() -> None:
    found = expectation(np.array([0.9, 0.2, 0.6]), 0.5, None)
    assert found is not None
    assert found.accuracy == pytest.approx((0.9 + 0.8 + 0.6) / 3)
    assert found.band == pytest.approx([found.accuracy - UNMEASURED_ERROR, found.accuracy + UNMEASURED_ERROR])
    assert not found.measured
    assert expectation(np.array([0.9]), 0.5, 0.2).band[1] == 1.0  # type: ignore[union-attr]
    assert expectation(np.zeros(0), 0.5, None) is None


def test_what_is_unlike_the_training_rows_is_seen(detector: BundlePredictor, sentences: list[str], stored: Stored) -> None:
    neighbours = Neighbours(stored)
    own = neighbours.of(stored.rows)
    assert own is not None
    assert own.strange == 0.0  # each is its own neighbour
    noise = np.random.default_rng(0).normal(size=stored.rows.pooled.shape).astype(np.float32)
    far = neighbours.of(replace(stored.rows, pooled=5 * noise))
    assert far is not None
    assert far.strange > 0.3
    one_event = stored.rows.take(np.flatnonzero(stored.groups == 1))
    nearest = neighbours.of(one_event)
    assert nearest is not None
    assert (nearest.nearest, nearest.share) == ("2014 storm", 1.0)
    desk = open_desk(detector)
    offer(desk, detector, sentences[:100])
    outlook = desk.outlook()
    assert outlook.expected is not None
    assert outlook.likeness is not None
    assert outlook.expected.error == 0.04
    assert outlook.likeness.nearest in ("2013 flood", "2014 storm")
