"""Measure an encoder on Kaggle's train.csv by the protocol of this folder's README.md.

    python -m benchmarks.records OUT TRAIN.csv ENCODER [--before OUT_OF_THE_RECORD] [--seeds 3] [--set KEY=VALUE]

ENCODER is what `finetune.encoder` takes. Prints a row of the table for the encoder alone and one for its ensemble with TF-IDF;
with `--before` also the paired differences from the record before, with 95 % intervals by the bootstrap over rows.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import bongsu
from benchmarks.measuring import markdown
from bongsu.arrays import Float64, Int64
from bongsu.files import atomic_file
from bongsu.finetuning.data import load_data
from bongsu.finetuning.ensemble import load_measured
from bongsu.recipe import load_recipe

RECIPE = Path("recipes/kaggle.toml")
DRAWS = 1000
PARTS = {"alone": "false", "with TF-IDF": "true"}


def accuracy(truth: Int64, positive: Float64, counts: Float64) -> Float64:
    """Return the share of right answers at 0.5, [draws], each row counted as often as `counts` [draws, N] says."""
    result: Float64 = counts @ ((positive >= 0.5) == truth) / counts.sum(axis=1)
    return result


def roc_auc(truth: Int64, positive: Float64, counts: Float64) -> Float64:
    """Return the probability that a positive row has a higher score than a negative one, ties counting half."""
    order = np.argsort(positive, kind="stable")
    first = np.flatnonzero(np.diff(positive[order], prepend=-1.0))  # where a new score begins
    positives, negatives = (np.add.reduceat(counts[:, order] * side[order], first, axis=1) for side in (truth, 1 - truth))
    below = negatives.cumsum(axis=1) - negatives / 2
    result: Float64 = (positives * below).sum(axis=1) / (positives.sum(axis=1) * negatives.sum(axis=1))
    return result


def log_loss(truth: Int64, positive: Float64, counts: Float64) -> Float64:
    """Return the mean negative logarithm of the true class's probability."""
    losses = -np.log(np.clip(np.where(truth == 1, positive, 1.0 - positive), 1e-7, 1.0))
    result: Float64 = counts @ losses / counts.sum(axis=1)
    return result


METRICS: dict[str, Callable[[Int64, Float64, Float64], Float64]] = {
    "accuracy": accuracy,
    "ROC-AUC": roc_auc,
    "log loss": log_loss,
}


@dataclass(frozen=True)
class Measurement:
    """Calibrated probabilities on rows that a model was not trained on."""

    truth: Int64
    """[N], 1 for a disaster."""
    positive: Float64
    """[seeds, N], the probability of a disaster."""

    def metrics(self, counts: Float64) -> Float64:
        """Return each of `METRICS`, [draws, 3], the mean over seeds; each row counts as often as `counts` [draws, N] says."""
        return np.stack(
            [np.mean([metric(self.truth, seed, counts) for seed in self.positive], axis=0) for metric in METRICS.values()],
            axis=1,
        )

    @property
    def measured(self) -> Float64:
        """Each of `METRICS`, [3]."""
        result: Float64 = self.metrics(np.ones((1, len(self.truth))))[0]
        return result


def measure(options: argparse.Namespace) -> dict[str, Measurement]:
    """Train the folds, if they are not trained yet, and return what each part of the model measured.

    Only the ensemble differs between the parts, so the folds are trained once.
    """
    found = {}
    for part, tfidf in PARTS.items():
        changes = [
            "corpus=none",
            "pretrain=none",
            "predict=none",
            f"finetune.encoder={options.encoder}",
            "finetune.refit=false",
            f"task.train={options.train}",
            f"validation.seeds={options.seeds}",
            "validation.diagnose=false",
            f"ensemble.tfidf={tfidf}",
            *options.set,
        ]
        run = bongsu.run(RECIPE, out=options.out / "run", changes=changes)
        recipe = load_recipe(run.path / "recipe.toml")
        data, measured = load_data(recipe, run.path / "finetune" / "data"), load_measured(run.path / "finetune" / "model")
        truth = np.array([example.target == "1" for example in data.take(measured.rows)], dtype=np.int64)
        found[part] = Measurement(truth, np.stack([seed.values[:, 1] for seed in measured.seeds]).astype(np.float64))
        save(options.out, part, found[part])
    return found


def save(folder: Path, part: str, measurement: Measurement) -> None:
    """Keep a measurement beside the run, for a later one to be compared with."""
    for name, table in (("truth", measurement.truth), (part, measurement.positive)):
        with atomic_file(folder / f"{name}.npy") as file:
            np.save(file, table)


def load(folder: Path, part: str) -> Measurement:
    """Return a measurement that `save` kept."""
    return Measurement(np.load(folder / "truth.npy"), np.load(folder / f"{part}.npy"))


def differences(one: Measurement, before: Measurement) -> list[str]:
    """Return by how much each metric differs from that of an earlier try on the same rows, with the 95 % interval."""
    assert np.array_equal(one.truth, before.truth), "the two tries measured different rows"
    rng, rows = np.random.default_rng(0), len(one.truth)
    counts = rng.multinomial(rows, np.full(rows, 1.0 / rows), size=DRAWS).astype(np.float64)
    low, high = np.quantile(one.metrics(counts) - before.metrics(counts), [0.025, 0.975], axis=0)
    middle = one.measured - before.measured
    return [f"{m:+.4f} ({a:+.4f} to {b:+.4f})" for m, a, b in zip(middle, low, high, strict=True)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("train", type=Path)
    parser.add_argument("encoder")
    parser.add_argument("--before", type=Path, help="OUT of the try to compare with")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting of the recipe")
    options = parser.parse_args()
    found = measure(options)
    table = [[part, *(f"{value:.4f}" for value in each.measured)] for part, each in found.items()]
    print("\n" + markdown([options.encoder, *METRICS], table))
    if options.before:
        rows = [[part, *differences(each, load(options.before, part))] for part, each in found.items()]
        print("\n" + markdown([f"against {options.before}", *METRICS], rows))


if __name__ == "__main__":
    main()
