"""How good can anything be on a labelled file? What its near-twins, its doubtful labels and fewer of its rows say.

    python studies/ceiling.py recipes/kaggle.toml [--against FOLDER] [--shares 0.125 0.25 0.5 1]

- Near-twins with different labels: each row is given the label of the majority of its twins. Nothing that reads the text alone
  should be expected to do much better on those rows.
- Labels that confident learning doubts: by one classifier's probabilities, accuracy of the other on the rows that are left.
- Errors that the detector and TF-IDF have in common.
- TF-IDF from shares of the training rows: whether more rows would help.

`--against`: a folder of folds, as for studies/baseline.py; its seeds are put together.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from baseline import measured

from bongsu.evaluation.metrics import predictions, wilson
from bongsu.finetuning.audit import label_errors
from bongsu.finetuning.baselines import tfidf_logistic
from bongsu.finetuning.data import read_labelled
from bongsu.finetuning.splits import groups_of, protocol_splits
from bongsu.inference.calibration import ensemble
from bongsu.recipe import load_recipe
from bongsu.tokens.random import permute


def say(what: str, right: np.ndarray) -> None:
    low, high = wilson(int(right.sum()), len(right))
    print(f"| {what} | {len(right):,} | {right.mean():.4f} | {low:.3f} to {high:.3f} |", flush=True)


def twins_majority(labels: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows that have near-twins, and whether the majority of the twins' labels is the row's; ties count half, by turns."""
    rows, right = [], []
    for group in np.flatnonzero(np.bincount(groups) > 1):
        members = np.flatnonzero(groups == group)
        for turn, row in enumerate(members):
            votes = np.bincount(labels[members[members != row]], minlength=labels.max() + 1)
            best = np.flatnonzero(votes == votes.max())
            rows.append(row)
            right.append(best[turn % len(best)] == labels[row])
    return np.array(rows), np.array(right)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--against", type=Path)
    parser.add_argument("--shares", type=float, nargs="*", default=[0.125, 0.25, 0.5, 1.0])
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.recipe, arguments.set)
    settings = recipe.finetune
    assert settings is not None, "the recipe has no [finetune] section"
    data = read_labelled(settings, settings.train, settings.where)
    groups, labels, texts = groups_of(data.cleaned), data.labels, data.texts
    parts = protocol_splits(settings, data, groups, recipe.seed)

    print("| | rows | accuracy | 95 % interval |\n|---|---|---|---|")
    twins, agree = twins_majority(labels, groups)
    say("the label of a row's near-twins", agree)
    for share in arguments.shares:
        table = np.zeros((len(labels), len(data.classes)))
        for number, (train, held) in enumerate(parts):
            rows = train[permute(np.arange(round(share * len(train))), len(train), recipe.seed + number)]
            table[held] = tfidf_logistic([texts[r] for r in rows], labels[rows], [texts[r] for r in held], len(data.classes))
        say(f"TF-IDF from {share:.1%} of the training rows", predictions(table) == labels)
    models = {"TF-IDF": table}  # of the last share
    if arguments.against:
        kinds = {kind: folds for kind, folds in measured(arguments.against).items() if kind != "student"}
        table = np.zeros_like(table)
        for number, (_, held) in enumerate(parts):
            table[held] = ensemble(*(folds[number] for folds in kinds.values()))
        models["the detector"] = table
        models["both together"] = ensemble(table, models["TF-IDF"])
    right = {name: predictions(table) == labels for name, table in models.items()}
    for name in models:
        say(f"{name}, rows with near-twins", right[name][twins])
        say(f"{name}, rows without", np.delete(right[name], twins))
    for doubter, table in models.items():
        doubted = np.zeros(len(labels), dtype=bool)
        doubted[label_errors(labels, table)] = True
        for name in models:
            if name != doubter and "both together" not in (name, doubter):
                say(f"{name}, labels that {doubter} does not doubt", right[name][~doubted])
                say(f"{name}, labels that {doubter} doubts", right[name][doubted])
    if "the detector" in models:
        one, other = right["the detector"], right["TF-IDF"]
        print(f"\nwrong: both {np.mean(~one & ~other):.4f}, the detector alone {np.mean(~one & other):.4f}, "
              f"TF-IDF alone {np.mean(one & ~other):.4f} of all rows")  # fmt: skip
        sure = models["both together"].max(axis=1) > 0.9
        share, good = sure.mean(), right["both together"][sure].mean()
        print(f"both together are surer than 0.9 of {share:.4f} of the rows, and right on {good:.4f} of those")


if __name__ == "__main__":
    main()
