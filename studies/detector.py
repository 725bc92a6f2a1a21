"""Which fine-tuning options help: each alone against the same settings without it, on the same folds and seeds.

    python studies/detector.py recipes/kaggle.toml OUT --set finetune.encoder=runs/kaggle --folds 2 --seeds 2 [--only NAME ...]

What is done is not done again, so the table may be made in pieces: each call prints it for all that OUT holds. With
[finetune.distill] the student of each fold's seeds is measured too; `python studies/baseline.py RECIPE --against OUT/settings`
compares them with TF-IDF.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bongsu.files import read_json
from bongsu.finetuning.cross_validation import Finetuning
from bongsu.finetuning.data import read_labelled
from bongsu.finetuning.distillation import Distillation
from bongsu.pipeline.stages import named_encoder
from bongsu.recipe import load_recipe

OPTIONS: dict[str, list[str]] = {
    "settings": [],
    "no context": ["context=[]"],
    "context_dropout": ["context_dropout=0.2"],
    "link_dropout": ["link_dropout=0.3"],
    "encoder_dropout": ["encoder_dropout=0.1"],
    "token_dropout": ["token_dropout=0.1"],
    "layer_decay": ["layer_decay=0.8"],
    "unfreeze_epochs": ["unfreeze_epochs=1"],
    "ema": ["ema=0.99"],
    "label_smoothing": ["label_smoothing=0.1"],
    "r_drop": ["r_drop=1.0", "encoder_dropout=0.1"],
    "mixup": ["mixup=0.4"],
    "dropout_samples": ["dropout_samples=4"],
    "mean pooling": ["pooling=['mean']"],
    "attention pooling": ["pooling=['attention']"],
    "layers": ["layers=3"],
    "aeda": ["augmentation=aeda"],
    "eda": ["augmentation=eda"],
    "masked_lm": ["augmentation=masked_lm"],
    "frozen encoder": ["freeze=true"],
    "lower rate": ["encoder_learning_rate=1e-4"],
    "higher rate": ["encoder_learning_rate=1e-3"],
    "lower head rate": ["learning_rate=3e-4"],
    "two epochs": ["epochs=2"],
    "three epochs": ["epochs=3"],
    "five epochs": ["epochs=5"],
    "larger batches": ["batch_size=64"],
    "less head dropout": ["head_dropout=0.2"],
    "location too": ["context=['keyword', 'location']"],
}


def measure(arguments: argparse.Namespace, name: str) -> None:
    """Trains an option on the first folds, from each seed."""
    changes = [*arguments.set, *(f"finetune.{change}" for change in OPTIONS[name])]
    recipe = load_recipe(arguments.recipe, changes)
    settings = recipe.finetune
    assert settings is not None
    assert settings.encoder is not None, "give the encoder's folder: --set finetune.encoder=runs/kaggle"
    data = read_labelled(settings, settings.train, settings.where)
    folder = arguments.out / name.replace(" ", "-")
    work = Finetuning(recipe, settings, named_encoder(settings.encoder), folder, data, None)
    splits = work.splits()
    folds = list(enumerate(splits[: arguments.folds]))
    members = [
        [work.measure(split, number, seed, arguments.folds) for number, split in folds] for seed in range(arguments.seeds)
    ]
    if settings.distill:
        distillation = Distillation(work, settings.distill)
        for number, split in folds:
            distillation.measure(split, number, [results[number] for results in members])


def row(folder: Path) -> dict[str, Any] | None:
    """Mean accuracy, F1, ROC-AUC and log loss of what a folder holds, by fold and seed."""
    paths = [path for path in sorted(folder.glob("fold-*/result.json")) if not path.parent.name.endswith("-student")]
    return {path.parent.name: read_json(path)["figures"] for path in paths} or None


def options_parser(description: str | None, options: Iterable[str]) -> argparse.ArgumentParser:
    """The arguments of a study that measures options one by one."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--only", nargs="*", choices=options, default=list(options), metavar="NAME")
    return parser


def main() -> None:
    parser = options_parser(__doc__, OPTIONS)
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    for name in arguments.only:
        measure(arguments, name)

    base = row(arguments.out / "settings") or {}
    print("| option | accuracy | difference | its spread | F1 | ROC-AUC | log loss | trainings |")
    print("|---|---|---|---|---|---|---|---|")
    for name in OPTIONS:
        if (found := row(arguments.out / name.replace(" ", "-"))) is None:
            continue
        mean = {key: np.mean([figure[key] for figure in found.values()]) for key in ("accuracy", "f1", "roc_auc", "loss")}
        paired = [100 * (figure["accuracy"] - base[place]["accuracy"]) for place, figure in found.items() if place in base]
        spread = f"±{np.std(paired, ddof=1):.1f}" if len(paired) > 1 and name != "settings" else ""
        difference = f"{np.mean(paired):+.1f}" if paired and name != "settings" else ""
        print(
            f"| {name} | {mean['accuracy']:.4f} | {difference} | {spread} | {mean['f1']:.4f} | {mean['roc_auc']:.4f} "
            f"| {mean['loss']:.4f} | {len(found)} |"
        )


if __name__ == "__main__":
    main()
