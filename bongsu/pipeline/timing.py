"""Estimates of the time of each stage of a run, from a sample of its work."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bongsu import progress
from bongsu.corpus.cleaning import dedup_key
from bongsu.evaluation.bootstrap import compare_metric, paired_difference
from bongsu.evaluation.robustness import CHANGES
from bongsu.finetuning.cross_validation import CrossValidation
from bongsu.finetuning.data import AnyExample, Data
from bongsu.finetuning.ensemble import EXPLAINED_ERRORS, ROBUSTNESS_ROWS
from bongsu.finetuning.splits import near_duplicate_groups
from bongsu.finetuning.trainable import FineTuning, predict
from bongsu.model.encoder import EncoderConfig
from bongsu.model.initialization import initialize
from bongsu.model.io import save_encoder
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.pipeline.planning import Estimate, estimate
from bongsu.pipeline.sampling import Sampled, sample_corpus
from bongsu.pipeline.stages import named_encoder, stages
from bongsu.recipe import Recipe
from bongsu.tasks.registry import AnyTask, build_task
from bongsu.tokens.bpe import load_tokenizer
from bongsu.training.devices import autocast, resolve_device, resolve_precision
from bongsu.training.optimizers import build_optimizer
from bongsu.workspace import Workspace

ROWS = 1024
"""Labelled rows that fine-tuning is timed on; times grow with their number."""
TRIAL_SECONDS = 5.0
_DRAWS = 10_000
_CHARTS = 3.0  # seconds of the report's charts and page, whatever the data


@dataclass(frozen=True)
class StagePlan:
    """A stage of a run with its estimated time."""

    name: str
    done: bool
    seconds: float | None
    """The remaining time: 0 when it is done, None when unknown."""


@dataclass(frozen=True)
class RunPlan:
    """The remaining work of a run."""

    stages: list[StagePlan]
    pretraining: Estimate | None

    @property
    def seconds(self) -> float:
        """Of all stages whose time is known."""
        return sum(stage.seconds or 0.0 for stage in self.stages)


def plan_run(recipe: Recipe, workspace: Workspace) -> RunPlan:
    """Estimate the time of each stage by a sample of the corpus, a few steps, and a few labelled rows.

    Raises:
        BongsuError: when the recipe cannot be run at all.
    """
    chain = stages(recipe, workspace)
    done = {stage.name: workspace.is_done(stage) for stage in chain}
    seconds: dict[str, float] = {}
    pretraining: Estimate | None = None
    with tempfile.TemporaryDirectory(prefix="bongsu-plan-") as temporary:
        folder = Path(temporary)
        sampled = None
        if not all(done.get(name, True) for name in ("corpus", "tokenizer", "tokens")):
            sampled = sample_corpus(recipe, folder / "corpus")
            seconds |= sampled.seconds if sampled is not None else {}
        if recipe.pretrain is not None:
            pretraining = estimate(recipe, workspace.path, sampled)
            seconds["pretrain"] = pretraining.seconds
        if recipe.task is not None and not all(done.values()):
            with progress.silence():
                seconds |= _task_seconds(recipe, workspace, sampled, folder)
    seconds.setdefault("evaluation", _CHARTS)
    return RunPlan(
        [StagePlan(name, is_done, 0.0 if is_done else seconds.get(name)) for name, is_done in done.items()], pretraining
    )


def _task_seconds(recipe: Recipe, workspace: Workspace, sampled: Sampled | None, folder: Path) -> dict[str, float]:
    """Return the times of the stages from adaptation to prediction; empty without a tokenizer."""
    settings = recipe.task
    assert settings is not None
    encoder = _encoder_folder(recipe, workspace, sampled, folder / "encoder")
    if encoder is None:
        return {}
    task = build_task(settings)
    start = time.perf_counter()
    examples = task.read(settings.train, settings.where, recipe.validation.leave_out)
    tested = task.read(settings.test, settings.test_where) if settings.test else []
    reading = time.perf_counter() - start
    task.schema = task.learn_schema(examples)
    some = _spread(task, examples)
    speed = _speed(recipe, task, some, encoder, folder)
    rows, folds, seeds = len(examples), recipe.validation.folds or 1, recipe.validation.seeds
    held = rows / folds if recipe.validation.folds else rows * recipe.validation.holdout
    development = (rows - held) * recipe.validation.development
    epochs = recipe.finetune.epochs

    def training(count: float) -> float:
        return epochs * math.ceil(count * speed.batches_an_example) * speed.step

    measured = held + epochs * development
    found = {
        "finetune/data": reading + speed.grouping * rows,
        "finetune/baselines": (folds + 1) * speed.tfidf * rows,
        "finetune/folds": folds * seeds * (training(rows - held - development) + measured * speed.answer),
        "finetune/refit": training(rows) if recipe.finetune.refit else 0.0,
        "finetune/model": len(tested) * speed.answer,
        "evaluation": _CHARTS + _report_seconds(task, rows) + (_report_seconds(task, len(tested)) if tested else 0.0),
    }
    if recipe.validation.diagnose and task.explains:
        asked = min(held, ROBUSTNESS_ROWS) * (1 + len(CHANGES)) + EXPLAINED_ERRORS * speed.words + held
        found["finetune/model"] += folds * asked * speed.answer
    if recipe.predict:
        found["predictions"] = len(task.read_unlabelled(recipe.predict.input)) * speed.answer
    if recipe.adapt:
        found["adapt"] = _adapt_seconds(recipe, workspace, sampled, {dedup_key(each.cleaned) for each in (*examples, *tested)})
    return found


def _encoder_folder(recipe: Recipe, workspace: Workspace, sampled: Sampled | None, folder: Path) -> Path | None:
    """Return the encoder that will be fine-tuned, or one of its size with the tokenizer there is."""
    if recipe.finetune.encoder:
        return named_encoder(recipe.finetune.encoder)
    own = workspace.folder("pretrain") / "model"
    if (own / "config.json").is_file():
        return own
    tokenizer = workspace.folder("tokenizer") if sampled is None else sampled.folder / "tokenizer"
    if not (tokenizer / "tokenizer.json").is_file():
        return None
    vocabulary = load_tokenizer(tokenizer).get_vocab_size()
    model = MaskedLanguageModel(EncoderConfig.from_recipe(recipe.model, vocabulary))
    initialize(model, recipe.seed)
    folder.mkdir()
    save_encoder(folder, model)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tokenizer / name, folder / name)
    return folder


@dataclass(frozen=True)
class _Speed:
    """Seconds of the operations of fine-tuning."""

    step: float
    batches_an_example: float
    answer: float
    """For the outputs of one example."""
    tfidf: float
    """To fit TF-IDF and use it, for one example; 0 for kinds without."""
    grouping: float
    """To look for near-duplicates of one example."""
    words: float
    """In a text, on average."""


def _spread(task: AnyTask, examples: Sequence[AnyExample]) -> list[AnyExample]:
    """Return at most `ROWS` examples from all over the file, some of every class among them."""
    places = np.unique(np.linspace(0, len(examples) - 1, min(ROWS, len(examples))).astype(int))
    firsts = np.unique(task.strata(examples), return_index=True)[1]
    return [examples[place] for place in np.union1d(places, firsts).tolist()]


def _speed(recipe: Recipe, task: AnyTask, some: list[AnyExample], encoder: Path, folder: Path) -> _Speed:
    data = Data(task, some, [], np.arange(len(some), dtype=np.int64), [])
    work = CrossValidation(recipe, data, encoder, folder)
    training = work.training(some, [], 0)
    step = _step_seconds(recipe, training)
    start = time.perf_counter()
    predict(task, training.best, work.tokenizer, some)
    answer = (time.perf_counter() - start) / len(some)
    start = time.perf_counter()
    near_duplicate_groups([each.cleaned for each in some])
    grouping = (time.perf_counter() - start) / len(some)
    tfidf = 0.0
    if task.tfidf_name is not None:
        start = time.perf_counter()
        task.tfidf_outputs(task.fit_tfidf(some), some)
        tfidf = (time.perf_counter() - start) / len(some)
    words = float(np.mean([len(each.cleaned.split()) for each in some]))
    batches = len(training.rows) / len(some) / recipe.finetune.batch_size
    return _Speed(step, batches, answer, tfidf, grouping, words)


def _step_seconds(recipe: Recipe, training: FineTuning) -> float:
    """Return the mean time of a training step; batches differ in length."""
    settings = recipe.finetune
    device = resolve_device(settings.device)
    precision = resolve_precision(settings.precision, device)
    optimizer = build_optimizer(training.groups(), settings, device)
    training.model.train()
    times: list[float] = []
    while len(times) < 3 or (len(times) < 20 and sum(times) < TRIAL_SECONDS):
        start = time.perf_counter()
        with autocast(device, precision):
            outcome = training.loss(training.batch(len(times)))
        outcome.loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        training.after_step()
        float(outcome.loss.detach())  # waits for the device
        times.append(time.perf_counter() - start)
    return float(np.mean(times[1:]))


def _report_seconds(task: AnyTask, rows: int) -> float:
    """Return the time of a report's intervals, for so many rows, the model and two baselines."""
    rows = max(2, rows)
    start = time.perf_counter()
    if task.kind == "classification":
        labels = np.arange(rows) % max(2, len(task.schema.labels))
        paired_difference(labels, labels, np.roll(labels, 1), draws=_DRAWS)
        return 4 * (time.perf_counter() - start)
    statistics = np.stack([np.arange(rows) % 2, np.ones(rows)], axis=1).astype(np.float64)
    compare_metric(statistics, statistics, lambda totals: totals[..., 0] / totals[..., 1])
    return 2 * (time.perf_counter() - start)


def _adapt_seconds(recipe: Recipe, workspace: Workspace, sampled: Sampled | None, texts: set[str]) -> float:
    """Return the time of adapting on so many texts, by a trial of its own."""
    assert recipe.adapt is not None
    adapted = recipe.model_copy(update={"pretrain": recipe.adapt})
    if sampled is not None:
        sampled = replace(sampled, sentences=len(texts))
        return estimate(adapted, workspace.path / "none", sampled).seconds
    found = estimate(adapted, workspace.path)
    return found.seconds if recipe.adapt.steps else found.seconds * len(texts) / max(1, found.sentences)
