"""A run's folder as `bongsu run` leaves it, with small random models instead of trained ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from bongsu.files import write_json, write_text
from bongsu.inference.torch_backend import Detector
from bongsu.model.encoder import Encoder, EncoderConfig
from bongsu.model.heads import Classifier, CNNConfig, MaskedLanguageModel
from bongsu.model.initialization import initialize
from bongsu.model.io import save_classifier, save_encoder
from bongsu.recipe import Cleaning, Finetune, Recipe, dump_recipe
from bongsu.tokens.bpe import load_tokenizer, save_tokenizer

MAX_LENGTH = 48


def make_run(folder: Path, tokenizer: Path, texts: list[str], classes: int = 2, preset: str = "modern", **head: object) -> Path:
    """Writes recipe.toml, pretrain/model, finetune/model and finetune/predictions.json."""
    config = EncoderConfig(600, preset, 32, 2, 2, 48, "geglu" if preset == "modern" else "relu", 0.1, MAX_LENGTH)  # type: ignore[arg-type]
    masked_lm = MaskedLanguageModel(config)
    classifier = Classifier(Encoder(config), CNNConfig(classes, (2, 3), 8, **head))  # type: ignore[arg-type]
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
    finetune = Finetune(train="train.csv", encoder=str(folder / "pretrain" / "model"), names=names, max_length=MAX_LENGTH)
    details = {
        "classes": values,
        "names": [names[value] for value in values],
        "context": ["keyword"],
        "text": "text",
        "id": "id",
        "max_length": MAX_LENGTH,
        "threshold": 0.4,
        "cleaning": Cleaning(min_characters=1).model_dump(),
    }
    save_encoder(folder / "pretrain" / "model", masked_lm, {"validation": {"accuracy": 0.25, "bits_per_byte": 2.0}})
    save_classifier(folder / "finetune" / "model", classifier, details)
    for model in ("pretrain", "finetune"):
        save_tokenizer(load_tokenizer(tokenizer), folder / model / "model", MAX_LENGTH)
    write_text(folder / "recipe.toml", dump_recipe(Recipe(name="made", finetune=finetune)))
    table = Detector.load(folder).probabilities(texts)
    labels = np.where(np.arange(len(texts)) % 5 == 0, 0, table.argmax(axis=1))  # four in five right, or more
    rows = list(range(0, len(texts), 2))
    predictions = {"classes": values, "texts": texts, "labels": labels, "rows": rows, "probabilities": table[rows]}
    write_json(folder / "finetune" / "predictions.json", predictions)
    return folder
