"""Checks before a run starts: whether every file that the recipe names exists."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from bongsu.corpus.readers import resolve
from bongsu.errors import DataError, RecipeError, WorkspaceError
from bongsu.models import packaged
from bongsu.recipe import HUB, Recipe

ENCODERS = ("finetune.encoder", "pretrain.start")
"""Settings that name an encoder; the others name text."""
_TRAINED = {"pretrain": ["pretrain"], "adapt": ["adapt"], "finetune": ["finetune/folds", "finetune/refit"]}
"""The stages that train with the device of a section."""


def check_files(recipe: Recipe) -> None:
    """Check that all files and folders named by a recipe exist; URLs are not checked.

    Raises:
        DataError: naming every one that is missing with its settings, and the folder that paths are relative to.
    """
    settings_of: dict[str, list[str]] = {}
    for setting, path in named_paths(recipe):
        if not (_is_encoder(path) if setting in ENCODERS else _is_there(path)):
            settings_of.setdefault(path, []).append(setting)
    if not settings_of:
        return
    lines = [f"  {path} ({', '.join(settings)})" for path, settings in settings_of.items()]
    first = next(iter(settings_of.values()))[0]
    raise DataError(
        f"{'A file that the recipe names is' if len(lines) == 1 else 'Files that the recipe names are'} missing. Paths are "
        f"relative to {os.getcwd()}:\n" + "\n".join(lines) + f"\nName another with --set {first}=FILE"
        + ("." if len(lines) == 1 else ", one --set for each.")
    )  # fmt: skip


def check_devices(recipe: Recipe, stages: Collection[str]) -> None:
    """Check that the devices of the stages that will be run are there.

    Raises:
        RecipeError: naming the setting.
    """
    from bongsu.training.devices import resolve_device

    settings = {"pretrain": recipe.pretrain, "adapt": recipe.adapt, "finetune": recipe.finetune}
    for section, part in settings.items():
        if part is not None and any(stage in _TRAINED[section] for stage in stages):
            try:
                resolve_device(part.device)
            except RecipeError as error:
                raise RecipeError(f"{section}.{error}") from None


def named_paths(recipe: Recipe) -> list[tuple[str, str]]:
    """Return the settings of a recipe that name files or folders, as (setting, path); those that are read first come first."""
    found: list[tuple[str, str | None]] = []
    if task := recipe.task:
        found += [(f"task.{key}", getattr(task, key, None)) for key in ("train", "test", "corrections")]
        found.append(("finetune.encoder", recipe.finetune.encoder))
    if recipe.pretrain:
        found.append(("pretrain.start", recipe.pretrain.start))
    if recipe.predict:
        found += [("predict.input", recipe.predict.input), ("predict.sample", recipe.predict.sample)]
    if recipe.corpus:
        found += [(f"corpus.sources.{n}.path", source.path) for n, source in enumerate(recipe.corpus.sources)]
        found += [(f"corpus.validation_sources.{n}.path", each.path) for n, each in enumerate(recipe.corpus.validation_sources)]
    if recipe.adapt:
        found += [(f"adapt.sources.{n}.path", source.path) for n, source in enumerate(recipe.adapt.sources)]
    return [(setting, path) for setting, path in found if path is not None]


def _is_encoder(name: str) -> bool:
    """Return whether there is a folder of this name, or a model of this name that ships with Bongsu."""
    try:
        return packaged(name, "encoder") is not None or Path(name.removeprefix(HUB)).exists()
    except WorkspaceError:
        return False


def _is_there(path: str) -> bool:
    if "://" in path or Path(path).exists():
        return True
    try:
        resolve(path)
    except DataError:
        return False
    return True
