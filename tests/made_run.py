"""A run's folder as `bongsu run` leaves it, with small random models instead of trained ones."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import orjson
import torch

from bongsu.files import write_bytes, write_json, write_text
from bongsu.inference.predictor import ModelDetails
from bongsu.inference.torch_backend import load_predictor
from bongsu.model.encoder import Encoder, EncoderConfig
from bongsu.model.heads import CNNConfig
from bongsu.model.initialization import initialize
from bongsu.model.io import save_encoder, save_task_model
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.model.task_model import TaskModel
from bongsu.recipe import CNN, Classification, Finetune, Recipe, dump_recipe
from bongsu.tasks.task import Calibration, Schema
from bongsu.tokens.bpe import load_tokenizer, save_tokenizer

MAX_LENGTH = 48


def make_run(folder: Path, tokenizer: Path, texts: list[str], classes: int = 2, preset: str = "modern") -> Path:
    """Write recipe.toml, pretrain/model, finetune/data and finetune/model; every other text is a row held out."""
    config = EncoderConfig(600, preset, 32, 2, 2, 48, "geglu" if preset == "modern" else "relu", 0.1, MAX_LENGTH)  # type: ignore[arg-type]
    masked_lm = MaskedLanguageModel(config)
    classifier = TaskModel(Encoder(config), CNNConfig(classes, (2, 3), 8))
    for seed, model in enumerate((masked_lm, classifier)):
        initialize(model, seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "norm" in name or "bias" in name:  # as if trained: a forgotten one shows
                    parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))))
    with torch.no_grad():
        weight = classifier.head.linear.weight.normal_(0, 1.5, generator=torch.Generator().manual_seed(2))
        weight.sub_(weight.mean(dim=1, keepdim=True))  # what is read is never negative: so that no class has it for itself
    values = [str(number) for number in range(classes)]
    names = {"0": "other", "1": "disaster", "2": "unclear"}
    task = Classification(
        train="train.csv",
        context=["keyword"],
        names={value: names[value] for value in values},
        max_length=MAX_LENGTH,
        head=CNN(kernel_sizes=[2, 3], filters=8),
    )
    schema = Schema(values)
    details = ModelDetails(task, schema, Calibration(1.0, [0.4] if classes == 2 else []))
    save_encoder(folder / "pretrain" / "model", masked_lm, {"validation": {"accuracy": 0.25, "bits_per_byte": 2.0}})
    save_task_model(folder / "finetune" / "model", classifier, details.to_dict())
    for model in ("pretrain", "finetune"):
        save_tokenizer(load_tokenizer(tokenizer), folder / model / "model", MAX_LENGTH)
    finetune = Finetune(encoder=str(folder / "pretrain" / "model"))
    write_text(folder / "recipe.toml", dump_recipe(Recipe(name="made", task=task, finetune=finetune)))
    predictor = load_predictor(folder)
    best = predictor.probabilities(texts).argmax(axis=1)
    labels = np.where(np.arange(len(texts)) % 5 == 0, 0, best).tolist()  # four in five right, or more
    rows = [
        {**asdict(example), "id": str(number), "target": values[label]}
        for number, (example, label) in enumerate(zip(predictor.examples(texts), labels, strict=True))
    ]
    data = folder / "finetune" / "data"
    write_bytes_of(data / "train.jsonl", rows)
    write_bytes_of(data / "test.jsonl", [])
    write_json(data / "schema.json", asdict(schema))
    held_out = list(range(0, len(texts), 2))
    write_json(data / "splits.json", [{"train": list(range(1, len(texts), 2)), "held_out": held_out}])
    np.save(data / "groups.npy", np.arange(len(texts)))
    return folder


def write_bytes_of(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, b"".join(orjson.dumps(row) + b"\n" for row in rows))
