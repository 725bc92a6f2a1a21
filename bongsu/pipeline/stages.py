"""A recipe as a list of stages: from `prepare` to `predict`, in the order of `FOLDERS`.

What does a stage's work is imported when it is done, so that a run with nothing to do answers at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bongsu import progress
from bongsu.corpus.readers import resolve
from bongsu.corpus.split import SPLITS
from bongsu.corpus.stored import parts, read_corpus_report, texts
from bongsu.errors import RecipeError
from bongsu.files import redacted, write_bytes, write_json, write_text
from bongsu.finetuning.data import check_columns, load_data, prepare_data
from bongsu.models import packaged
from bongsu.parallel import whole, workers
from bongsu.recipe import HUB, Optimization, Pretrain, Recipe, Tree
from bongsu.tokens.bpe import load_tokenizer, measure, sample_evenly, save_tokenizer, train_tokenizer
from bongsu.tokens.shards import Encoded, encode_part, write_shards, write_tokens_report
from bongsu.workspace import Stage, Workspace, file_fingerprint

if TYPE_CHECKING:
    from bongsu.finetuning.cross_validation import CrossValidation

FOLDERS = {
    "prepare": "corpus",
    "tokenizer": "tokenizer",
    "encode": "tokens",
    "pretrain": "pretrain",
    "adapt": "adapt",
    "finetune": "finetune/model",
    "evaluate": "evaluation",
    "predict": "predictions",
}
"""The folder of the last stage that a verb runs."""
CORPUS_LAYOUT = 2  # of the folder's files, so that one made by an earlier version is made anew
# What may change without changing the outcome.
_INCIDENTAL = {"device", "loader_workers", "log_every", "checkpoint_minutes", "keep"}
# Keys of [validation] that say who is measured on which rows.
_SPLITTING = {"folds", "holdout", "leave_out"}


Listener = Callable[[str, int, dict[str, float]], None]
"""Called with the stage, the step and the metrics after each evaluation of a training stage."""


def stages(recipe: Recipe, workspace: Workspace, listener: Listener | None = None, ray: str | None = None) -> list[Stage]:
    """Return the stages of a recipe, in order, without those whose section is missing. `ray`: see `running.run`."""
    if not (recipe.corpus or recipe.task):
        raise RecipeError("The recipe has nothing to run: add [corpus] with text to learn from, or [task] with labelled rows.")
    chain = _language_model_stages(recipe, workspace, listener, ray) if recipe.corpus else []
    if recipe.task:
        if recipe.finetune.encoder:
            encoder_folder = named_encoder(recipe.finetune.encoder)
            encoder_inputs = _weight_fingerprints(encoder_folder)
        else:
            encoder_folder = workspace.folder("pretrain") / "model"
            encoder_inputs = [stage.fingerprint for stage in chain if stage.name == "pretrain"]
        check_columns(recipe)
        if recipe.adapt:
            chain.append(_adapt_stage(recipe, encoder_folder, encoder_inputs, listener))
            encoder_folder, encoder_inputs = workspace.folder("adapt") / "model", [chain[-1].fingerprint]
        chain += _finetune_stages(recipe, workspace, encoder_folder, encoder_inputs, listener)
    if chain:
        last = [stage.fingerprint for stage in chain]
        settings = {**_settings(recipe, "evaluate"), **({"task": recipe.task.model_dump(mode="json")} if recipe.task else {})}
        chain.append(Stage("evaluation", settings, last, lambda folder: _evaluate(recipe, workspace, folder)))
    if recipe.predict:
        paths = [path for path in (recipe.predict.input, recipe.predict.sample) if path]
        inputs = [chain[-2].fingerprint, *(file_fingerprint(name) for path in paths for name in resolve(path))]
        chain.append(
            Stage("predictions", _settings(recipe, "predict"), inputs, lambda folder: _predict(recipe, workspace, folder))
        )
    return chain


def _language_model_stages(recipe: Recipe, workspace: Workspace, listener: Listener | None, ray: str | None) -> list[Stage]:
    """Return the stages from text to a pre-trained encoder, the last one only with [pretrain]."""
    assert recipe.corpus is not None
    corpus, tokenizer, tokens = (workspace.folder(FOLDERS[verb]) for verb in ("prepare", "tokenizer", "encode"))
    named = [*recipe.corpus.validation_sources, *recipe.corpus.sources]
    corpus_stage = Stage(
        "corpus",
        {**_settings(recipe, "corpus"), "layout": CORPUS_LAYOUT},
        [file_fingerprint(path) for source in named for path in resolve(source.path)],
        lambda folder: _prepare(recipe, folder, ray),
    )
    start = start_folder(recipe)
    tokenizer_stage = Stage(
        "tokenizer",
        {"start": True} if start else _settings(recipe, "tokenizer"),
        [corpus_stage.fingerprint, *(_weight_fingerprints(start) if start else [])],
        lambda folder: make_tokenizer(recipe, corpus, folder),
    )
    tokens_stage = Stage(
        "tokens", {}, [tokenizer_stage.fingerprint], lambda folder: encode_corpus(corpus, tokenizer, folder, ray)
    )
    chain = [corpus_stage, tokenizer_stage, tokens_stage]
    if recipe.pretrain:
        pretrain = _settings(recipe, "pretrain")
        # The content of `start` and `teacher` counts, not the path; the former is among the tokenizer's inputs.
        del pretrain["pretrain"]["start"], pretrain["pretrain"]["teacher"]
        pretrain_stage = Stage(
            "pretrain",
            {**({} if start else _settings(recipe, "model")), **pretrain, "seed": recipe.seed},
            [tokens_stage.fingerprint, *_teacher_fingerprints(recipe.pretrain)],
            lambda folder: _pretrain(recipe, tokenizer, tokens, folder, listener, start),
            resumable=True,
            collective=True,
        )
        chain.append(pretrain_stage)
    return chain


def start_folder(recipe: Recipe) -> Path | None:
    """Return the folder of the encoder that pre-training starts from, if any."""
    return named_encoder(recipe.pretrain.start) if recipe.pretrain and recipe.pretrain.start else None


def _weight_fingerprints(encoder: Path) -> list[str]:
    from bongsu.model.hub import weight_files

    return [file_fingerprint(str(file)) for file in weight_files(encoder)]


def _teacher_fingerprints(settings: Pretrain) -> list[str]:
    """Return what stands for the teacher, if there is one."""
    if not settings.teacher:
        return []
    from bongsu.pretraining.teacher import teacher_folder

    return _weight_fingerprints(teacher_folder(settings))


def named_encoder(name: str) -> Path:
    """Return the folder of the encoder that a recipe names: a run's, a model folder, "bongsu:beacon", or "hf:FOLDER".

    Raises:
        WorkspaceError: when there is none in it.
    """
    from bongsu.model.hub import hub_folder
    from bongsu.model.io import find_encoder, read_config

    if name.startswith(HUB):
        return hub_folder(name)
    path = packaged(name, "encoder") or Path(name)
    folder = find_encoder(path) or path
    read_config(folder, "masked_lm")
    return folder


def _settings(recipe: Recipe, section: str) -> dict[str, Tree]:
    part = getattr(recipe, section)
    values: Tree = part.model_dump(mode="json")
    if isinstance(part, Optimization):
        values = {key: value for key, value in values.items() if key not in _INCIDENTAL}
    return {section: values}


def _prepare(recipe: Recipe, folder: Path, ray: str | None) -> None:
    from bongsu.corpus.prepare import prepare

    assert recipe.corpus is not None
    summary = prepare(recipe.corpus, folder, ray)
    splits = summary["splits"]
    progress.note(
        f"corpus: {summary['texts']:,} texts ({splits['train']:,} for training, {splits['validation']:,} for validation), "
        f"{summary['bytes'] / 1e6:,.1f} MB"
    )


def make_tokenizer(recipe: Recipe, corpus: Path, folder: Path) -> None:
    """Train a tokenizer on the prepared corpus, or take that of `pretrain.start`; measure it; leave it in `folder`."""
    from bongsu.model.io import read_encoder_config

    summary = read_corpus_report(corpus)
    limit = 1e6 * recipe.tokenizer.sample_mb
    total = min(limit, summary["bytes"]) / 1e6

    def sample() -> Iterator[str]:
        return sample_evenly(texts(corpus, "train"), summary["bytes"], limit)

    if start := start_folder(recipe):
        tokenizer = load_tokenizer(start)
        save_tokenizer(tokenizer, folder, read_encoder_config(start).max_length)
    else:
        with progress.bar("tokenizer", total, "MB") as bar:
            tokenizer = train_tokenizer(recipe.tokenizer, _counted(sample(), bar))
        save_tokenizer(tokenizer, folder, recipe.model.max_length)
    held_out = sample_evenly(texts(corpus, "validation"), summary["bytes"], 20e6)
    metrics = measure(load_tokenizer(folder), sample(), held_out)
    write_json(folder / "tokenizer_report.json", {"vocab_size": tokenizer.get_vocab_size(), **metrics})
    progress.note(
        f"tokenizer: {tokenizer.get_vocab_size():,} entries, {metrics['bytes_per_token']:.2f} bytes a token, "
        f"{metrics['unseen_characters']:.4%} of validation characters unseen in training"
    )


def _counted(stream: Iterator[str], bar: progress.Bar) -> Iterator[str]:
    for text in stream:
        bar.advance(len(text) / 1e6)
        yield text


def encode_corpus(corpus: Path, tokenizer_folder: Path, folder: Path, ray: str | None = None) -> None:
    """Write the token shards of the prepared corpus in `corpus` to `folder`, which is there."""
    tokenizer = load_tokenizer(tokenizer_folder)
    summary = read_corpus_report(corpus)
    splits = {}
    with progress.bar("encode", summary["bytes"] / 1e6, "MB") as bar:
        for split in SPLITS:
            encoded = _encoded(parts(corpus.absolute(), split), tokenizer_folder.absolute(), ray)
            splits[split] = write_shards(folder, split, encoded, tokenizer, bar)
    write_tokens_report(folder, tokenizer, splits)
    progress.note(f"tokens: {splits['train']['tokens']:,} for training, {splits['validation']['tokens']:,} for validation")


def _encoded(paths: list[Path], tokenizer: Path, ray: str | None) -> Iterator[Encoded]:
    with workers(ray) as pool:
        for part in pool.run(paths, whole, partial(encode_part, tokenizer_folder=tokenizer)):
            yield from part


def _pretrain(
    recipe: Recipe, tokenizer: Path, tokens: Path, folder: Path, listener: Listener | None, start: Path | None
) -> None:
    from bongsu.pretraining.masked_lm import pretrain
    from bongsu.training.devices import resolve_device
    from bongsu.training.distributed import joined

    assert recipe.pretrain is not None
    on_evaluation = partial(listener, "pretrain") if listener else None
    with joined(resolve_device(recipe.pretrain.device)) as processes:
        state = pretrain(recipe, tokenizer, tokens, folder, on_evaluation, start, processes)
    metrics = state.last
    likeness = f", cosine with the teacher {metrics['teacher_cosine']:.3f}" if "teacher_cosine" in metrics else ""
    progress.note(
        f"pretrain: {state.step:,} steps, validation loss {metrics['loss']:.3f}, masked-token accuracy "
        f"{metrics['accuracy']:.3f}, {metrics['bits_per_byte']:.3f} bits per byte of masked text{likeness}"
    )


def _adapt_stage(recipe: Recipe, encoder: Path, encoder_inputs: list[str], listener: Listener | None) -> Stage:
    assert recipe.adapt is not None
    assert recipe.task is not None
    paths = [recipe.task.train, recipe.task.test, recipe.predict and recipe.predict.input]
    files = [path for path in [*paths, *(source.path for source in recipe.adapt.sources)] if path]
    hidden = set(recipe.task.presentation) | set(recipe.task.training)
    return Stage(
        "adapt",
        {**_settings(recipe, "adapt"), "task": recipe.task.model_dump(mode="json", exclude=hidden), "seed": recipe.seed},
        [
            *encoder_inputs,
            *(file_fingerprint(name) for path in files for name in resolve(path)),
            *_teacher_fingerprints(recipe.adapt),
        ],
        lambda folder: _adapt(recipe, encoder, folder, listener),
        resumable=True,
    )


def _adapt(recipe: Recipe, encoder: Path, folder: Path, listener: Listener | None) -> None:
    from bongsu.pretraining.adapt import adapt

    state = adapt(recipe, encoder, folder, partial(listener, "adapt") if listener else None)
    progress.note(
        f"adapt: {state.step:,} steps, masked-token accuracy {state.last['accuracy']:.3f}, "
        f"{state.last['bits_per_byte']:.3f} bits per byte on held-out texts of the task"
    )


def _finetune_stages(
    recipe: Recipe, workspace: Workspace, encoder: Path, encoder_inputs: list[str], listener: Listener | None
) -> list[Stage]:
    """Return the stages of fine-tuning. Each has the settings that decide its outcome and no others, so that changing a
    threshold, a name or the TF-IDF partner trains nothing again."""
    settings = recipe.task
    assert settings is not None
    work = _FineTuningWork(recipe, workspace.folder, encoder, listener)
    task = settings.model_dump(mode="json", exclude=set(settings.presentation))
    head = {key: task.pop(key) for key in set(settings.training) & task.keys()}
    validation = recipe.validation.model_dump(mode="json")
    splitting = {key: validation[key] for key in _SPLITTING}
    stopping = {key: validation[key] for key in ("development", "metric", "seeds")}
    files = [path for path in (settings.train, settings.test, getattr(settings, "corrections", None)) if path]
    finetune = _settings(recipe, "finetune")
    refit_settings = {"refit": finetune["finetune"].pop("refit")}
    data_stage = Stage(
        "finetune/data",
        {"task": task, "validation": splitting, "seed": recipe.seed},
        [file_fingerprint(name) for path in files for name in resolve(path)],
        lambda out: prepare_data(recipe, out),
    )
    baseline_stage = Stage("finetune/baselines", {}, [data_stage.fingerprint], work.fit_baselines)
    fold_stage = Stage(
        "finetune/folds",
        {"head": head, **finetune, "validation": stopping, "seed": recipe.seed},
        [*encoder_inputs, data_stage.fingerprint],
        work.run_folds,
        resumable=True,
    )
    refit_stage = Stage("finetune/refit", refit_settings, [fold_stage.fingerprint], work.refit, resumable=True)
    model_settings = {
        **_settings(recipe, "ensemble"),
        "evaluate": recipe.evaluate.model_dump(mode="json", exclude={"worst", "lang"}),
        "names": {key: settings.model_dump(mode="json")[key] for key in sorted(settings.presentation)},
        "diagnose": validation["diagnose"],
    }
    model_stage = Stage("finetune/model", model_settings, [baseline_stage.fingerprint, refit_stage.fingerprint], work.assemble)
    return [data_stage, baseline_stage, fold_stage, refit_stage, model_stage]


@dataclass(frozen=True)
class _FineTuningWork:
    """What the stages of fine-tuning do, each given the folder to write to."""

    recipe: Recipe
    folder: Callable[[str], Path]
    """From the name of a stage."""
    encoder: Path
    listener: Listener | None

    def fit_baselines(self, out: Path) -> None:
        from bongsu.finetuning.baselines import fit_baselines

        fit_baselines(load_data(self.recipe, self.folder("finetune/data")), out)

    def run_folds(self, out: Path) -> None:
        self._folds().run()

    def refit(self, out: Path) -> None:
        from bongsu.finetuning.refit import refit

        refit(self._folds(), out)

    def assemble(self, out: Path) -> None:
        from bongsu.finetuning.baselines import load_baselines
        from bongsu.finetuning.ensemble import assemble

        folds = self._folds()
        baselines = load_baselines(folds.data, self.folder("finetune/baselines"))
        assemble(folds, baselines, self.folder("finetune/refit") / "model", out)

    def _folds(self) -> CrossValidation:
        from bongsu.finetuning.cross_validation import CrossValidation

        data = load_data(self.recipe, self.folder("finetune/data"))
        on_evaluation = partial(self.listener, "finetune") if self.listener else None
        return CrossValidation(self.recipe, data, self.encoder, self.folder("finetune/folds"), on_evaluation)


def _evaluate(recipe: Recipe, workspace: Workspace, folder: Path) -> None:
    from bongsu.reporting.page import render
    from bongsu.reporting.run import build_report

    report, sections = build_report(recipe, workspace, folder)
    write_text(folder / "report.html", render(report))
    write_json(folder / "summary.json", {"sentences": report.summary, **sections})
    for line in report.summary:
        progress.note(line)


def _predict(recipe: Recipe, workspace: Workspace, folder: Path) -> None:
    from bongsu.inference.torch_backend import load_predictor
    from bongsu.pipeline.predicting import predict_file

    settings = recipe.predict
    assert settings is not None
    name = {"jsonl": "predictions.jsonl", "csv": "predictions.csv", "kaggle": "submission.csv"}[settings.format]
    predictor = load_predictor(workspace.path)
    found = predict_file(predictor, settings.input, settings.format, settings.sample, settings, settings.unlabelled)
    write_bytes(folder / name, found.content)
    write_json(folder / "rows.json", {"input": {"path": redacted(settings.input), **found.stats.as_dict()}})
    progress.note(f"predict: {found.stats.used:,} rows in {workspace.folder('predictions') / name}")
