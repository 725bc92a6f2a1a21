"""The files that the trials of a study read; trials can be compared only while these stay the same."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bongsu.corpus.readers import resolve
from bongsu.model.hub import weight_files
from bongsu.pipeline.checking import ENCODERS, check_files, named_paths
from bongsu.pipeline.stages import named_encoder
from bongsu.search.study import Plan
from bongsu.workspace import file_fingerprint

_READ = {"pretrain": ("corpus.", "pretrain."), "finetune": ("corpus.", "pretrain.", "adapt.", "task.", "finetune.")}
"""Prefixes of the settings whose files a trial of each stage reads."""


def check_sources(plan: Plan) -> None:
    """Check that all files named by the recipes of a space exist.

    Raises:
        DataError: naming every one that is missing.
    """
    for recipe in plan.surveyed_recipes():
        check_files(recipe)


def file_fingerprints(plan: Plan) -> dict[str, str]:
    """Return a fingerprint for each path that a recipe of the space names, by that path.

    Raises:
        DataError: when there is no such file.
    """
    named: dict[str, list[str]] = {}
    for recipe in plan.surveyed_recipes():
        for setting, path in named_paths(recipe):
            if path not in named and setting.startswith(_READ[plan.study.stage]):
                named[path] = list(map(str, weight_files(named_encoder(path)))) if setting in ENCODERS else resolve(path)
    return {path: _fingerprint(files) for path, files in sorted(named.items())}


def _fingerprint(files: list[str]) -> str:
    """Return a hash of the names and contents of files, without their folders."""
    parts = [f"{Path(file).name} {file_fingerprint(file)}" for file in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
