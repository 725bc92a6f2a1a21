"""What TF-IDF reaches under a recipe's own protocol, in seconds: the same rows, folds and rules, no encoder needed.

    python studies/baseline.py recipes/kaggle.toml --set finetune.leave_out=keyword [--against FOLDER ...]

`--against`: folders of folds that studies/detector.py or a run measured under the same settings. On the rows of the folds that
all of them hold, the detector of each seed, the seeds together, a student, and each with TF-IDF together are compared with
TF-IDF; of several folders also all of them together. A test file that the recipe names is measured too, trained on all rows.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np

from bongsu.evaluation.bootstrap import paired_difference
from bongsu.evaluation.metrics import classification_metrics, predictions
from bongsu.files import read_json
from bongsu.finetuning.baselines import majority, tfidf_logistic
from bongsu.finetuning.data import read_labelled
from bongsu.finetuning.splits import groups_of, protocol_splits
from bongsu.inference.calibration import ensemble
from bongsu.recipe import load_recipe

COLUMNS = ("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "ece")
Tables = dict[str, dict[int, np.ndarray]]  # of each kind of training, such as "seed-1" or "student", the folds' probabilities


def show(name: str, labels: np.ndarray, tables: list[np.ndarray], theirs: np.ndarray | None = None) -> None:
    """A row of the table: figures of one model, or their mean over several; against those of TF-IDF if there are any."""
    figures = [classification_metrics(labels, table) for table in tables]
    cells = [f"{np.mean([figure[key] for figure in figures]):.4f}" for key in COLUMNS]
    low, high = np.mean([figure["accuracy_interval"] for figure in figures], axis=0)
    cells[0] += f" ({low:.3f} to {high:.3f})"
    against = ""
    if theirs is not None:
        found = paired_difference(labels, [predictions(table) for table in tables], predictions(theirs))
        low, high = found["interval"]
        against = f"{found['difference']:+.2f} ({low:+.2f} to {high:+.2f})"
    print(f"| {name} | {len(labels):,} | {' | '.join(cells)} | {against} |", flush=True)


def measured(folder: Path) -> Tables:
    """The probabilities that a folder's `fold-N[-seed-S | -student]/result.json` hold."""
    tables: Tables = {}
    for path in sorted(folder.glob("fold-*/result.json")):
        number, kind = re.fullmatch(r"fold-(\d+)-?(.*)", path.parent.name).groups()  # type: ignore[union-attr]
        tables.setdefault(kind or "seed-0", {})[int(number)] = np.array(read_json(path)["probabilities"])
    return tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--against", type=Path, nargs="*", default=[])
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.recipe, arguments.set)
    settings = recipe.finetune
    assert settings is not None, "the recipe has no [finetune] section"
    data = read_labelled(settings, settings.train, settings.where)
    parts = protocol_splits(settings, data, groups_of(data.cleaned), recipe.seed)
    count, texts = len(data.classes), data.texts
    tables = {name: np.zeros((len(texts), count)) for name in ("majority", "TF-IDF")}

    print(f"| | rows | {' | '.join(COLUMNS)} | against TF-IDF, points |\n|---|{'---|' * (len(COLUMNS) + 2)}")
    for number, (train, held) in enumerate(parts):
        tables["majority"][held] = majority(data.labels[train], count, len(held))
        tables["TF-IDF"][held] = tfidf_logistic([texts[r] for r in train], data.labels[train], [texts[r] for r in held], count)
        values = sorted({data.values[row] for row in held}) if settings.leave_out else []
        show(f"TF-IDF, {values[0] if len(values) == 1 else f'fold {number + 1}'}", data.labels[held], [tables["TF-IDF"][held]])

    rows = np.concatenate([held for _, held in parts])
    for name in ("majority", "TF-IDF"):
        show(f"{name}, all folds", data.labels[rows], [tables[name][rows]])
    if settings.test:
        test = read_labelled(settings, settings.test, settings.test_where, data.classes)
        show("majority, test rows", test.labels, [majority(data.labels, count, len(test.labels))])
        show("TF-IDF, test rows", test.labels, [tfidf_logistic(texts, data.labels, test.texts, count)])
    if arguments.against:
        compare(arguments.against, [held for _, held in parts], data.labels, tables["TF-IDF"])


def compare(folders: list[Path], parts: list[np.ndarray], labels: np.ndarray, tfidf: np.ndarray) -> None:
    """What the folders hold against TF-IDF, on the folds that all of them hold."""
    found = {folder: measured(folder) for folder in folders}
    done = set.intersection(*(set(folds) for tables in found.values() for folds in tables.values()))
    numbers = [number for number in range(len(parts)) if number in done]
    if not numbers:
        raise SystemExit("There is no fold that all the trainings in these folders were measured on.")
    rows = np.concatenate([parts[number] for number in numbers])
    truth, theirs = labels[rows], tfidf[rows]
    show(f"TF-IDF, {len(numbers)} folds", truth, [theirs])
    everything = []
    for folder, tables in found.items():
        kinds = {kind: np.concatenate([folds[number] for number in numbers]) for kind, folds in tables.items()}
        student, seeds = kinds.pop("student", None), list(kinds.values())
        everything += seeds
        together = ensemble(*seeds)
        for number, table in enumerate(seeds):
            show(f"{folder}, seed {number + 1}", truth, [table], theirs)
        show(f"{folder}, one seed, mean of {len(seeds)}", truth, seeds, theirs)
        show(f"{folder}, seeds together", truth, [together], theirs)
        show(f"{folder}, one seed with TF-IDF", truth, [ensemble(table, theirs) for table in seeds], theirs)
        show(f"{folder}, seeds and TF-IDF together", truth, [ensemble(together, theirs)], theirs)
        if student is not None:
            show(f"{folder}, student", truth, [student], theirs)
            show(f"{folder}, student and TF-IDF together", truth, [ensemble(student, theirs)], theirs)
    if len(folders) > 1:
        show("all folders together", truth, [ensemble(*everything)], theirs)
        show("all folders and TF-IDF together", truth, [ensemble(ensemble(*everything), theirs)], theirs)


if __name__ == "__main__":
    main()
