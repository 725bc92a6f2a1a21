"""The files that the trials of a study read: what they measure can be compared only while these stay the same."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bongsu.corpus.readers import resolve
from bongsu.errors import RecipeError
from bongsu.model.hub import weight_files
from bongsu.pipeline.stages import named_encoder
from bongsu.recipe import Recipe
from bongsu.search.study import Plan, Trial
from bongsu.workspace import file_fingerprint


def file_fingerprints(plan: Plan) -> dict[str, str]:
    """Return a fingerprint for each path that a recipe of the space names, by that path.

    Raises:
        DataError: when there is no such file.
    """
    seed = int(plan.tree.get("seed", 0))
    named: dict[str, list[str]] = {}
    for point in plan.survey():
        try:
            recipe = plan.recipe(Trial(point, seed))
        except RecipeError:  # a point that no recipe can be starts no trial
            continue
        for path in _data(recipe, plan.study.stage):
            if path not in named:
                named[path] = resolve(path)
        encoder = recipe.finetune.encoder if plan.study.stage == "finetune" else None
        if encoder and encoder not in named:
            named[encoder] = [str(file) for file in weight_files(named_encoder(encoder))]
    return {path: _fingerprint(files) for path, files in sorted(named.items())}


def _data(recipe: Recipe, stage: str) -> list[str]:
    """Return the paths of the texts and labels that a recipe reads up to a stage ("pretrain" or "finetune")."""
    sources = [*recipe.corpus.sources, *recipe.corpus.validation_sources] if recipe.corpus else []
    if stage == "finetune" and recipe.adapt:
        sources += recipe.adapt.sources
    task = recipe.task if stage == "finetune" else None
    labelled = [task.train, task.test, getattr(task, "corrections", None)] if task else []
    return [*(source.path for source in sources), *(path for path in labelled if path)]


def _fingerprint(files: list[str]) -> str:
    """Return what stands for the content of files: names within a folder count, the folder does not."""
    parts = [f"{Path(file).name} {file_fingerprint(file)}" for file in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
