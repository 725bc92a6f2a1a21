"""Continued pre-training on the task's own texts, without their labels (Howard and Ruder 2018; Gururangan et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bongsu import progress
from bongsu.corpus.cleaning import dedup_key
from bongsu.corpus.readers import ReadStats, read
from bongsu.corpus.split import hash_keys, in_validation
from bongsu.errors import DataError
from bongsu.pretraining.masked_lm import pretrain
from bongsu.recipe import Recipe, TextFormat
from bongsu.tasks.registry import build_task
from bongsu.tokens.bpe import load_tokenizer
from bongsu.tokens.shards import encode_texts, write_shards, write_tokens_report
from bongsu.training.checkpoints import State
from bongsu.training.loop import OnEvaluation

VALIDATION = 0.05


def adapt(recipe: Recipe, encoder_folder: Path, folder: Path, on_evaluation: OnEvaluation | None = None) -> State:
    """Continue pre-training the encoder in `encoder_folder`; leave `tokens/` and the output of pre-training in `folder`.

    Raises:
        RecipeError: when rows are longer than the encoder's positions.
        DataError: when there are too few texts.
    """
    settings = recipe.adapt
    assert settings is not None
    tokens = folder / "tokens"
    if not (tokens / "tokens.json").is_file():
        tokens.mkdir(exist_ok=True)
        _encode(recipe, encoder_folder, tokens)
    recipe = recipe.model_copy(update={"pretrain": settings})
    return pretrain(recipe, encoder_folder, tokens, folder, on_evaluation, start=encoder_folder, title="adapt")


def texts(recipe: Recipe) -> Iterator[str]:
    """Yield the texts of the labelled files and of the file to predict, as the model reads them, then those of the sources."""
    assert recipe.adapt is not None
    assert recipe.task is not None
    task = build_task(recipe.task)
    own = recipe.task
    files: list[tuple[str | None, dict[str, str], TextFormat]]
    files = [(own.train, own.where, own), (own.test, own.test_where, own)]
    files += [(recipe.predict.input, {}, recipe.predict)] if recipe.predict else []
    for path, where, written in files:
        if path:
            yield from (text for each in task.read_unlabelled(path, where, written=written) for text in each.inputs)
    for source in recipe.adapt.sources:
        for document in read(source, ReadStats(source.max_bad)):
            if (cleaned := task.cleaner.clean(document.text)) is not None:
                yield cleaned


def _encode(recipe: Recipe, encoder_folder: Path, folder: Path) -> None:
    tokenizer = load_tokenizer(encoder_folder)
    different = list({dedup_key(text): text for text in texts(recipe)}.values())
    held = in_validation(hash_keys(different), VALIDATION)
    if not 0 < np.count_nonzero(held) < len(different):
        raise DataError(f"adapt: {len(different)} different texts are too few to learn from and to measure on.")
    splits = {}
    with progress.bar("adapt: encode", sum(len(text.encode()) for text in different) / 1e6, "MB") as bar:
        for split, wanted in (("train", False), ("validation", True)):
            part = [text for text, out in zip(different, held.tolist(), strict=True) if out == wanted]
            splits[split] = write_shards(folder, split, encode_texts(part, tokenizer), tokenizer, bar)
    write_tokens_report(folder, tokenizer, splits)
