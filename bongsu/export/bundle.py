"""From a run's folder to a bundle that needs no run, and as ONNX no torch."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np

from bongsu.errors import WorkspaceError
from bongsu.export.card import model_card
from bongsu.export.features import features_of_run
from bongsu.export.modernbert import write_modernbert
from bongsu.export.onnx import export_masked_lm, export_task_model
from bongsu.export.quantization import Int8Loss, int8_loss, quantize
from bongsu.files import atomic_folder, read_json, write_json, write_text
from bongsu.finetuning.data import AnyExample, load_data
from bongsu.inference.bundle import (
    CONFIG,
    MASKED_LM,
    MODEL,
    MODEL_INT8,
    BundleConfig,
    model_folder,
    open_bundle,
    origin,
    refuse_to_replace,
    write_manifest,
)
from bongsu.inference.onnx import Engine, OnnxBackend, is_faster
from bongsu.inference.predictor import Predictor
from bongsu.inference.torch_backend import TorchBackend, load_predictor
from bongsu.labelling.features import FEATURES
from bongsu.model.io import find_encoder, load_masked_lm
from bongsu.model.tfidf import FILES
from bongsu.models import packaged
from bongsu.recipe import Recipe, load_recipe
from bongsu.tokens.bpe import TOKENIZER
from bongsu.tokens.special import MASK

CARD = "README.md"
TOLERANCE = 1e-5
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
_CHECKED = 64  # texts on which the graph is compared with torch
_SCALED = 500  # texts whose activations choose the scales of int8
_MEASURED = 2000  # texts on which int8 is compared
_SAMPLE = ("Forest fire near La Ronge Sask.", "규모 5.1 지진으로 건물 외벽이 무너졌습니다", "ok", "so hot today 🔥 " * 8)


def export_onnx(
    run: Path, out: Path, int8: bool = False, licence: str | None = None, smallest: bool = False
) -> Int8Loss | None:
    """Write the fine-tuned model of a run, and its masked language model if it has one, as an ONNX bundle.

    Args:
        int8: add an int8 engine; what it costs is measured on the run's rows and returned (None when the run keeps none).
        smallest: keep nothing but the int8 engine.

    Raises:
        WorkspaceError: when the run has no fine-tuned model, the graph's outputs are not torch's to 1e-5, or `out`
            holds something else.
    """
    refuse_to_replace(out)
    recipe, source = run_recipe(run), model_folder(run)
    torch_predictor = load_predictor(source)
    assert isinstance(torch_predictor.backend, TorchBackend)
    model = torch_predictor.backend.model
    shortest, pad_id = model.head.config.shortest, model.encoder.config.pad_id
    examples, rows_of = _rows(run, recipe)
    checked = examples[:_CHECKED] or torch_predictor.examples([_SAMPLE] * 4 if model.pairs else list(_SAMPLE))
    with atomic_folder(out) as folder, ThreadPoolExecutor(1) as pool:

        def predictor(engine: Engine) -> Predictor:
            backend = OnnxBackend(engine, pool)
            return Predictor(torch_predictor.details, torch_predictor.tokenizer, backend, torch_predictor.tfidf)

        export_task_model(model, folder / MODEL)
        engine = Engine("float32", folder / MODEL, shortest, pad_id)
        exact = predictor(engine)
        error = _difference(exact, torch_predictor, checked)
        if not error <= TOLERANCE:
            raise WorkspaceError(f"{run}: the graph's outputs are {error:.1e} away from torch's; nothing is written.")
        loss, faster = None, False
        if int8:
            rows = torch_predictor.task.encode(torch_predictor.tokenizer, examples[:_SCALED])
            quantize(folder / MODEL, folder / MODEL_INT8, [engine.feed([row], step=1) for row in rows])
            small = Engine("int8", folder / MODEL_INT8, shortest, pad_id)
            faster = is_faster(small, engine)
            if examples:
                loss = int8_loss(exact, predictor(small), examples[:_MEASURED], rows_of)
        encoder = masked_lm_folder(run, recipe)
        if smallest:
            (folder / MODEL).unlink()
        elif encoder is not None:
            export_masked_lm(load_masked_lm(encoder), folder / MASKED_LM)
        _copy_files(source, folder, _TOKENIZER)
        _copy_files(source, folder, [name for name in FILES if (source / name).is_file()])
        stored = features_of_run(run, recipe, exact)
        if stored is not None:
            stored.save(folder / FEATURES)
        config = BundleConfig(
            name=recipe.name,
            model=torch_predictor.details.to_dict(),
            origin=origin(source),
            shortest=shortest,
            int8_accurate=loss is not None and loss.accurate,
            int8_faster=faster,
            int8=None if loss is None else {**asdict(loss), "points": loss.points},
        )
        write_json(folder / CONFIG, config)
        write_text(folder / CARD, model_card(run, recipe, "onnx", licence, loss))
        write_manifest(folder, "onnx")
    return loss


def export_hf(run: Path, out: Path, licence: str | None = None) -> None:
    """Write the encoder of a run with its masked-LM output as a folder that `transformers` opens as a stock ModernBERT.

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
        _copy_files(source, folder, _TOKENIZER)
        _widen_mask(folder)
        write_text(folder / CARD, model_card(run, recipe, "hf", licence))
        write_manifest(folder, "hf")


def export_packaged(name: str, to: Literal["onnx", "hf"], out: Path) -> None:
    """Write a model that ships with Bongsu as an export of a run is written: a copy of its bundle, or its encoder.

    Raises:
        WorkspaceError: when no such model ships, or `out` holds something else.
    """
    refuse_to_replace(out)
    source = packaged(name, "detector" if to == "onnx" else "encoder")
    assert source is not None
    with atomic_folder(out) as folder:
        if to == "onnx":
            open_bundle(source)
            shutil.copytree(source, folder, dirs_exist_ok=True)
            return
        write_modernbert(load_masked_lm(source), folder)
        _copy_files(source, folder, _TOKENIZER)
        _widen_mask(folder)
        write_text(folder / CARD, f"The encoder {name} of Bongsu. Its sources and licences: NOTICE of Bongsu.\n")
        write_manifest(folder, "hf")


def _difference(one: Predictor, other: Predictor, examples: Sequence[AnyExample]) -> float:
    """Return the largest difference between the outputs of two heads, as a share of the largest output (1 at least)."""
    rows = one.task.encode(one.tokenizer, examples)
    pairs = zip(one.backend.run(rows), other.backend.run(rows), strict=True)
    parts = [(np.abs(ours - theirs).max(), np.abs(theirs).max()) for ours, theirs in pairs]
    difference, largest = np.array(parts).max(axis=0)
    return float(difference / max(1.0, largest))


def run_recipe(run: Path) -> Recipe:
    """Return the recipe of a run.

    Raises:
        WorkspaceError: when the folder is no run's.
    """
    path = run / "recipe.toml"
    if not path.is_file():
        hint = "no such folder" if not run.exists() else "not a run's folder (recipe.toml is missing)"
        raise WorkspaceError(f"{run}: {hint}. Name the folder that `bongsu run` wrote, such as runs/demo.")
    return load_recipe(path)


def masked_lm_folder(run: Path, recipe: Recipe) -> Path | None:
    """Return the model folder of the encoder that the run fine-tuned; None when it is not there."""
    named = recipe.finetune.encoder
    start = run if named is None else packaged(named, "encoder") or Path(named)
    return find_encoder(run / "adapt") or find_encoder(start)


def _rows(run: Path, recipe: Recipe) -> tuple[list[AnyExample], str]:
    """Return labelled rows to measure int8 on, and what they are: the run's test rows, else those measured in its folds.

    A refitted model was trained on the latter: they tell what int8 changes, not how good it is.
    """
    folder = run / "finetune" / "data"
    if recipe.task is None or not (folder / "schema.json").is_file():
        return [], ""
    data = load_data(recipe, folder)
    if data.test:
        return data.test, "test rows"
    return data.take(np.sort(np.concatenate([held_out for _, held_out in data.splits]))), "rows held out"


def _copy_files(source: Path, folder: Path, names: Iterable[str]) -> None:
    for name in names:
        shutil.copyfile(source / name, folder / name)


def _widen_mask(folder: Path) -> None:
    """Let [MASK] take the blank before it along, as ModernBERT's does: words begin with theirs."""
    settings = read_json(folder / TOKENIZER)
    for token in settings["added_tokens"]:
        token["lstrip"] = token["lstrip"] or token["content"] == MASK
    write_json(folder / TOKENIZER, settings)
