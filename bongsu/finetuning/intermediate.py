"""Training on other labels before those of the task (Phang et al. 2018; Pruksachatkun et al. 2020).

What a message is called elsewhere, on a topic or off it, informative or not, or only where it was collected, is known of far
more texts than have the label one is after. An encoder that learned to tell such texts apart begins the task further on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from bongsu import progress
from bongsu.corpus.cleaning import Cleaner
from bongsu.corpus.dedup import twins_of
from bongsu.errors import DataError, RecipeError
from bongsu.files import atomic_folder, write_json
from bongsu.finetuning.data import read_sources, read_unlabelled
from bongsu.finetuning.splits import distinct, hold_out
from bongsu.finetuning.trainable import Classification, Encoded
from bongsu.model.heads import Classifier, CNNConfig
from bongsu.model.initialization import initialize
from bongsu.model.io import load_masked_lm, save_encoder
from bongsu.recipe import Finetune, Intermediate, Recipe
from bongsu.tokens.bpe import load_tokenizer, save_tokenizer
from bongsu.tokens.inputs import encode
from bongsu.training.checkpoints import State
from bongsu.training.devices import resolve_device
from bongsu.training.loop import OnEvaluation, Plan, train

Int64 = npt.NDArray[np.int64]
VALIDATION = 0.02
# What this stage takes from [finetune] as it stands there: another head or another way to read texts is another training.
READ = {
    *("text", "where", "test_where", "cleaning", "max_length"),
    *("kernel_sizes", "filters", "pooling", "layers", "head_dropout", "max_norm"),
    *("label_smoothing", "class_weights", "weight_decay", "betas", "epsilon", "schedule", "warmup", "decay", "final", "cycles"),
    *("clip", "precision", "spike", "max_skipped", "on_divergence"),
}


def train_on_sources(
    recipe: Recipe, encoder_folder: Path, folder: Path, on_evaluation: OnEvaluation | None = None
) -> tuple[State, list[str]]:
    """Trains the encoder in `encoder_folder` to tell the labels of the sources apart.

    Leaves the encoder in `folder/model`, as pre-training does, and `sources.json` (how many texts of each label).

    Returns:
        The state of training, and the labels.

    Raises:
        DataError: when the sources have one label only.
        RecipeError: when the encoder has fewer positions than finetune.max_length.
    """
    settings, task = recipe.intermediate, recipe.finetune
    assert settings is not None
    assert task is not None
    texts, labels, names = read_texts(settings, task)
    write_json(folder / "sources.json", {"labels": dict(zip(names, np.bincount(labels).tolist(), strict=True))})

    masked_lm = load_masked_lm(encoder_folder)
    longest = masked_lm.encoder.config.max_length
    if task.max_length > longest:
        raise RecipeError(f"finetune.max_length: {task.max_length} is more than the encoder's {longest} positions")
    tokenizer = load_tokenizer(encoder_folder)
    ids = encode(tokenizer, texts, task.max_length)
    rows, held = hold_out(labels, np.arange(len(labels)), VALIDATION, recipe.seed)
    as_finetuning = trained_as(settings, task)
    classifier = Classifier(masked_lm.encoder, CNNConfig.from_recipe(as_finetuning, len(names)))
    initialize(classifier.head, recipe.seed)
    learning = Classification(
        classifier=classifier.to(resolve_device(task.device)),
        training=Encoded([ids[row] for row in rows], labels[rows]),
        development=Encoded([ids[row] for row in held], labels[held]),
        settings=as_finetuning,
        seed=recipe.seed,
    )
    steps = max(1, round(settings.epochs * learning.batches_per_epoch))
    plan = Plan(
        steps=steps,
        evaluate_every=max(1, steps // 4),
        monitor="loss",
        higher_is_better=False,
        patience=None,
        seed=recipe.seed,
        title="intermediate",
    )
    state = train(learning, plan, as_finetuning, folder / "checkpoints", on_evaluation)
    with atomic_folder(folder / "model") as model_folder:
        save_encoder(model_folder, masked_lm)
        save_tokenizer(tokenizer, model_folder, longest)
    return state, names


def read_texts(settings: Intermediate, task: Finetune) -> tuple[list[str], Int64, list[str]]:
    """Cleaned texts of the sources that are no near-twins of the task's own, their labels [texts], and the labels' names.

    A text that occurs more than once counts once, with the label it has most often; a tie leaves it out.

    Raises:
        DataError: when fewer than two labels are left.
    """
    texts, called = read_sources(settings.sources, task.cleaning)
    cleaner = Cleaner(task.cleaning)
    own: list[str] = []
    for path, where in ((task.train, task.where), (task.test, task.test_where)):
        if path:
            own += read_unlabelled(path, task.text, [], task.id, cleaner, where)[1]
    twins = twins_of(texts, own)
    names = sorted(set(called))
    labels = np.array([names.index(name) for name in called], dtype=np.int64)
    rows, labels = distinct(texts, labels, np.flatnonzero(~twins))
    if len(np.unique(labels)) < len(names) or len(names) < 2:
        raise DataError(f"intermediate.sources: two labels or more are needed, each with texts; there are {', '.join(names)}.")
    progress.note(
        f"intermediate: {len(rows):,} texts of {len(names)} labels; {int(twins.sum()):,} near-twins of the task's left out"
    )
    return [texts[row] for row in rows], labels, names


def trained_as(settings: Intermediate, task: Finetune) -> Finetune:
    """The settings of fine-tuning, with the rates of this stage and nothing that is there for a few thousand rows."""
    return task.model_copy(
        update={
            "learning_rate": settings.learning_rate,
            "encoder_learning_rate": settings.encoder_learning_rate,
            "batch_size": settings.batch_size,
            "accumulate": 1,
            "encoder_dropout": None,
            "freeze": False,
            "unfreeze_epochs": 0.0,
            "layer_decay": 1.0,
            "dropout_samples": 1,
            "mixup": 0.0,
            "r_drop": 0.0,
            "ema": 0.0,
        }
    )
