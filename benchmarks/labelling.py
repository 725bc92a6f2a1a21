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
from pathlib import Path

import numpy as np
import torch
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
from bongsu.model.io import load_encoder
from bongsu.model.task_model import mean_pooled
from bongsu.models import packaged
from bongsu.recipe import Classification
from bongsu.tokens.bpe import load_tokenizer
from bongsu.tokens.inputs import cleaned, encode, pad

STEPS = (0, 10, 25, 50, 100, 200)
LONGEST = 64
WRONG = 0.1
INNER = 5
Figures = dict[str, Float64]
"""By the name of a way to learn: [steps, 3], accuracy, average precision and F1."""


@dataclass(frozen=True)
class Event:
    """A detector that never saw the event, and the event's messages."""

    name: str
    learner: Learner
    rows: Rows
    labels: Int64


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
    texts = [cleaned(cleaner, text) for text, _, _ in rows]
    saved = cache / f"{name}.npz" if cache is not None else None
    if saved is not None and saved.is_file():
        vectors, groups = (np.load(saved)[key] for key in ("vectors", "groups"))
    else:
        vectors, groups = pooled(texts), near_groups(texts)
        if saved is not None:
            np.savez(saved, vectors=vectors, groups=groups)
    first = np.sort(np.unique(groups, return_index=True)[1])
    labels = np.array([rows[row][1] for row in first.tolist()])
    names, owner = np.unique([rows[row][2] for row in first.tolist()], return_inverse=True)
    print(f"{name}: {len(first):,} of {len(rows):,} messages are no near-duplicates, {len(names)} events", flush=True)
    if bundles is not None:
        return [_of_bundle(bundles / each, each, [rows[row][0] for row in first[owner == number].tolist()],
                           labels[owner == number]) for number, each in enumerate(names.tolist())]  # fmt: skip
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
        found.append(Event(each, Learner(stored), Rows(plain.pooled[held], logits, plain.grams.take(held)), labels[held]))
        print(f"  {each}: {len(held):,} messages, accuracy {((logits >= 0) == labels[held]).mean():.3f}", flush=True)
    return found


def _detector(rows: Rows, labels: Int64) -> LinearCorrection:
    stored = Stored(rows, labels, np.zeros(len(labels), dtype=np.int64), [""], None)
    return Learner(stored).fit(rows.take(np.zeros(0, dtype=np.int64)), np.zeros(0))


def _of_bundle(folder: Path, name: str, texts: list[str], labels: Int64) -> Event:
    detector = BundlePredictor.load(folder)
    stored = Stored.load(detector.bundle.file(FEATURES))
    return Event(name, Learner(stored), Rows.of(detector, detector.examples(texts)), labels)


def simulate(event: Event, seed: int, mixed: bool, wrong: float, names: Sequence[str]) -> Figures:
    """Label an event's pool step by step and measure on its other half.

    Args:
        mixed: every second message is the most doubtful; else all are drawn at random.
        wrong: the share of labels that are wrong.
        names: of the figures: of what was learned, of what the take-over would have in use, and of the two that are compared
            with it; the latter may be missing.
    """
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(event.labels))
    pool, test = order[: len(order) // 2], order[len(order) // 2 :]
    rows, measured, truth = event.rows.take(pool), event.rows.take(test), event.labels[test]
    base, scores = expit(rows.logits.astype(np.float64)), rows.logits.astype(np.float64)
    found: dict[str, list[list[float]]] = {name: [figures(measured.logits, truth)] for name in names}
    asked: list[int] = []
    told: list[Label] = []
    used, newest = base, None
    in_use: Callable[[Rows], Array] = lambda each: each.logits  # noqa: E731
    for step in STEPS[1:]:
        while len(asked) < min(step, len(pool)):
            left = np.setdiff1d(np.arange(len(pool)), asked)
            doubtful = mixed and len(asked) % 2 == 1
            one = int(left[np.argmin(np.abs(scores[left]))]) if doubtful else int(draw.choice(left))
            answer = int(event.labels[pool[one]]) ^ int(draw.random() < wrong)
            said = (used[one], base[one], None if newest is None else newest[one])
            message = Asked("", str(one), "", "", 0.0, "doubtful" if doubtful else "random", "", *said)
            told.append(Label(len(told) + 1, message, answer, "", 0.0))
            asked.append(one)
        answers, taken_rows = np.array([each.label for each in told]), rows.take(np.array(asked))
        correction = event.learner.fit(taken_rows, answers)
        taken = judge(told).taken
        newest = expit(correction.logits(rows))
        if taken:
            in_use, used = correction.logits, newest
        scores = correction.logits(rows)
        ways: list[Callable[[], Array]] = [
            lambda c=correction: c.logits(measured),  # type: ignore[misc]
            lambda u=in_use: u(measured),  # type: ignore[misc]
            lambda a=answers, t=taken_rows: _recalibrated(t, a, measured),  # type: ignore[misc]
            lambda a=answers, t=taken_rows: _alone(event.learner, t, a, measured),  # type: ignore[misc]
        ]
        for name, way in zip(names, ways, strict=False):
            found[name].append(figures(way(), truth))
    return {name: np.array(values) for name, values in found.items()}


def _recalibrated(rows: Rows, answers: Int64, measured: Rows) -> Array:
    """Return log-odds by Platt's scaling: two numbers learned from the labels."""
    if len(np.unique(answers)) < 2:
        return measured.logits
    model = LogisticRegression().fit(rows.logits[:, None], answers)
    scaled: Array = model.decision_function(measured.logits[:, None])
    return scaled


def _alone(learner: Learner, rows: Rows, answers: Int64, measured: Rows) -> Array:
    """Return log-odds of logistic regression on vectors and words of the new labels alone."""
    if len(np.unique(answers)) < 2:
        return np.full(len(measured), 20.0 * answers[0] - 10.0)
    blank = [Rows(each.pooled, np.zeros(len(each), dtype=np.float32), each.grams) for each in (rows, measured)]
    space = learner.space
    from scipy.sparse import csr_matrix, hstack

    tables = [hstack([csr_matrix(space.dense(each)), space.sparse(each.grams)]).tocsr() for each in blank]
    found: Array = LogisticRegression(C=10.0, max_iter=500).fit(tables[0], answers).decision_function(tables[1])
    return found


def figures(logits: Array, truth: Int64) -> list[float]:
    """Return accuracy, average precision and F1."""
    passed = logits >= 0
    return [
        float((passed == truth).mean()),
        float(average_precision_score(truth, logits)),
        float(f1_score(truth, passed, zero_division=0)),
    ]


def table(name: str, results: dict[str, dict[str, Float64]]) -> None:
    """Print for each way to learn the means over events and seeds.

    Args:
        results: by way and event, [seeds, steps, 3].
    """
    for number, metric in enumerate(("accuracy", "average precision", "F1")):
        print(f"\n| {name}, {metric} | " + " | ".join(f"{step} labels" for step in STEPS) + " |")
        print("|---|" + "---|" * len(STEPS))
        for way, events in results.items():
            means = np.mean([values[:, :, number].mean(axis=0) for values in events.values()], axis=0)
            print(f"| {way} | " + " | ".join(f"{value:.3f}" for value in means) + " |")
    ways = list(results)
    print(f"\n| {name}, accuracy of {ways[0]} | " + " | ".join(f"{step} labels" for step in STEPS) + " |")
    print("|---|" + "---|" * len(STEPS))
    for event, values in results[ways[0]].items():
        cells = [f"{mean:.3f} ± {spread:.3f}" for mean, spread in zip(values.mean(0)[:, 0], values.std(0)[:, 0], strict=True)]
        print(f"| {event} | " + " | ".join(cells) + " |")
    for way in ways:
        worse = np.array([[(run[1:, 0] < run[0, 0] - 0.02).any() for run in values] for values in results[way].values()])
        print(f"{way}: {worse.sum()} of {worse.size} simulations are more than 2 points worse than at the start at some step")


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
    parser.add_argument("--mixed-only", action="store_true", help="leave out the random queue and wrong labels")
    arguments = parser.parse_args()
    for name, path in (each.split("=", 1) for each in arguments.files):
        start = time.perf_counter()
        events = events_of(name, Path(path), arguments.rows, arguments.cache, arguments.bundles)
        promises(name, events)
        plans: list[tuple[bool, float, list[str]]] = [
            (True, 0.0, ["half doubtful, half random", "… as taken over", "recalibration", "new labels alone"])
        ]
        if not arguments.mixed_only:
            plans += [
                (False, 0.0, ["all random", "all random, as taken over"]),
                (True, WRONG, ["one label in ten wrong", "one label in ten wrong, as taken over"]),
            ]
        results: dict[str, dict[str, Float64]] = {}
        seconds = []
        with progress.bar(name, len(events) * arguments.seeds * len(plans), "simulations") as bar:
            for mixed, wrong, names in plans:
                for event in events:
                    runs = []
                    for seed in range(arguments.seeds):
                        began = time.perf_counter()
                        runs.append(simulate(event, seed, mixed, wrong, names))
                        seconds.append(time.perf_counter() - began)
                        bar.advance()
                    for way in names:
                        results.setdefault(way, {})[event.name] = np.stack([run[way] for run in runs])
        table(name, results)
        fits = [_seconds_of_a_fit(event) for event in events[:3]]
        print(f"an update of {arguments.rows:,} stored rows and 50 labels takes {np.mean(fits):.2f} s; "
              f"all of {name} took {time.perf_counter() - start:.0f} s", flush=True)  # fmt: skip


def _seconds_of_a_fit(event: Event) -> float:
    start = time.perf_counter()
    event.learner.fit(event.rows.take(np.arange(50)), event.labels[:50])
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
