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
from sklearn.metrics import log_loss, roc_auc_score

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
METRICS: dict[str, Callable[[Int64, Float64], float]] = {
    "accuracy": lambda truth, positive: float(np.mean((positive >= 0.5) == truth)),
    "ROC-AUC": lambda truth, positive: float(roc_auc_score(truth, positive)),
    "log loss": lambda truth, positive: float(log_loss(truth, positive)),
}


@dataclass(frozen=True)
class Measurement:
    """Calibrated probabilities on rows that a model was not trained on."""

    truth: Int64
    """[N], 1 for a disaster."""
    positive: Float64
    """[seeds, N], the probability of a disaster."""

    def metrics(self, rows: Int64 | None = None) -> Float64:
        """Return each of `METRICS` on some rows, by default all; the mean over seeds."""
        chosen = np.arange(len(self.truth)) if rows is None else rows
        return np.array(
            [np.mean([metric(self.truth[chosen], seed[chosen]) for seed in self.positive]) for metric in METRICS.values()]
        )


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
    draws = np.array(
        [one.metrics(drawn) - before.metrics(drawn) for drawn in (rng.integers(0, rows, rows) for _ in range(DRAWS))]
    )
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    middle = one.metrics() - before.metrics()
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
    table = [[part, *(f"{value:.4f}" for value in each.metrics())] for part, each in found.items()]
    print("\n" + markdown([options.encoder, *METRICS], table))
    if options.before:
        rows = [[part, *differences(each, load(options.before, part))] for part, each in found.items()]
        print("\n" + markdown([f"against {options.before}", *METRICS], rows))


if __name__ == "__main__":
    main()
