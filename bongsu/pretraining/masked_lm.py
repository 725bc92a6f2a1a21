"""Masked-language modelling (Devlin et al. 2019): predict masked tokens from the rest of their sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from bongsu.errors import DataError, RecipeError
from bongsu.files import atomic_folder, write_json
from bongsu.model.encoder import EncoderConfig
from bongsu.model.initialization import initialize
from bongsu.model.io import load_masked_lm, save_encoder
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.model.sizes import flops_per_token
from bongsu.pretraining.memory import suggest_batch_size
from bongsu.pretraining.teacher import StudentModel, Teacher
from bongsu.recipe import Recipe
from bongsu.tokens.batches import IGNORE, Batch, Batches, training_shape
from bongsu.tokens.bpe import load_tokenizer, save_tokenizer, token_bytes, word_starts
from bongsu.tokens.packing import BatchShape
from bongsu.tokens.shards import open_shards
from bongsu.tokens.sharing import shard_batch
from bongsu.tokens.special import MASK_ID
from bongsu.training.averaging import Averaged, mean_from
from bongsu.training.checkpoints import State
from bongsu.training.devices import compiles, resolve_device
from bongsu.training.distributed import SINGLE_PROCESS, Processes
from bongsu.training.log import Outcome
from bongsu.training.loop import OnEvaluation, Plan, train
from bongsu.training.optimizers import ParameterGroup, parameter_groups

VALIDATION_SEED = 0
"""The same validation tokens are masked whatever the recipe's seed, so that seeds can be compared."""

_MOST_JOINED = 8
"""Tokens that are shown as one where each holds a part of a character's bytes."""
_BROKEN = "\ufffd"


class Token(TypedDict):
    """A token of a sample."""

    text: str
    segment: int
    masked: bool
    target: str | None
    """Of a masked token: what stood there."""
    guess: str | None
    probability: float | None
    """Of the guess."""


class Sample(TypedDict):
    """A packed row of held-out text with the model's guesses."""

    tokens: list[Token]


@dataclass
class MaskedLanguageModelling:
    """Masked-language modelling as a `Trainable`."""

    language_model: MaskedLanguageModel
    training: Batches
    held_out: list[Batch]
    bytes_of: Tensor
    """[vocab_size] int64: bytes of text each id stands for."""
    learning_rate: float
    weight_decay: float
    average_from: int | None = None
    """The step from which weights are averaged; the average is evaluated and kept."""
    part: int = 0
    """The rank of this process among the `parts` that share each batch."""
    parts: int = 1
    student: StudentModel | None = None
    """`language_model` with the layer that a teacher's vectors are compared through."""
    teacher_weight: float = 1.0
    compiled: bool = False
    """Whether training steps use `torch.compile`. Evaluation does not, as it would compile everything again."""
    model: nn.Module = field(init=False)
    """The module to train and save: the language model, with the teacher's projection and averaged weights, if any."""

    def __post_init__(self) -> None:
        live, start = self.live, self.average_from
        self.model = live if start is None else Averaged(live, mean_from(start))
        self._forward_training = torch.compile(live, dynamic=False) if self.compiled else live

    @property
    def live(self) -> MaskedLanguageModel | StudentModel:
        """The model that the optimizer updates."""
        return self.student or self.language_model

    @property
    def measured(self) -> MaskedLanguageModel | StudentModel:
        """The model to evaluate."""
        return self.model.average if isinstance(self.model, Averaged) else self.live

    @property
    def kept(self) -> MaskedLanguageModel:
        """The language model to keep."""
        measured = self.measured
        return measured.language_model if isinstance(measured, StudentModel) else measured

    def batch(self, n: int) -> Batch:
        return shard_batch(self.training.batch(n), self.part, self.parts)

    def loss(self, batch: Batch) -> Outcome:
        logits, targets, cosines = self._forward(self._forward_training, batch)
        counted = targets != IGNORE
        count = counted.sum()
        # The mean of `cross_entropy` itself would be NaN without a target.
        loss = F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="sum") / count.clamp(min=1)
        if cosines is not None:
            taught = max(1, int(batch.taught.sum()))  # of the whole batch, also where this is a share of it
            loss = loss + self.teacher_weight * (1 - cosines).sum() / (taught * max(batch.share, 1e-6))
        correct = (logits.argmax(-1) == targets) & counted
        return Outcome(loss, correct.sum(), count, int((batch.segment_ids > 0).sum()), batch.share)

    def evaluate(self) -> dict[str, float]:
        """Return loss (nats per masked token), accuracy, and bits per byte of masked text.

        Bits per byte divides the bits of the masked tokens by the bytes they stand for, so that vocabularies of different
        sizes can be compared: a small vocabulary has easier tokens, but more of them.
        """
        nats = correct = count = size = likeness = taught = 0.0
        for batch in self.held_out:
            logits, targets, cosines = self._forward(self.measured, batch)
            if cosines is not None:
                likeness += float(cosines.sum())
                taught += len(cosines)
            counted = targets != IGNORE
            nats += float(F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="sum"))
            correct += float(((logits.argmax(-1) == targets) & counted).sum())
            count += float(counted.sum())
            size += float(self.bytes_of.to(targets.device)[targets[counted]].sum())
        bits = nats / math.log(2)
        metrics = {
            "loss": nats / max(1.0, count),
            "accuracy": correct / max(1.0, count),
            "bits_per_byte": bits / max(1.0, size),
        }
        return {**metrics, "teacher_cosine": likeness / max(1.0, taught)} if self.student else metrics

    def groups(self) -> list[ParameterGroup]:
        return parameter_groups(self.live, self.learning_rate, self.weight_decay)

    def after_step(self) -> None:
        """Update the averaged weights."""
        if isinstance(self.model, Averaged):
            self.model.update()

    def _forward(self, model: Callable[..., Any], batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return logits [M, vocab_size] float32, targets [M] int64, and [taught] cosines with the teacher's vectors."""
        device = self.language_model.output_bias.device
        ids, segments, positions, queries, targets = (
            torch.from_numpy(array).to(device, non_blocking=True)
            for array in (batch.input_ids, batch.segment_ids, batch.positions, batch.query_positions, batch.targets)
        )
        if batch.sentences is None or batch.vectors is None:
            return model(ids, segments, positions, queries).float(), targets, None
        sentences, vectors = (torch.from_numpy(array).to(device) for array in (batch.sentences, batch.vectors))
        logits, projected = model(ids, segments, positions, queries, sentences, len(vectors))
        here = np.isin(np.arange(len(batch.vectors)), batch.sentences) & batch.taught
        mine = torch.from_numpy(np.flatnonzero(here)).to(device)
        return logits.float(), targets, F.cosine_similarity(projected[mine], vectors[mine].float(), dim=-1)


def total_steps(recipe: Recipe, sentences: int, shape: BatchShape) -> int:
    """Return the optimizer steps of a run: `steps`, or those of `epochs` (3 by default)."""
    settings = recipe.pretrain
    assert settings is not None
    if settings.steps:
        return settings.steps
    return max(1, math.ceil((settings.epochs or 3.0) * sentences / (shape.sentences * settings.accumulate)))


def pretrain(
    recipe: Recipe,
    tokenizer_folder: Path,
    tokens_folder: Path,
    folder: Path,
    on_evaluation: OnEvaluation | None = None,
    start: Path | None = None,
    processes: Processes = SINGLE_PROCESS,
    title: str = "pretrain",
) -> State:
    """Pre-train the recipe's encoder on shards, or continue with the one in the folder `start`.

    Leaves `model/`, `checkpoints/` and `samples.json` in `folder`. Each of several `processes` calls this; one of them writes.

    Raises:
        DataError: when the validation split is empty.
        RecipeError: when rows are longer than the positions of the encoder in `start`.
    """
    settings = recipe.pretrain
    assert settings is not None
    tokenizer = load_tokenizer(tokenizer_folder)
    training, validation = _batches(recipe, tokenizer, tokens_folder)
    shape, steps = training.shape, total_steps(recipe, training.shards.sentences, training.shape)
    model, student = _initial_model(recipe, training.vocab_size, start, title), None
    if settings.teacher:
        teacher = Teacher(folder / "teacher", settings, tokenizer)
        training, validation = _with_vectors(teacher, training, validation, processes)
        student = StudentModel(model, teacher.width, recipe.seed)
    trainable = MaskedLanguageModelling(
        language_model=model,
        training=training,
        held_out=validation.validation(settings.validation_sentences),
        bytes_of=torch.from_numpy(token_bytes(tokenizer)),
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        average_from=round((1 - settings.average) * steps) if settings.average else None,
        part=processes.rank,
        parts=processes.count,
        student=student,
        teacher_weight=settings.teacher_weight,
        compiled=compiles(settings.compile, resolve_device(settings.device), steps),
    )
    plan = Plan(
        steps=steps,
        evaluate_every=max(1, math.ceil(steps / settings.evaluations)),
        monitor="loss",
        seed=recipe.seed,
        title=title,
        flops_per_token=3 * flops_per_token(model.encoder.config, settings.row_length, settings.mask_rate),
        suggest_batch_size=lambda: suggest_batch_size(
            model.encoder.config, shape, settings, resolve_device(settings.device), title
        ),
    )
    state = train(trainable, plan, settings, folder / "checkpoints", on_evaluation, processes)
    if processes.is_main_process:
        write_json(folder / "samples.json", samples(trainable, tokenizer))
        with atomic_folder(folder / "model") as model_folder:
            save_encoder(model_folder, trainable.kept, {"validation": state.last})
            save_tokenizer(tokenizer, model_folder, model.encoder.config.max_length)
    return state


def _batches(recipe: Recipe, tokenizer: Tokenizer, tokens_folder: Path) -> tuple[Batches, Batches]:
    """Return the batches of training and those of validation, which have one shape."""
    settings = recipe.pretrain
    assert settings is not None
    shards, held_out = (open_shards(tokens_folder, split) for split in ("train", "validation"))
    if held_out.sentences == 0:
        raise DataError("The validation split is empty: raise corpus.validation or add text.")
    shape, vocab_size = training_shape(shards, settings), tokenizer.get_vocab_size()
    starts = word_starts(tokenizer) if settings.whole_words else None
    total = total_steps(recipe, shards.sentences, shape) * settings.accumulate
    return (
        Batches(shards, shape, settings, vocab_size, recipe.seed, starts, total),
        Batches(held_out, shape, settings, vocab_size, VALIDATION_SEED, starts),
    )


def _with_vectors(teacher: Teacher, training: Batches, validation: Batches, processes: Processes) -> tuple[Batches, Batches]:
    """Return the same batches with a teacher's vectors, which the main process computes."""
    assert training.total is not None
    first = training.training_sentences(training.total)
    held_out = validation.validation_sentences(training.settings.validation_sentences)

    def compute() -> tuple[Path, Path]:
        return teacher.run("train", training.shards, first), teacher.run("validation", validation.shards, held_out)

    paths = processes.broadcast(compute)
    vectors = [np.load(path, mmap_mode="r") for path in paths]
    return replace(training, vectors=vectors[0]), replace(validation, vectors=vectors[1])


def _initial_model(recipe: Recipe, vocab_size: int, start: Path | None, title: str) -> MaskedLanguageModel:
    """Return the model in the folder `start`, or else an initialized one."""
    if start is None:
        model = MaskedLanguageModel(EncoderConfig.from_recipe(recipe.model, vocab_size))
        initialize(model, recipe.seed)
        return model
    assert recipe.pretrain is not None
    model, row_length = load_masked_lm(start), recipe.pretrain.row_length
    if row_length > (longest := model.encoder.config.max_length):
        raise RecipeError(f"{title}.row_length: {row_length} is more than the encoder's {longest} positions")
    return model


@torch.inference_mode()
def samples(trainable: MaskedLanguageModelling, tokenizer: Tokenizer, rows: int = 4) -> list[Sample]:
    """Return a few packed rows of held-out text with masked tokens, targets and predictions."""
    trainable.model.eval()
    batch = trainable.held_out[0]
    logits, targets, _ = trainable._forward(trainable.measured, batch)
    best = F.softmax(logits, dim=-1).max(-1)
    guesses = {
        int(place): (int(target), int(guess), float(probability))
        for place, target, guess, probability in zip(batch.query_positions, targets, best.indices, best.values, strict=True)
        if int(target) != IGNORE
    }
    length = batch.input_ids.shape[1]
    shown: list[Sample] = []
    for row in range(min(rows, len(batch.input_ids))):
        tokens: list[Token] = []
        columns = np.flatnonzero(batch.segment_ids[row]).tolist()
        ids, segments = batch.input_ids[row].tolist(), batch.segment_ids[row].tolist()
        found = {column: guesses[row * length + column] for column in columns if row * length + column in guesses}
        truth = [found[column][0] if column in found else ids[column] for column in columns]
        for first, last in characters(tokenizer, truth, [segments[column] for column in columns]):
            part = columns[first:last]
            hidden = [column for column in part if column in found]
            tokens.append(
                {
                    "text": _shown(tokenizer, [ids[column] for column in part]),
                    "segment": segments[part[0]],
                    "masked": bool(hidden),
                    "target": _shown(tokenizer, truth[first:last]) if hidden else None,
                    "guess": _shown(tokenizer, [found[c][1] if c in found else ids[c] for c in part]) if hidden else None,
                    "probability": float(np.prod([found[column][2] for column in hidden])) if hidden else None,
                }
            )
        shown.append({"tokens": tokens})
    return shown


def characters(tokenizer: Tokenizer, ids: Sequence[int], segments: Sequence[int]) -> list[tuple[int, int]]:
    """Return [first, last) of the tokens that must stand together so that none shows a part of a character's bytes."""
    spans, first = [], 0
    while first < len(ids):
        last = first + 1
        most = min(first + _MOST_JOINED, len(ids))
        end = next(
            (
                end
                for end in range(last, most + 1)
                if segments[end - 1] == segments[first] and _BROKEN not in tokenizer.decode(list(ids[first:end]))
            ),
            last,
        )
        spans.append((first, end))
        first = end
    return spans


def _shown(tokenizer: Tokenizer, tokens: Sequence[int]) -> str:
    return "[MASK]" if MASK_ID in tokens else tokenizer.decode(list(tokens), skip_special_tokens=False).replace(_BROKEN, "…")
