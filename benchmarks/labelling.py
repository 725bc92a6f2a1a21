"""What labels taken during an event do to a detector that never saw it: each event left out in turn.

    python -m benchmarks.labelling T6=CrisisLexT6.csv T26=CrisisLexT26.csv --cache /tmp/vectors

Files are those of `benchmarks.beacon`: `text`, `event`, and `label` or `informativeness`. Near-duplicates of a message are left
out everywhere, so that none is in the pool or the test while another is in the training rows. Half of an event's messages are
the pool that labels are taken from, the other half is measured on; drawn anew for every seed.

The detector of the other events is cheap and has read none of the messages: logistic regression on the frozen encoder
`bongsu:beacon` and hashed words. `--bundles FOLDER` takes bundles in its place, FOLDER/EVENT for each event, exported from runs
that left the event out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_matrix, hstack
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score

from benchmarks.beacon import read_labelled
from bongsu import progress
from bongsu.arrays import Array, Float32, Float64, Int64
from bongsu.corpus.cleaning import Cleaner
from bongsu.corpus.dedup import near_groups
from bongsu.inference.onnx import BundlePredictor
from bongsu.labelling.features import FEATURES, Grams, Rows, Stored
from bongsu.labelling.learning import Learner, LinearCorrection
from bongsu.labelling.store import Asked, Label
from bongsu.labelling.trust import expectation, judge
from bongsu.model.heads import mean_pooled
from bongsu.model.io import load_encoder
from bongsu.models import packaged
from bongsu.recipe import Classification
from bongsu.tokens.bpe import load_tokenizer
from bongsu.tokens.inputs import cleaned, encode, pad

STEPS = (0, 10, 25, 50, 100, 200)
LONGEST = 64
WRONG = 0.1
INNER = 5
HOURS, LOUD = 6, 20
Figures = dict[str, Float64]
"""By the name of a way to learn: [steps, 3], accuracy, average precision and F1."""
Results = dict[str, dict[str, Float64]]
"""By way and event: [seeds, steps, 3]."""


@dataclass(frozen=True)
class Event:
    """A detector that never saw the event, and the event's messages."""

    name: str
    learner: Learner
    rows: Rows
    labels: Int64
    times: Float64

    @cached_property
    def tables(self) -> tuple[Float32, csr_matrix]:
        """The features of all messages as a correction weighs them."""
        return self.learner.space.dense(self.rows), self.learner.space.sparse(self.rows.grams)

    def logits(self, correction: LinearCorrection | None, places: Int64) -> Array:
        """Return log-odds of some messages by a correction; without one the detector's own."""
        if correction is None:
            return self.rows.logits[places]
        dense, sparse = (table[places] for table in self.tables)
        found: Array = dense @ correction.weights + sparse @ correction.gram_weights
        return found

    def halves(self, draw: np.random.Generator) -> tuple[Int64, Int64]:
        """Return a random half to label, and the other to measure on."""
        order = draw.permutation(len(self.labels))
        return order[: len(order) // 2], order[len(order) // 2 :]

    def in_time(self, draw: np.random.Generator) -> tuple[Int64, Int64]:
        """Return the messages of the first six hours, shuffled, and those that came later.

        The event begins with the first hour that has twenty messages about it.
        """
        hours = np.floor(self.times / 3600)
        about, counts = np.unique(hours[self.labels == 1], return_counts=True)
        passed = hours - about[np.argmax(counts >= LOUD)]
        return draw.permutation(np.flatnonzero((passed >= 0) & (passed < HOURS))), np.flatnonzero(passed >= HOURS)


def pooled(texts: Sequence[str]) -> Float32:
    """Return the mean token vectors of cleaned texts by `bongsu:beacon`, [N, d_model]."""
    folder = packaged("bongsu:beacon", "encoder")
    assert folder is not None
    encoder, ids = load_encoder(folder).eval(), encode(load_tokenizer(folder), list(texts), LONGEST)
    order = np.argsort([len(row) for row in ids], kind="stable")
    vectors = np.zeros((len(ids), encoder.config.d_model), dtype=np.float32)
    with torch.inference_mode(), progress.bar("embed", len(ids), "messages") as bar:
        for numbers in np.array_split(order, max(1, len(ids) // 64)):
            batch = torch.from_numpy(pad([ids[number] for number in numbers]))
            valid = batch != encoder.config.pad_id
            vectors[numbers] = mean_pooled(encoder(batch, valid.long()), valid).numpy()
            bar.advance(len(numbers))
    return vectors


def events_of(name: str, path: Path, most: int, cache: Path | None, bundles: Path | None) -> list[Event]:
    """Return each event of a file with a detector of the others."""
    cleaner = Cleaner(Classification(train="").cleaning)
    rows = read_labelled(path)
    texts = cleaned(cleaner, [row.text for row in rows])
    saved = cache / f"{name}.npz" if cache is not None else None
    if saved is not None and saved.is_file():
        vectors, groups = (np.load(saved)[key] for key in ("vectors", "groups"))
    else:
        vectors, groups = pooled(texts), near_groups(texts)
        if saved is not None:
            np.savez(saved, vectors=vectors, groups=groups)
    first = np.sort(np.unique(groups, return_index=True)[1])
    labels = np.array([rows[row].label for row in first.tolist()])
    times = np.array([rows[row].time for row in first.tolist()])
    names, owner = np.unique([rows[row].event for row in first.tolist()], return_inverse=True)
    print(f"{name}: {len(first):,} of {len(rows):,} messages are no near-duplicates, {len(names)} events", flush=True)
    if bundles is not None:
        return [_of_bundle(bundles / each, each, [rows[row].text for row in first[owner == number].tolist()],
                           labels[owner == number], times[owner == number])
                for number, each in enumerate(names.tolist())]  # fmt: skip
    grams = Grams.of([texts[row] for row in first.tolist()])
    plain = Rows(vectors[first], np.zeros(len(first), dtype=np.float32), grams)
    found = []
    for number, each in enumerate(names.tolist()):
        others = np.flatnonzero(owner != number)
        kept = np.sort(np.random.default_rng(number).permutation(others)[:most])
        detector = _detector(plain.take(kept), labels[kept])
        # The logit of a stored row is that of a detector that saw neither the row nor its event.
        parts, honest = owner[kept] % INNER, np.zeros(len(kept), dtype=np.float32)
        for part in np.unique(parts):
            mine = parts == part
            honest[mine] = _detector(plain.take(kept[~mine]), labels[kept[~mine]]).logits(plain.take(kept[mine]))
        stored_rows = Rows(plain.pooled[kept], honest, plain.grams.take(kept))
        stored = Stored(stored_rows, labels[kept], owner[kept].astype(np.int64), names.tolist(), None)
        held = np.flatnonzero(owner == number)
        logits = detector.logits(plain.take(held)).astype(np.float32)
        rows_of_event = Rows(plain.pooled[held], logits, plain.grams.take(held))
        found.append(Event(each, Learner(stored), rows_of_event, labels[held], times[held]))
        print(f"  {each}: {len(held):,} messages, accuracy {((logits >= 0) == labels[held]).mean():.3f}", flush=True)
    return found


def _detector(rows: Rows, labels: Int64) -> LinearCorrection:
    stored = Stored(rows, labels, np.zeros(len(labels), dtype=np.int64), [""], None)
    return Learner(stored).fit(rows.take(np.zeros(0, dtype=np.int64)), np.zeros(0))


def _of_bundle(folder: Path, name: str, texts: list[str], labels: Int64, times: Float64) -> Event:
    detector = BundlePredictor.load(folder)
    stored = Stored.load(detector.bundle.file(FEATURES))
    return Event(name, Learner(stored), Rows.of(detector, detector.examples(texts)), labels, times)


@dataclass(frozen=True)
class State:
    """What is known at a step of a simulation."""

    event: Event
    asked: Int64
    """The messages that were labelled, as places in the event."""
    answers: Int64
    test: Int64
    """The messages that are measured on."""
    learned: LinearCorrection
    in_use: LinearCorrection | None
    """What the take-over would use."""


Way = Callable[[State], Array | None]
"""How to use labels: returns log-odds of the test, None at a step that is left out."""


def simulate(event: Event, seed: int, plan: Plan) -> Figures:
    """Label an event's pool step by step and measure on the rest."""
    draw = np.random.default_rng(seed)
    pool, test = event.in_time(draw) if plan.in_time else event.halves(draw)
    rows, truth = event.rows.take(pool), event.labels[test]
    base, scores = expit(rows.logits.astype(np.float64)), rows.logits.astype(np.float64)
    found = {name: [figures(event.rows.logits[test], truth)] for name in plan.ways}
    asked: list[int] = []
    told: list[Label] = []
    used, newest = base, None
    in_use: LinearCorrection | None = None
    for step in STEPS[1:]:
        while len(asked) < min(step, len(pool)):
            left = np.setdiff1d(np.arange(len(pool)), asked)
            doubtful = plan.mixed and len(asked) % 2 == 1
            one = int(left[np.argmin(np.abs(scores[left]))]) if doubtful else int(draw.choice(left))
            answer = int(event.labels[pool[one]]) ^ int(draw.random() < plan.wrong)
            said = (used[one], base[one], None if newest is None else newest[one])
            message = Asked("", str(one), "", "", 0.0, "doubtful" if doubtful else "random", "", *said)
            told.append(Label(len(told) + 1, message, answer, "", 0.0))
            asked.append(one)
        answers = np.array([each.label for each in told])
        correction = event.learner.fit(rows.take(np.array(asked)), answers)
        scores = event.logits(correction, pool)
        newest = expit(scores)
        if judge(told).taken:
            in_use, used = correction, newest
        state = State(event, pool[asked], answers, test, correction, in_use)
        for name, way in plan.ways.items():
            logits = way(state)
            found[name].append([np.nan] * 3 if logits is None else figures(logits, truth))
    return {name: np.array(values) for name, values in found.items()}


def learned(state: State) -> Array:
    """Old rows and new labels together: what the product does."""
    return state.event.logits(state.learned, state.test)


def taken_over(state: State) -> Array:
    """The same, of what the take-over would have in use."""
    return state.event.logits(state.in_use, state.test)


def recalibrated(state: State) -> Array:
    """Platt's scaling: two numbers learned from the labels."""
    told, asked = (state.event.rows.logits[places][:, None] for places in (state.asked, state.test))
    if len(np.unique(state.answers)) < 2:
        return asked[:, 0]
    scaled: Array = LogisticRegression().fit(told, state.answers).decision_function(asked)
    return scaled


def alone(state: State) -> Array:
    """Logistic regression on vectors and words of the new labels alone."""
    if len(np.unique(state.answers)) < 2:
        return np.full(len(state.test), 20.0 * state.answers[0] - 10.0)
    dense, sparse = state.event.tables
    dense = np.delete(dense, dense.shape[1] - 2, axis=1)  # the detector's logit
    told, asked = (hstack([csr_matrix(dense[each]), sparse[each]]).tocsr() for each in (state.asked, state.test))
    found: Array = LogisticRegression(C=10.0, max_iter=500).fit(told, state.answers).decision_function(asked)
    return found


@dataclass(frozen=True)
class Plan:
    """A way to ask, and what is made of the answers."""

    ways: dict[str, Way]
    mixed: bool = True
    """Every second message is the most doubtful; else all are drawn at random."""
    wrong: float = 0.0
    """The share of labels that are wrong."""
    in_time: bool = False
    """Labels are of the first six hours, the test is what came later; else each is half of the event."""


PLANS = {
    "mixed": Plan({"half doubtful, half random": learned, "… as taken over": taken_over,
                   "recalibration": recalibrated, "new labels alone": alone}),
    "random": Plan({"all random": learned, "all random, as taken over": taken_over}, mixed=False),
    "wrong": Plan({"one label in ten wrong": learned, "one label in ten wrong, as taken over": taken_over}, wrong=WRONG),
    "time": Plan({"first six hours": learned, "first six hours, as taken over": taken_over}, in_time=True),
}  # fmt: skip


def figures(logits: Array, truth: Int64) -> list[float]:
    """Return accuracy, average precision and F1."""
    passed = logits >= 0
    return [
        float((passed == truth).mean()),
        float(average_precision_score(truth, logits)),
        float(f1_score(truth, passed, zero_division=0)),
    ]


def table(name: str, results: Results) -> None:
    """Print for each way to learn the means over events and seeds, and each event."""
    heading = " | ".join(f"{step} labels" for step in STEPS)
    for number, metric in enumerate(("accuracy", "average precision", "F1")):
        print(f"\n| {name}, {metric} | {heading} |\n|---|" + "---|" * len(STEPS))
        for way, events in results.items():
            means = np.mean([values[:, :, number].mean(axis=0) for values in events.values()], axis=0)
            print(f"| {way} | " + " | ".join(map(_cell, means)) + " |")
    for way, events in results.items():
        print(f"\n| {name}, accuracy, {way} | {heading} |\n|---|" + "---|" * len(STEPS))
        for event, values in events.items():
            pairs = zip(values.mean(0)[:, 0], values.std(0)[:, 0], strict=True)
            print(f"| {event} | " + " | ".join(f"{_cell(mean)} ± {spread:.3f}" for mean, spread in pairs) + " |")
        worse = np.array([[(run[1:, 0] < run[0, 0] - 0.02).any() for run in values] for values in events.values()])
        print(f"{way}: {worse.sum()} of {worse.size} simulations are more than 2 points worse than at the start at some step")


def _cell(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"


def promises(name: str, events: Sequence[Event]) -> None:
    """Print by how much the accuracy that confidence promises is wrong on events left out."""
    errors = []
    for event in events:
        found = expectation(expit(event.rows.logits.astype(np.float64)), 0.5, None)
        assert found is not None
        errors.append(abs(found.accuracy - float(((event.rows.logits >= 0) == event.labels).mean())))
    print(f"{name}: the accuracy that confidence promises is off by {100 * np.mean(errors):.1f} points on average, "
          f"{100 * np.max(errors):.1f} at most", flush=True)  # fmt: skip


def main() -> None:
    """Run what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="NAME=FILE")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rows", type=int, default=6000, help="training rows whose features are stored")
    parser.add_argument("--cache", type=Path, help="a folder for vectors and near-duplicates, which take minutes")
    parser.add_argument("--bundles", type=Path, help="a folder of bundles, one an event that it left out")
    parser.add_argument("--plans", nargs="+", choices=list(PLANS), default=list(PLANS))
    arguments = parser.parse_args()
    for name, path in (each.split("=", 1) for each in arguments.files):
        start = time.process_time()
        events = events_of(name, Path(path), arguments.rows, arguments.cache, arguments.bundles)
        promises(name, events)
        table(name, run(name, events, [PLANS[each] for each in arguments.plans], arguments.seeds))
        fits = [_seconds_of_a_fit(event) for event in events[:3]]
        print(f"an update of {arguments.rows:,} stored rows and 50 labels takes {np.mean(fits):.2f} s of CPU time; "
              f"all of {name} took {time.process_time() - start:.0f} s", flush=True)  # fmt: skip


def run(name: str, events: Sequence[Event], plans: Sequence[Plan], seeds: int) -> Results:
    """Return the figures of all simulations."""
    results: Results = {}
    with progress.bar(name, len(events) * seeds * len(plans), "simulations") as bar:
        for plan in plans:
            for event in events:
                runs = []
                for seed in range(seeds):
                    runs.append(simulate(event, seed, plan))
                    bar.advance()
                for way in plan.ways:
                    results.setdefault(way, {})[event.name] = np.stack([run[way] for run in runs])
    return results


def _seconds_of_a_fit(event: Event) -> float:
    start = time.process_time()
    event.learner.fit(event.rows.take(np.arange(50)), event.labels[:50])
    return time.process_time() - start


if __name__ == "__main__":
    main()
