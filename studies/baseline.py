"""What TF-IDF reaches under a recipe's own protocol, in seconds: the same rows, folds and rules, no encoder needed.

    python studies/baseline.py recipes/kaggle.toml --set finetune.leave_out=keyword [--against OUT/settings]

`--against`: a folder of folds that studies/detector.py or a run measured under the same settings. The detector of each fold it
holds is compared with TF-IDF on the fold's rows. A test file that the recipe names is measured too, trained on all rows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from bongsu.evaluation.bootstrap import paired_difference
from bongsu.evaluation.metrics import classification_metrics, predictions
from bongsu.evaluation.repeats import ensemble
from bongsu.files import read_json
from bongsu.recipe import load_recipe
from bongsu.tasks.baselines import majority, tfidf_logistic
from bongsu.tasks.labelled import read_labelled
from bongsu.tasks.splits import groups_of, protocol_splits

COLUMNS = ("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "ece")


def show(name: str, labels: np.ndarray, table: np.ndarray) -> None:
    figures = classification_metrics(labels, table)
    low, high = figures["accuracy_interval"]
    cells = [f"{figures[key]:.4f}" for key in COLUMNS]
    cells[0] += f" ({low:.3f} to {high:.3f})"
    print(f"| {name} | {len(labels):,} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--against", type=Path)
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.recipe, arguments.set)
    settings = recipe.finetune
    assert settings is not None, "the recipe has no [finetune] section"
    data = read_labelled(settings, settings.train, settings.where)
    parts = protocol_splits(settings, data, groups_of(data.cleaned), recipe.seed)
    count, texts = len(data.classes), data.texts
    tables = {name: np.zeros((len(texts), count)) for name in ("majority", "TF-IDF", "detector")}
    measured = []

    print(f"| | rows | {' | '.join(COLUMNS)} |\n|---|{'---|' * (len(COLUMNS) + 1)}")
    for number, (train, held) in enumerate(parts):
        tables["majority"][held] = majority(data.labels[train], count, len(held))
        tables["TF-IDF"][held] = tfidf_logistic([texts[r] for r in train], data.labels[train], [texts[r] for r in held], count)
        values = sorted({data.values[row] for row in held}) if settings.leave_out else []
        show(f"TF-IDF, {values[0] if len(values) == 1 else f'fold {number + 1}'}", data.labels[held], tables["TF-IDF"][held])
        result = arguments.against and arguments.against / f"fold-{number}" / "result.json"
        if result and result.is_file():
            tables["detector"][held] = read_json(result)["probabilities"]
            show("… the detector", data.labels[held], tables["detector"][held])
            measured.append(held)

    rows = np.concatenate([held for _, held in parts])
    for name in ("majority", "TF-IDF"):
        show(f"{name}, all folds", data.labels[rows], tables[name][rows])
    if settings.test:
        test = read_labelled(settings, settings.test, settings.test_where, data.classes)
        show("majority, test rows", test.labels, majority(data.labels, count, len(test.labels)))
        show("TF-IDF, test rows", test.labels, tfidf_logistic(texts, data.labels, test.texts, count))
    if measured:
        rows = np.concatenate(measured)
        labels, ours, theirs = data.labels[rows], tables["detector"][rows], tables["TF-IDF"][rows]
        together = ensemble(ours, theirs)
        for name, table in (("TF-IDF", theirs), ("the detector", ours), ("both together", together)):
            show(f"{name}, folds of the detector", labels, table)
        for name, table in (("detector", ours), ("both together", together)):
            found = paired_difference(labels, predictions(table), predictions(theirs), seed=recipe.seed)
            low, high = found["interval"]
            print(f"\n{name} - TF-IDF: {found['difference']:+.1f} points (95 % interval {low:+.1f} to {high:+.1f})")


if __name__ == "__main__":
    main()
