"""How good a detector that `recipes/beacon.toml` made is, on held-out rows of its own kinds of data and on what it never saw.

    python -m benchmarks.beacon data/beacon --model runs/beacon --labelled kaggle=train.csv --everyday tweets=tweets.txt

Labelled files are CSV with `text` and either `target` (1 or 0), `label` (on-topic or not) or `informativeness`
(CrisisLexT26); a column `event` is measured event by event. Each row of the table of held-out rows has TF-IDF with
logistic regression of the same training rows beside it, both at 0.5; differences carry 95 % paired bootstrap intervals.
"""

from __future__ import annotations

import argparse
import csv
import io
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import zstandard
from sklearn.metrics import roc_auc_score

import bongsu
from bongsu.arrays import Float64, Int64
from bongsu.evaluation.bootstrap import paired_difference
from bongsu.evaluation.robustness import count_flips
from bongsu.inference.predictor import Predictor
from bongsu.tasks.task import Example

BATCH = 4096
EVERYDAY = 50_000
FLIPS = 1000
CHAT = ("chat_en", "short_messages")  # sources of one class


class Labelled(NamedTuple):
    """A message with its class."""

    text: str
    label: int
    event: str
    time: float
    """When it was sent, seconds since 1970, read off a tweet's number; NaN without one."""


def read_labelled(path: Path) -> list[Labelled]:
    """Return the rows of a file that have a class."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = []
    for row in rows:
        rest = row.get("event") or "", _sent(row.get("id") or "")
        if "target" in row:
            found.append(Labelled(row["text"], int(row["target"]), *rest))
        elif row.get("label") in ("on-topic", "off-topic"):
            found.append(Labelled(row["text"], int(row["label"] == "on-topic"), *rest))
        elif (row.get("informativeness") or "").startswith(("Related", "Not related")):
            found.append(Labelled(row["text"], int(row["informativeness"].startswith("Related")), *rest))
    return found


def _sent(identity: str) -> float:
    """Return when a tweet was sent: its number counts milliseconds since 4 November 2010 in all but its last 22 bits."""
    number = identity.strip("'")
    return ((int(number) >> 22) + 1_288_834_974_657) / 1000 if number.isdecimal() and len(number) > 15 else float("nan")


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a text file, packed with Zstandard or not."""
    with open(path, "rb") as file:
        stream = zstandard.ZstdDecompressor().stream_reader(file) if path.suffix == ".zst" else file
        yield from (line.rstrip("\n") for line in io.TextIOWrapper(stream, encoding="utf-8"))  # type: ignore[arg-type]


def probabilities(detector: Predictor, texts: Sequence[str]) -> Float64:
    """Return the probability of a disaster, [N] float64."""
    parts = [detector.probabilities(list(texts[start : start + BATCH]))[:, 1] for start in range(0, len(texts), BATCH)]
    return np.concatenate(parts).astype(np.float64)


def auc(labels: Int64, scores: Float64) -> str:
    """Return the area under the ROC curve, or a dash where there is one class."""
    return f"{roc_auc_score(labels, scores):.3f}" if 0 < labels.mean() < 1 else "–"


def held_out(detector: Predictor, data: Path) -> None:
    """Print a row for each source of held-out rows, with TF-IDF on the same training rows."""
    with open(data / "train.csv", encoding="utf-8", newline="") as file:
        training = list(csv.DictReader(file))
    with open(data / "test.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    task = detector.task
    examples: list[Example[str]] = [replace(task.example([row["text"]]), target=row["target"]) for row in training]
    tfidf = task.fit_tfidf(examples)
    texts = [row["text"] for row in rows]
    labels = np.array([int(row["target"]) for row in rows])
    ours = probabilities(detector, texts)
    outputs = task.tfidf_outputs(tfidf, [task.example([text]) for text in texts]).values
    theirs = (outputs[:, 1] - outputs[:, 0]).astype(np.float64)
    print("| held out | rows | ours | TF-IDF | difference | ROC-AUC ours | TF-IDF |\n|---|---|---|---|---|---|---|")
    sources = np.array([f"{row['source']}, {row['lang']}" for row in rows])
    chat = np.isin([row["source"] for row in rows], CHAT)
    langs = np.array([row["lang"] for row in rows])
    parts = {source: sources == source for source in sorted(set(sources.tolist()))}
    parts |= {f"all but chat, {lang}": ~chat & (langs == lang) for lang in sorted(set(langs.tolist()))}
    for name, which in parts.items():
        truth, a, b = labels[which], ours[which] >= 0.5, theirs[which] >= 0
        found = paired_difference(truth, a.astype(np.int64), b.astype(np.int64))
        low, high = found.interval
        print(
            f"| {name} | {len(truth):,} | {(a == truth).mean():.4f} | {(b == truth).mean():.4f} "
            f"| {found.difference:+.2f} ({low:+.2f} to {high:+.2f}) "
            f"| {auc(truth, ours[which])} | {auc(truth, theirs[which])} |"
        )


def never_seen(detector: Predictor, name: str, path: Path) -> None:
    """Print accuracy, recall, false alarms and ROC-AUC on a labelled file, event by event and as their mean."""
    rows = read_labelled(path)
    scores = probabilities(detector, [row.text for row in rows])
    labels = np.array([row.label for row in rows])
    events = np.array([row.event for row in rows])
    names = sorted(set(events.tolist()))
    print(f"| {name} | rows | accuracy | recall | false alarms | ROC-AUC |\n|---|---|---|---|---|---|")
    table = []
    for event in names:
        which = events == event
        passed, truth = scores[which] >= detector.threshold, labels[which]
        values = [
            (passed == truth).mean(),
            passed[truth == 1].mean(),
            passed[truth == 0].mean() if (truth == 0).any() else np.nan,
        ]
        table.append(values)
        print(
            f"| {event or 'all'} | {which.sum():,} | "
            + " | ".join(f"{v:.3f}" for v in values)
            + f" | {auc(truth, scores[which])} |"
        )
    if len(names) > 1:
        print(
            "| mean | | " + " | ".join(f"{v:.3f}" for v in np.nanmean(table, axis=0)) + f" | {auc(labels, scores)} (all rows) |"
        )


def everyday(detector: Predictor, name: str, path: Path) -> None:
    """Print the share of everyday messages that pass: false alarms, but for the few that speak of a real event."""
    texts = list(dict.fromkeys(read_lines(path)))
    random.Random(0).shuffle(texts)
    passed = probabilities(detector, texts[:EVERYDAY]) >= detector.threshold
    print(f"{name}: {passed.sum():,} of {len(passed):,} everyday messages pass ({100 * passed.mean():.2f} %)")


def main() -> None:
    """Run what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with train.csv and test.csv that recipes/beacon/data.py made")
    parser.add_argument("--model", required=True)
    parser.add_argument("--labelled", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--everyday", action="append", default=[], metavar="NAME=FILE")
    arguments = parser.parse_args()
    detector = bongsu.load(arguments.model)
    held_out(detector, arguments.data)
    for name, path in (each.split("=", 1) for each in arguments.labelled):
        never_seen(detector, name, Path(path))
    for name, path in (each.split("=", 1) for each in arguments.everyday):
        everyday(detector, name, Path(path))
    rows = read_labelled(arguments.data / "test.csv")
    texts = [row.text for row in random.Random(0).sample(rows, min(FLIPS, len(rows)))]
    for flips in count_flips(texts, lambda given: [answer.label for answer in detector.predict(list(given))], 0):
        print(flips)


if __name__ == "__main__":
    main()
