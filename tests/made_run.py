"""A run's folder as `bongsu run` leaves it, with small random models instead of trained ones."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import torch

from bongsu.files import write_text
from bongsu.finetuning.data import prepare_data
from bongsu.inference.bundle import MANIFEST, write_manifest
from bongsu.inference.onnx import BundlePredictor
from bongsu.inference.predictor import ModelDetails
from bongsu.inference.torch_backend import load_predictor
from bongsu.labelling.features import FEATURES, Rows, Stored
from bongsu.model.encoder import Encoder, EncoderConfig
from bongsu.model.heads import CNNConfig
from bongsu.model.initialization import initialize
from bongsu.model.io import save_encoder, save_task_model
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.model.task_model import TaskModel
from bongsu.recipe import Classification, Finetune, Recipe, Validation, dump_recipe
from bongsu.tasks.task import Calibration, Schema
from bongsu.tokens.bpe import load_tokenizer, save_tokenizer

MAX_LENGTH = 48
THRESHOLD = 0.4


def make_run(folder: Path, tokenizer: Path, texts: list[str], classes: int = 2, preset: str = "modern", **head: object) -> Path:
    """Write recipe.toml, train.csv, pretrain/model, finetune/model and finetune/data; a half of the rows is held out."""
    config = EncoderConfig(600, preset, 32, 2, 2, 48, "geglu" if preset == "modern" else "relu", 0.1, MAX_LENGTH)  # type: ignore[arg-type]
    masked_lm = MaskedLanguageModel(config)
    model = TaskModel(Encoder(config), CNNConfig(**{"n_outputs": classes, "kernel_sizes": (2, 3), "filters": 8, **head}))  # type: ignore[arg-type]
    for seed, part in enumerate((masked_lm, model)):
        initialize(part, seed)
        with torch.no_grad():
            for name, parameter in part.named_parameters():
                if "norm" in name or "bias" in name:  # as if trained: a forgotten one shows
                    parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))))
    with torch.no_grad():
        weight = model.head.linear.weight.normal_(0, 1.5, generator=torch.Generator().manual_seed(2))
        weight.sub_(weight.mean(dim=1, keepdim=True))  # what is read is never negative: so that no class has it for itself
    labels = [str(number) for number in range(classes)]
    task = Classification(
        train=str(folder / "train.csv"),
        context=["keyword"],
        names={"0": "other", "1": "disaster", "2": "unclear"},
        max_length=MAX_LENGTH,
    )
    details = ModelDetails(task, Schema(labels), Calibration(1.25, [THRESHOLD] if classes == 2 else []))
    save_encoder(folder / "pretrain" / "model", masked_lm, {"validation": {"accuracy": 0.25, "bits_per_byte": 2.0}})
    save_task_model(folder / "finetune" / "model", model, details.to_dict())
    for stage in ("pretrain", "finetune"):
        save_tokenizer(load_tokenizer(tokenizer), folder / stage / "model", MAX_LENGTH)
    recipe = Recipe(
        name="made",
        task=task,
        finetune=Finetune(encoder=str(folder / "pretrain" / "model")),
        validation=Validation(folds=0, holdout=0.5),
    )
    write_text(folder / "recipe.toml", dump_recipe(recipe))
    best = load_predictor(folder).probabilities(texts).argmax(axis=1)
    rows = np.arange(len(texts))
    wanted = np.where(rows % 5 == 0, rows // 5 % classes, best)  # four in five right, or more; every class has rows
    with open(folder / "train.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "target", "keyword"])
        writer.writerows([row, text, label, ""] for row, text, label in zip(rows.tolist(), texts, wanted.tolist(), strict=True))
    (folder / "finetune" / "data").mkdir()
    prepare_data(recipe, folder / "finetune" / "data")
    return folder


def add_features(bundle: Path, folder: Path, texts: list[str]) -> Path:
    """Copy a bundle and add features of texts whose class is what the detector says, but for three in ten; of two events."""
    shutil.copytree(bundle, folder)
    detector = BundlePredictor.load(folder, "float32", sessions=1)
    rows = Rows.of(detector, detector.examples(texts))
    flipped = np.random.default_rng(0).random(len(texts)) < 0.3
    targets = ((rows.logits > np.median(rows.logits)) ^ flipped).astype(np.int64)
    Stored(rows, targets, np.arange(len(texts)) % 2, ["2013 flood", "2014 storm"], 0.04).save(folder / FEATURES)
    (folder / MANIFEST).unlink()
    write_manifest(folder, "onnx")
    return folder
