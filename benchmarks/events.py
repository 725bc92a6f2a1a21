"""How good a detector is on events that it was not given: CrisisLexT6 and T26, each event by a detector without its rows.

    python -m benchmarks.events OUT T6.csv T26.csv [--encoder bongsu:beacon] [--rows 1000] [--folds 6]

An event that is in both files is one event. A fold leaves out whole events; at most `--rows` rows of each are drawn. A row is
of a disaster when it is on-topic (T6), or related and informative (T26; what is related and not informative is left out). The
detector is an ensemble with TF-IDF, as the one that ships. The table has accuracy at 0.5 and ROC-AUC of each event, of the
detector, its encoder and its TF-IDF, and their means.
"""

from __future__ import annotations

import argparse
import csv
import random
from collections import defaultdict
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

import bongsu
from benchmarks.measuring import markdown, write_csv
from bongsu.files import write_text
from bongsu.finetuning.baselines import load_baselines
from bongsu.finetuning.data import load_data
from bongsu.finetuning.ensemble import in_file_order, load_measured
from bongsu.recipe import load_recipe
from bongsu.tasks.task import Calibration

SHUFFLE = 0  # the seed by which rows are drawn
CLASSES = {"on-topic": "1", "off-topic": "0", "Related and informative": "1", "Not related": "0"}

RECIPE = """
seed = {seed}

[task]
train = "{train}"
names = {{ "0" = "other", "1" = "disaster" }}
max_length = 64

[finetune]
encoder = "{encoder}"
epochs = 1
interpolation = 0.8
batch_size = 64
encoder_learning_rate = 4e-4
encoder_dropout = 0.1
layer_decay = 0.9
ema = 0.99
patience = "none"
refit = false

[validation]
leave_out = "event"
folds = {folds}
development = 0
diagnose = false

[ensemble]
tfidf = true
"""


def write_rows(files: list[Path], most: int, path: Path) -> None:
    """Write at most `most` rows of each event of the files as text, target and event."""
    events: dict[str, dict[str, str]] = defaultdict(dict)
    for file in files:
        with open(file, encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                if target := CLASSES.get(row.get("label") or row.get("informativeness") or ""):
                    events[row["event"].casefold()].setdefault(row["text"], target)
    drawn = (
        (text, target, event)
        for event, rows in sorted(events.items())
        for text, target in random.Random(SHUFFLE).sample(sorted(rows.items()), min(most, len(rows)))
    )
    write_csv(path, ["text", "target", "event"], drawn)


def main() -> None:
    """Train a detector for each fold and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--encoder", default="bongsu:beacon")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--folds", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    write_rows(options.files, options.rows, options.out / "rows.csv")
    path = options.out / "recipe.toml"
    write_text(
        path,
        RECIPE.format(train=options.out / "rows.csv", encoder=options.encoder, folds=options.folds, seed=options.seed).lstrip(),
    )
    run = bongsu.run(path, out=options.out / "run")
    stages = run.path / "finetune"
    data = load_data(load_recipe(path), stages / "data")
    measured = load_measured(stages / "model")
    tfidf = load_baselines(data, stages / "baselines").tfidf
    assert tfidf is not None
    examples = data.take(measured.rows)
    labels = np.array([int(example.target) for example in examples])
    events = np.array([example.group for example in examples])
    members = [
        measured.seeds[0],
        data.task.probabilities(measured.encoder, Calibration()),
        data.task.probabilities(in_file_order(data, measured.rows, tfidf.folds), Calibration()),
    ]
    table = []
    for event in sorted(set(events.tolist())):
        which = events == event
        truth = labels[which]
        row = []
        for member in members:
            scores = member.values[which, 1]
            row.append(float(((scores >= 0.5) == truth).mean()))
            row.append(float(roc_auc_score(truth, scores)) if 0 < truth.mean() < 1 else np.nan)
        table.append([event, f"{which.sum():,}", *row])
    means = np.nanmean([row[2:] for row in table], axis=0)
    lines = [[*row[:2], *(f"{value:.3f}" for value in row[2:])] for row in [*table, [f"mean of {len(table)}", "", *means]]]
    print(markdown(["event", "rows", "accuracy", "ROC-AUC", "encoder", "ROC-AUC", "TF-IDF", "ROC-AUC"], lines))


if __name__ == "__main__":
    main()
