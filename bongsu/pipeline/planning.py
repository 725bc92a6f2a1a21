"""Estimates of pre-training on this machine: parameters, tokens, steps, memory and time."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from bongsu.corpus.readers import resolve
from bongsu.model.encoder import EncoderConfig
from bongsu.model.initialization import initialize
from bongsu.model.io import read_encoder_config
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.model.sizes import flops_per_token, parameter_count
from bongsu.pipeline.sampling import Sampled
from bongsu.pipeline.stages import start_folder
from bongsu.pretraining.masked_lm import MaskedLanguageModelling, total_steps
from bongsu.pretraining.memory import pretraining_bytes, suggest_batch_size
from bongsu.recipe import Pretrain, Recipe
from bongsu.tokens.batches import Batch, training_shape
from bongsu.tokens.packing import BatchShape, batch_shape, sentences_for_tokens
from bongsu.tokens.shards import open_shards
from bongsu.training.devices import Precision, autocast, compiles, memory_errors, resolve_device, resolve_precision
from bongsu.training.optimizers import build_optimizer

BYTES_A_TOKEN = 4.0  # of English under a vocabulary of about 8,000; used where no sample could be encoded
TOKENS_A_SENTENCE = 25.0
COMPRESSED = {".zst": 3.2, ".gz": 2.8, ".parquet": 2.5, ".xlsx": 3.0, ".zip": 3.0}
TRIAL_SECONDS = 8.0


@dataclass(frozen=True)
class Estimate:
    """The cost of pre-training; `exact` says whether the encoded corpus was counted."""

    parameters: int
    tokens: float
    sentences: int
    exact: bool
    shape: BatchShape
    steps: int
    flops_per_token: float
    """Forward and backward."""
    tokens_per_second: float
    """Positions per second in a trial on this machine, padding included."""
    compile_seconds: float
    """The time of `torch.compile`, part of `seconds`; 0 without it."""
    seconds: float
    memory_bytes: float
    """The peak in the trial."""
    estimated_bytes: float
    """The estimate from shapes alone (`bongsu.model.memory`)."""
    device: str
    precision: str


def estimate(recipe: Recipe, run: Path, sampled: Sampled | None = None) -> Estimate:
    """Estimate the cost of pre-training by timing a few steps on random tokens.

    Args:
        sampled: a sample of the corpus, to count by until the run has encoded it.

    Raises:
        BongsuError: when the recipe cannot be run at all.
    """
    settings = recipe.pretrain or Pretrain()
    if start := start_folder(recipe):
        config = read_encoder_config(start)
    else:
        config = EncoderConfig.from_recipe(recipe.model, recipe.tokenizer.vocab_size)
    exact = (run / "tokens" / "tokens.json").is_file()
    if exact:
        shards = open_shards(run / "tokens", "train", verify=False)
        tokens, sentences = float(len(shards.tokens)), shards.sentences
        shape = training_shape(shards, settings)
    elif sampled is not None:
        tokens, sentences, shape = sampled.tokens, sampled.sentences, training_shape(sampled.shards, settings)
    else:
        size = sum(
            _text_bytes(path) for source in (recipe.corpus.sources if recipe.corpus else []) for path in resolve(source.path)
        )
        tokens = max(1.0, size / BYTES_A_TOKEN)
        sentences = max(1, round(tokens / TOKENS_A_SENTENCE))
        shape = likely_shape(settings)
    steps = total_steps(recipe.model_copy(update={"pretrain": settings}), sentences, shape)
    trial = _trial(recipe, settings, config, shape, steps)
    evaluated = settings.evaluations * min(settings.validation_sentences, max(1, sentences // 20)) / shape.sentences
    passes = steps * settings.accumulate + evaluated / 3  # a forward pass is a third of a step
    work = 3 * flops_per_token(config, shape.row_length, shape.masked / shape.positions)
    return Estimate(
        parameters=parameter_count(config),
        tokens=tokens,
        sentences=sentences,
        exact=exact,
        shape=shape,
        steps=steps,
        flops_per_token=work,
        tokens_per_second=shape.positions / trial.seconds_a_step,
        compile_seconds=trial.compile_seconds,
        seconds=trial.compile_seconds + passes * trial.seconds_a_step,
        memory_bytes=trial.memory_bytes,
        estimated_bytes=pretraining_bytes(config, shape, settings, trial.device.type),
        device=str(trial.device),
        precision=trial.precision,
    )


def likely_shape(settings: Pretrain) -> BatchShape:
    """Return the likely shape of a run's batches, before the corpus is encoded."""
    return _likely_shape(settings.row_length, settings.highest_mask_rate, settings.batch_sentences, settings.batch_tokens)


@cache
def _likely_shape(row_length: int, mask_rate: float, sentences: int | None, tokens: int | None) -> BatchShape:
    lengths = np.minimum(np.array([10, 25, 40], dtype=np.int64), row_length)
    count = sentences_for_tokens(lengths, tokens) if tokens else sentences or 128
    return batch_shape(lengths, row_length, mask_rate, count)


def _text_bytes(path: str) -> float:
    file = Path(path)
    return file.stat().st_size * COMPRESSED.get(file.suffix, 1.0) if file.is_file() else 5e6


@dataclass(frozen=True)
class _Trial:
    """Time and memory of a few steps."""

    seconds_a_step: float
    compile_seconds: float
    memory_bytes: float
    device: torch.device
    precision: Precision


def _trial(recipe: Recipe, settings: Pretrain, config: EncoderConfig, shape: BatchShape, steps: int) -> _Trial:
    device = resolve_device(settings.device)
    with memory_errors(lambda: suggest_batch_size(config, shape, settings, device, "pretrain")):
        return _timed_steps(recipe, settings, config, shape, device, compiles(settings.compile, device, steps))


def _timed_steps(
    recipe: Recipe, settings: Pretrain, config: EncoderConfig, shape: BatchShape, device: torch.device, compiled: bool
) -> _Trial:
    precision = resolve_precision(settings.precision, device)
    model = MaskedLanguageModel(config)
    initialize(model, recipe.seed)
    model.to(device)
    trainable = MaskedLanguageModelling(
        model, None, [], torch.zeros(0), settings.learning_rate, settings.weight_decay, compiled=compiled  # type: ignore[arg-type]
    )  # fmt: skip
    optimizer = build_optimizer(trainable.groups(), settings, device)
    batch = random_batch(config.vocab_size, shape)
    times: list[float] = []
    while len(times) < 3 or (len(times) < 6 and sum(times[1:]) < TRIAL_SECONDS):
        start = time.perf_counter()
        with autocast(device, precision):
            outcome = trainable.loss(batch)
        outcome.loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        float(outcome.loss.detach())  # waits for the device
        times.append(time.perf_counter() - start)
    usual = float(np.median(times[1:]))
    if device.type == "cuda":
        memory = float(torch.cuda.max_memory_allocated(device))
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        memory = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
    return _Trial(usual, max(0.0, times[0] - usual) if compiled else 0.0, memory, device, precision)


def random_batch(vocab_size: int, shape: BatchShape) -> Batch:
    """Return a batch of random tokens, two sentences a row."""
    generator = np.random.default_rng(0)
    rows = (shape.rows, shape.row_length)
    half = max(1, shape.row_length // 2)
    position = np.broadcast_to(np.arange(shape.row_length), rows)
    return Batch(
        input_ids=generator.integers(3, vocab_size, rows),
        segment_ids=(position // half + 1).astype(np.int64),
        positions=(position % half).astype(np.int64),
        query_positions=np.sort(generator.choice(shape.positions, shape.masked, replace=False)),
        targets=generator.integers(3, vocab_size, shape.masked),
    )
