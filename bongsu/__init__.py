"""Bongsu: from raw text to a small language model of your own, and from there to a disaster detector.

import bongsu
bongsu.load().predict(["Forest fire near La Ronge Sask."])  # with the detector that ships
run = bongsu.run("recipes/tweets.toml")  # or with one of your own
bongsu.load(run.path).predict(["Forest fire near La Ronge Sask."])
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from bongsu.inference.predictor import Predictor
    from bongsu.pipeline.running import Run

__all__ = ["__version__", "load", "run"]


def run(recipe: str | Path, *, out: str | Path | None = None, changes: list[str] | None = None) -> Run:
    """Run every stage of a recipe; what is done is not done again.

    Args:
        recipe: path of a TOML recipe.
        out: the run's folder; by default `runs/NAME`.
        changes: settings to change, each "section.key=value".

    Raises:
        BongsuError: when the recipe or its input cannot be used.
    """
    from bongsu.pipeline.running import run as run_recipe
    from bongsu.recipe import load_recipe

    return run_recipe(load_recipe(Path(recipe), changes), Path(out) if out is not None else None)


def load(model: str | Path = "bongsu:beacon") -> Predictor:
    """Open a fine-tuned model; by default the detector that ships with Bongsu, for English and Korean.

    That one and bundles need no torch.

    Args:
        model: the folder of a finished run, of a model, or of a bundle that `bongsu export` wrote; or "bongsu:beacon".

    Raises:
        WorkspaceError: when there is none.
    """
    from bongsu.errors import need
    from bongsu.inference.bundle import is_bundle, model_folder, refuse_pickles
    from bongsu.models import packaged

    path = packaged(model, "detector") or Path(model)
    if is_bundle(path):
        from bongsu.inference.onnx import BundlePredictor

        return BundlePredictor.load(path)
    refuse_pickles(path)
    folder = model_folder(path)
    need("torch", "train")
    from bongsu.inference.torch_backend import load_predictor

    return load_predictor(folder)
