"""The files that the trials of a study read: what they measure can be compared only while these stay the same."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from bongsu.corpus.readers import resolve
from bongsu.errors import RecipeError
from bongsu.model.hub import weight_files
from bongsu.pipeline.checking import ENCODERS, check_files, named_paths
from bongsu.pipeline.stages import named_encoder
from bongsu.search.study import Plan, Trial
from bongsu.workspace import file_fingerprint

_READ = {"pretrain": ("corpus.", "pretrain."), "finetune": ("corpus.", "pretrain.", "adapt.", "task.", "finetune.")}
"""What the settings of files begin with that a trial of each stage reads."""


def check_sources(plan: Plan) -> None:
    """Look for all files that the recipes of a space name, before a trial starts.

    Raises:
        DataError: naming every one that is missing.
    """
    seed = int(plan.tree.get("seed", 0))
    for point in plan.survey():
        with suppress(RecipeError):  # a point that no recipe can be starts no trial
            check_files(plan.recipe(Trial(point, seed)))


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
        for setting, path in named_paths(recipe):
            if path not in named and setting.startswith(_READ[plan.study.stage]):
                named[path] = list(map(str, weight_files(named_encoder(path)))) if setting in ENCODERS else resolve(path)
    return {path: _fingerprint(files) for path, files in sorted(named.items())}


def _fingerprint(files: list[str]) -> str:
    """Return what stands for the content of files: names within a folder count, the folder does not."""
    parts = [f"{Path(file).name} {file_fingerprint(file)}" for file in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
