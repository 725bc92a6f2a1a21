"""What pre-training buys the detector at equal cost: masking rate, vocabulary, size, corpus, each alone against the recipe.

    python studies/pretraining.py recipes/kaggle.toml OUT --steps 750 [--folds 2] [--only NAME ...]

The recipe as it is gets the steps; every option gets as many as cost the same floating-point operations (Kaplan et al. 2020,
section 2.1: of the matrices and of attention, forward and backward). Each encoder is then fine-tuned by the recipe on the first
folds, and measured alone and with TF-IDF beside it. What is done is not done again: each call prints the table for all that OUT
holds, with paired bootstrap intervals over rows. Corpora are in `data/`: tweets.txt, tweets_crisis.txt, pile/*.jsonl.zst.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from detector import options_parser

from bongsu.evaluation.bootstrap import paired_difference
from bongsu.evaluation.metrics import classification_metrics, predictions
from bongsu.files import read_json, write_json
from bongsu.finetuning.cross_validation import Finetuning, together
from bongsu.finetuning.data import read_labelled
from bongsu.model.encoder import EncoderConfig
from bongsu.model.sizes import flops_per_token
from bongsu.pipeline.running import run
from bongsu.recipe import Recipe, load_recipe
from bongsu.tokens.batches import training_shape
from bongsu.tokens.shards import open_shards
from bongsu.training.log import read_log

TASK = "{path='data/train.csv', format='kaggle'}, {path='data/test.csv', format='kaggle'}"
PILE = "{path='data/pile/*.jsonl.zst', format='pile'}"
OPTIONS: dict[str, list[str]] = {
    "recipe": [],
    "masks 30": ["pretrain.mask_rate=0.3"],
    "masks 40": ["pretrain.mask_rate=0.4"],
    "masks 30 to 15": ["pretrain.mask_rate_start=0.3"],
    "vocabulary 4000": ["tokenizer.vocab_size=4000"],
    "vocabulary 16000": ["tokenizer.vocab_size=16000"],
    "d 128": ["model.d_model=128", "model.n_heads=2"],
    "d 384, 6 layers": ["model.d_model=384", "model.n_layers=6", "model.n_heads=6"],
    "crisis tweets only": [f"corpus.sources=[{TASK}, {{path='data/tweets_crisis.txt'}}]"],
    "the Pile only": [f"corpus.sources=[{TASK}, {PILE}]"],
    "tweets and the Pile": [
        f"corpus.sources=[{TASK}, {{path='data/tweets.txt'}}, {PILE[:-1]}, limit=28000}}]",
    ],
}


def folder(out: Path, name: str) -> Path:
    return out / name.replace(" ", "-").replace(",", "")


def option(arguments: argparse.Namespace, name: str) -> Recipe:
    """The recipe with an option's changes, to be run as far as the encoder."""
    alone = ["finetune=none", "predict=none", f"name={folder(Path(), name)}"]
    return load_recipe(arguments.recipe, [*arguments.set, *OPTIONS[name], *alone])


def cost(out: Path, recipe: Recipe) -> tuple[float, float]:
    """Of a step of a recipe whose corpus is encoded: its floating-point operations, and what share of an epoch it reads."""
    assert recipe.pretrain is not None
    shards = open_shards(out / "tokens", "train", verify=False)
    shape = training_shape(shards, recipe.pretrain)
    config = EncoderConfig.from_recipe(recipe.model, recipe.tokenizer.vocab_size)
    work = 3 * flops_per_token(config, shape.row_length, shape.masked / shape.positions)
    return work * shape.positions, shape.sentences / shards.sentences


def measure(arguments: argparse.Namespace, name: str) -> None:
    """Pre-trains an option's encoder and fine-tunes it on the first folds."""
    out, store = arguments.out, arguments.out / "store"
    for each in ("recipe", name):
        if not (folder(out, each) / "tokens" / "tokens.json").is_file():
            run(option(arguments, each), folder(out, each), "encode", store)
    budget, _ = cost(folder(out, "recipe"), option(arguments, "recipe"))
    work, share = cost(folder(out, name), option(arguments, name))
    steps = round(arguments.steps * budget / work)
    write_json(folder(out, name) / "cost.json", {"steps": steps, "epochs": steps * share})
    recipe = option(arguments, name)
    assert recipe.pretrain is not None
    pretrain = recipe.pretrain.model_copy(update={"steps": steps, "evaluations": 4})
    run(recipe.model_copy(update={"pretrain": pretrain}), folder(out, name), "pretrain", store)
    task = load_recipe(arguments.recipe, [*arguments.set, *OPTIONS[name]])
    settings = task.finetune
    assert settings is not None, "the recipe has no [finetune] section"
    data = read_labelled(settings, settings.train, settings.where)
    tuning = Finetuning(task, settings, folder(out, name) / "pretrain" / "model", folder(out, name) / "folds", data, None)
    for number, split in list(enumerate(tuning.splits()))[: arguments.folds]:
        write_json(tuning.folder / f"held-{number}.json", data.labels[split[1]].tolist())
        tuning.measure(split, number, 0, arguments.folds)


def measured(where: Path, folds: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the folds: labels [rows], and probabilities [rows, classes] of the encoder alone and with TF-IDF."""
    labels = np.concatenate([read_json(where / "folds" / f"held-{number}.json") for number in folds])
    results: list[dict[str, Any]] = [read_json(where / "folds" / f"fold-{number}" / "result.json") for number in folds]
    alone = np.concatenate([np.array(result["probabilities"]) for result in results])
    return labels, alone, np.concatenate(list(map(together, results)))


def cells(labels: np.ndarray, table: np.ndarray, base: np.ndarray) -> list[str]:
    """Accuracy, its difference to the recipe's in points, and ROC-AUC."""
    figures = classification_metrics(labels, table)
    found = paired_difference(labels, [predictions(table)], predictions(base))
    low, high = found["interval"]
    difference = f"{found['difference']:+.1f} ({low:+.1f} to {high:+.1f})"
    return [f"{figures['accuracy']:.4f}", difference, f"{figures['roc_auc']:.4f}"]


def show(arguments: argparse.Namespace) -> None:
    """The table of all options whose folds are done."""
    folds = list(range(arguments.folds))
    done = [
        name
        for name in OPTIONS
        if all((folder(arguments.out, name) / "folds" / f"fold-{number}" / "result.json").is_file() for number in folds)
    ]
    if "recipe" not in done:
        return
    bases = measured(folder(arguments.out, "recipe"), folds)[1:]
    print("| | steps | epochs | bits per byte | alone | difference | ROC-AUC | with TF-IDF | difference | ROC-AUC |")
    print(f"|{'---|' * 10}")
    for name in done:
        where = folder(arguments.out, name)
        spent, log = read_json(where / "cost.json"), read_log(where / "pretrain" / "checkpoints" / "metrics.jsonl")
        labels, *tables = measured(where, folds)
        figures = [text for table, base in zip(tables, bases, strict=True) for text in cells(labels, table, base)]
        bits = log[-1]["validation_bits_per_byte"]
        row = [name, f"{spent['steps']:,}", f"{spent['epochs']:.2f}", f"{bits:.3f}", *figures]
        print(f"| {' | '.join(row)} |")


def main() -> None:
    parser = options_parser(__doc__, OPTIONS)
    parser.add_argument("--steps", type=int, default=750)
    arguments = parser.parse_args()
    for name in arguments.only:
        measure(arguments, name)
    show(arguments)


if __name__ == "__main__":
    main()
