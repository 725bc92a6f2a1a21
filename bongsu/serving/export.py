"""What `bongsu export` does: from a run's folder to a bundle that needs no run, and with ONNX no torch."""

from __future__ import annotations

import shutil
from pathlib import Path

from bongsu.errors import WorkspaceError
from bongsu.files import atomic_folder, write_json
from bongsu.model.io import load_classifier, load_masked_lm, read_config
from bongsu.recipe import Recipe, load_recipe
from bongsu.serving.bundle import CONFIG, DETECTOR, MASKED_LM, write_manifest
from bongsu.serving.onnx_export import export_detector, export_masked_lm
from bongsu.tasks.detector import model_folder

TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


def export_onnx(run: Path, out: Path) -> None:
    """Writes the detector of a run, and the masked language model if the run has one, as an ONNX bundle.

    Raises:
        WorkspaceError: when the run has no detector.
    """
    source = model_folder(run)
    recipe = run_recipe(run)
    masked_lm = masked_lm_folder(run, recipe)
    with atomic_folder(out) as folder:
        export_detector(load_classifier(source), folder / DETECTOR)
        if masked_lm is not None:
            export_masked_lm(load_masked_lm(masked_lm), folder / MASKED_LM)
        for name in TOKENIZER:
            shutil.copyfile(source / name, folder / name)
        write_json(folder / CONFIG, {"name": recipe.name, "detector": read_config(source)["extra"]})
        write_manifest(folder, "onnx")


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
    """The model folder of the encoder that the run pre-trained or started from; None when it is not there."""
    named = recipe.finetune.encoder if recipe.finetune else None
    folder = Path(named) if named else run / "pretrain" / "model"
    return folder if (folder / "config.json").is_file() else None
