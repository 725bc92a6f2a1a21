"""What the encoder that ships saves as a start: fine-tuned on few and many labelled rows, beside an encoder of one's own.

    python -m benchmarks.starts OUT LABELLED.csv --text text --label target [--own runs/own] [--rows 100,500,2000] [--seeds 3]

The last `--test` rows of the shuffled file are measured on, always the same; of the others the first N are trained on, and last
all of them. Columns are the mean accuracy over seeds (least to largest); TF-IDF with logistic regression has
learned from the same rows. `--own` is a run or a model folder whose encoder has read the file's texts, or others.
"""

from __future__ import annotations

import argparse
import csv
import random
import statistics
from pathlib import Path

import bongsu
from benchmarks.measuring import markdown, write_csv
from bongsu.files import read_json, write_text

SHUFFLE = 0  # the seed by which rows are drawn

RECIPE = """
seed = {seed}

[task]
train = "{train}"
test = "{test}"
max_length = 96

[finetune]
encoder = "{encoder}"
epochs = {epochs}
patience = "none"
encoder_learning_rate = 3e-4
layer_decay = 0.9
refit = false

[validation]
folds = 0
holdout = 0.1
development = 0.02
diagnose = false
"""


def measure(folder: Path, train: Path, test: Path, encoder: str, epochs: int, seed: int) -> tuple[float, float]:
    """Return the accuracy on the test rows of a detector that is fine-tuned from an encoder, and that of TF-IDF."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe = folder / "recipe.toml"
    write_text(recipe, RECIPE.format(seed=seed, train=train, test=test, encoder=encoder, epochs=epochs).lstrip())
    run = bongsu.run(recipe, out=folder / "run")
    measured = read_json(run.path / "evaluation" / "summary.json")["test"]
    tfidf = next(values for name, values in measured.items() if name.startswith("TF-IDF"))
    return float(measured["model"]["accuracy"]), float(tfidf["accuracy"])


def main() -> None:
    """Train and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("labelled", type=Path)
    parser.add_argument("--text", default="text")
    parser.add_argument("--label", default="target")
    parser.add_argument("--own", help="a run or a model folder with an encoder of one's own")
    parser.add_argument("--rows", default="100,500,2000")
    parser.add_argument("--test", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    with open(options.labelled, encoding="utf-8", newline="") as file:
        rows = [(row[options.text], row[options.label]) for row in csv.DictReader(file)]
    random.Random(SHUFFLE).shuffle(rows)
    training, held_out = rows[: -options.test], rows[-options.test :]
    options.out.mkdir(parents=True, exist_ok=True)
    test = options.out / "test.csv"
    write_csv(test, ["text", "target"], held_out)
    encoders = {"bongsu:beacon": "bongsu:beacon", **({"own encoder": options.own} if options.own else {})}
    table = []
    for count in [*(int(each) for each in options.rows.split(",")), len(training)]:
        train = options.out / f"train-{count}.csv"
        write_csv(train, ["text", "target"], training[:count])
        epochs = 4 if count > 1000 else 10
        line, tfidf = [f"{count:,}"], 0.0
        for name, encoder in encoders.items():
            found = []
            for seed in range(1, options.seeds + 1):
                folder = options.out / f"{name.partition(':')[0].replace(' ', '-')}-{count}-{seed}"
                accuracy, tfidf = measure(folder, train, test, encoder, epochs, seed)
                found.append(accuracy)
            line.append(f"{statistics.mean(found):.3f} ({min(found):.3f} to {max(found):.3f})")
        table.append([*line, f"{tfidf:.3f}"])
        print("| " + " | ".join(table[-1]) + " |", flush=True)
    print("\n" + markdown(["labelled rows", *encoders, "TF-IDF"], table))


if __name__ == "__main__":
    main()
