"""From a run's folder to a bundle that needs no run, and as ONNX no torch."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bongsu.errors import WorkspaceError
from bongsu.export.card import model_card
from bongsu.export.modernbert import write_modernbert
from bongsu.export.onnx import export_detector, export_masked_lm, shortest_text
from bongsu.export.quantization import Int8Loss, int8_loss, quantize
from bongsu.files import atomic_folder, read_json, write_json, write_text
from bongsu.finetuning.trainable import probabilities
from bongsu.inference.bundle import CONFIG, DETECTOR, DETECTOR_INT8, MASKED_LM, refuse_to_replace, write_manifest
from bongsu.inference.onnx import Engine
from bongsu.inference.tfidf import FILES, load_tfidf, product
from bongsu.inference.torch_backend import model_folder
from bongsu.model.io import load_classifier, load_masked_lm, read_config
from bongsu.recipe import Recipe, load_recipe
from bongsu.tokens.bpe import load_tokenizer
from bongsu.tokens.inputs import Int64, encode

CARD = "README.md"
TOLERANCE = 1e-5
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
_CHECKED = 64  # texts on which the graph is compared with torch
_MEASURED = 2000  # texts on which int8 is
_SAMPLE = ("Forest fire near La Ronge Sask.", "규모 5.1 지진으로 건물 외벽이 무너졌습니다", "ok", "so hot today 🔥 " * 8)


def export_onnx(run: Path, out: Path, int8: bool = False, licence: str | None = None) -> Int8Loss | None:
    """Writes the detector of a run, and the masked language model if the run has one, as an ONNX bundle.

    Args:
        int8: add an int8 engine; what it costs is measured on the run's rows and returned (None when the run keeps none).

    Raises:
        WorkspaceError: when the run has no detector, the graph's probabilities are not torch's to 1e-5, or `out` holds
            something else.
    """
    refuse_to_replace(out)
    recipe, source = run_recipe(run), model_folder(run)
    classifier, details = load_classifier(source), read_config(source)["extra"]
    shortest = shortest_text(classifier)
    encoder = masked_lm_folder(run, recipe)
    tokenizer = load_tokenizer(source, foreign=True)
    pad_id = classifier.encoder.config.pad_id
    texts, labels, origin = _rows(run)

    def ids(count: int) -> list[Int64]:
        return encode(tokenizer, (texts or list(_SAMPLE))[:count], details["max_length"])

    with atomic_folder(out) as folder:
        export_detector(classifier, folder / DETECTOR)
        exact = Engine("float32", folder / DETECTOR, shortest, pad_id)
        checked = ids(_CHECKED)
        apart = float(np.abs(_run(exact, checked) - probabilities(classifier, checked)).max())
        if not apart <= TOLERANCE:
            raise WorkspaceError(f"{run}: the graph's probabilities are {apart:.1e} away from torch's; nothing is written.")
        loss = None
        if int8:
            quantize(folder / DETECTOR, folder / DETECTOR_INT8)
            if texts:
                tables = [
                    _run(engine, ids(_MEASURED)) for engine in (exact, Engine("int8", folder / DETECTOR_INT8, shortest, pad_id))
                ]
                if (beside := load_tfidf(source)) is not None:
                    said = beside.probabilities(texts[:_MEASURED])
                    tables = [product(table, said) for table in tables]
                loss = int8_loss(tables[0], tables[1], labels[:_MEASURED], origin)
        if encoder is not None:
            export_masked_lm(load_masked_lm(encoder), folder / MASKED_LM)
        _copy_tokenizer(source, folder)
        for name in FILES:  # what decides beside the encoder, if anything does
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)
        config = {
            "name": recipe.name,
            "detector": details,
            "shortest": shortest,
            "int8_accurate": loss is not None and loss.accurate,
            "int8": None if loss is None else {**asdict(loss), "points": loss.points},
        }
        write_json(folder / CONFIG, config)
        write_text(folder / CARD, model_card(run, recipe, "onnx", licence, loss))
        write_manifest(folder, "onnx")
    return loss


def export_hf(run: Path, out: Path, licence: str | None = None) -> None:
    """Writes the encoder of a run with its masked-LM output as a folder that `transformers` opens as a stock ModernBERT.

    Raises:
        WorkspaceError: when the run has no pre-trained encoder, or one that ModernBERT cannot hold, or `out` holds
            something else.
    """
    refuse_to_replace(out)
    recipe = run_recipe(run)
    source = masked_lm_folder(run, recipe)
    if source is None:
        raise WorkspaceError(f"{run}: no pre-trained encoder here; run the recipe's pretrain stage first.")
    model = load_masked_lm(source)
    with atomic_folder(out) as folder:
        write_modernbert(model, folder)
        _copy_tokenizer(source, folder)
        write_text(folder / CARD, model_card(run, recipe, "hf", licence))
        write_manifest(folder, "hf")


def run_recipe(run: Path) -> Recipe:
    """The recipe of a run.

    Raises:
        WorkspaceError: when the folder is no run's.
    """
    path = run / "recipe.toml"
    if not path.is_file():
        hint = "no such folder" if not run.exists() else "not a run's folder (recipe.toml is missing)"
        raise WorkspaceError(f"{run}: {hint}. Name the folder that `bongsu run` wrote, such as runs/demo.")
    return load_recipe(path)


def masked_lm_folder(run: Path, recipe: Recipe) -> Path | None:
    """The model folder of the encoder that the run fine-tuned; None when it is not there."""
    named = recipe.finetune.encoder if recipe.finetune else None
    candidates = [run / "adapt" / "model", Path(named) if named else run / "pretrain" / "model"]
    return next((folder for folder in candidates if (folder / "config.json").is_file()), None)


def _run(engine: Engine, ids: list[Int64]) -> npt.NDArray[np.float32]:
    """Probabilities [texts, classes], one text at a time: nothing depends on company."""
    return np.concatenate([engine.run([row]) for row in ids])


def _rows(run: Path) -> tuple[list[str], Int64, str]:
    """Texts with labels to measure on, as the model reads them, and the file they are of: the run's test rows, else those
    measured in its folds. On those a refitted detector was trained: they tell what int8 changes, not how good it is."""
    for name in ("test.json", "predictions.json"):
        path = run / "finetune" / name
        if path.is_file():
            data: dict[str, Any] = read_json(path)
            rows = data.get("rows", range(len(data["texts"])))
            return [data["texts"][row] for row in rows], np.array([data["labels"][row] for row in rows], dtype=np.int64), name
    return [], np.zeros(0, dtype=np.int64), ""


def _copy_tokenizer(source: Path, folder: Path) -> None:
    for name in _TOKENIZER:
        shutil.copyfile(source / name, folder / name)
