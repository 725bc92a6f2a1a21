"""Which trials fit a device, estimated from the recipe alone (`bongsu.model.memory`)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch

from bongsu.errors import RecipeError
from bongsu.model.encoder import EncoderConfig
from bongsu.model.hub import HubEncoder, is_hub_folder
from bongsu.model.io import read_encoder_config
from bongsu.model.memory import Load, training_bytes
from bongsu.parallel import cores
from bongsu.pipeline.planning import likely_shape
from bongsu.pipeline.stages import named_encoder
from bongsu.pretraining.memory import bytes_per_number, pretraining_bytes
from bongsu.recipe import CNN, Pretrain, Recipe, Task
from bongsu.search.study import Plan, Resources, Trial

DEVICES_GB = (8, 24, 80, 141)
"""Memory of common devices; the last two are an H100 and an H200."""


@dataclass(frozen=True)
class Feasibility:
    """Whether a trial can run."""

    trial: Trial
    bytes: float | None
    """Estimated memory; None when the point is no valid recipe."""
    reason: str = ""
    """Why there is no valid recipe."""


def check_feasibility(plan: Plan, device: str) -> list[Feasibility]:
    """Estimate the memory of each point of the survey."""
    return [
        Feasibility(trial, None, why(recipe))
        if isinstance(recipe, RecipeError)
        else Feasibility(trial, memory_bytes(recipe, device))
        for trial, recipe in plan.surveyed
    ]


def why(error: RecipeError) -> str:
    """Return what is wrong with a recipe, without the file."""
    text = str(error)
    return text.partition("\n")[2].strip() or text


def count_fitting(found: Sequence[Feasibility], sizes_gb: Sequence[float] = DEVICES_GB) -> dict[float, int]:
    """Return how many of the trials fit a device of each size."""
    return {size: sum(each.bytes is not None and each.bytes <= 1e9 * size for each in found) for size in sizes_gb}


def memory_bytes(recipe: Recipe, device: str) -> float:
    """Return the most memory that a training stage of the recipe takes."""
    needs = []
    if recipe.pretrain:
        needs.append(_pretraining(recipe, recipe.pretrain, device))
    if recipe.task:
        needs.append(_finetuning(recipe, recipe.task, device))
    return max(needs, default=0.0)


def _pretraining(recipe: Recipe, settings: Pretrain, device: str) -> float:
    config = EncoderConfig.from_recipe(recipe.model, recipe.tokenizer.vocab_size)
    return pretraining_bytes(config, likely_shape(settings), settings, device)


def _finetuning(recipe: Recipe, task: Task, device: str) -> float:
    settings = recipe.finetune
    config = EncoderConfig.from_recipe(recipe.model, recipe.tokenizer.vocab_size)
    if settings.encoder:
        config = _encoder_config(settings.encoder)
    config = replace(config, n_layers=config.n_layers - settings.remove_last)
    positions = settings.batch_size * task.max_length
    parameters = columns = 0
    if isinstance(head := getattr(task, "head", None), CNN):
        parameters = sum(head.filters * (config.d_model * kernel + 1) for kernel in head.kernel_sizes)
        # The head's columns take the place of logits: one for each filter of each kernel at each position.
        columns = positions * head.filters * len(head.kernel_sizes)
    load = Load(positions, task.max_length, positions, columns, settings.unfreeze_last if settings.freeze else None)
    return training_bytes(config, load, bytes_per_number(settings, device), device, parameters)


@cache
def _encoder_config(name: str) -> EncoderConfig:
    """Return the configuration of a named encoder; for one of `transformers` one of ours with about the same memory."""
    folder = named_encoder(name)
    if not is_hub_folder(folder):
        return read_encoder_config(folder)
    hub = HubEncoder.open(folder).config
    sizes = (hub.d_model, hub.n_layers, hub.n_heads, hub.d_ff)
    return EncoderConfig(hub.vocab_size, "classic", *sizes, "gelu", dropout=0.1, max_length=hub.max_length)


def available_bytes(resources: Resources) -> float:
    """Return the memory one trial may take on this machine.

    Raises:
        RecipeError: when trials want a GPU that is not here, and the study does not say how large those of the cluster are.
    """
    if resources.gpus:
        if not resources.memory_gb and not torch.cuda.is_available():
            raise RecipeError("resources.gpus: there is no GPU here; set it to 0, or for a cluster give resources.memory_gb")
        return resources.gpus * (1e9 * resources.memory_gb if resources.memory_gb else gpu_bytes())
    if resources.memory_gb:
        return 1e9 * resources.memory_gb
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return memory * min(1.0, resources.cpus / cores())


def gpu_bytes() -> float:
    """Return the memory of the first GPU."""
    return float(torch.cuda.get_device_properties(0).total_memory)
