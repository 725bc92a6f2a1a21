"""Which trials fit a device, told before anything starts: an estimate from the recipe alone (`bongsu.model.memory`)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch

from bongsu.errors import RecipeError
from bongsu.model.encoder import EncoderConfig
from bongsu.model.hub import HubEncoder, is_hub_folder
from bongsu.model.io import read_config
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
class Verdict:
    """What can be told of a trial before it runs."""

    trial: Trial
    bytes: float | None
    """Estimated memory; None when the point is no valid recipe."""
    reason: str = ""
    """Why it is not valid."""


def verdicts(plan: Plan, trials: Iterable[Trial], device: str) -> list[Verdict]:
    """The estimate of each trial."""
    found = []
    for trial in trials:
        try:
            found.append(Verdict(trial, memory_bytes(plan.recipe(trial), device)))
        except RecipeError as error:
            found.append(Verdict(trial, None, why(error)))
    return found


def why(error: RecipeError) -> str:
    """What is wrong with a recipe, without the place."""
    text = str(error)
    return text.partition("\n")[2].strip() or text


def how_many_fit(found: Sequence[Verdict], sizes_gb: Sequence[float] = DEVICES_GB) -> dict[float, int]:
    """How many of the trials fit a device of each size."""
    return {size: sum(verdict.bytes is not None and verdict.bytes <= 1e9 * size for verdict in found) for size in sizes_gb}


def memory_bytes(recipe: Recipe, device: str) -> float:
    """Memory the recipe's training stages take at most."""
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
    """The shape of a named encoder; for one of `transformers` that of ours which takes about as much memory."""
    folder = named_encoder(name)
    if not is_hub_folder(folder):
        return EncoderConfig.from_dict(read_config(folder, "masked_lm")["encoder"])
    hub = HubEncoder.open(folder).config
    sizes = (hub.d_model, hub.n_layers, hub.n_heads, hub.d_ff)
    return EncoderConfig(hub.vocab_size, "classic", *sizes, "gelu", dropout=0.1, max_length=hub.max_length)


def room_bytes(resources: Resources) -> float:
    """The memory one trial may take on this machine.

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
    """The memory of the first GPU."""
    return float(torch.cuda.get_device_properties(0).total_memory)
