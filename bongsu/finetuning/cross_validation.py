"""How one classifier is fine-tuned: which rows it sees, how they are shown, what it starts from, and how it is measured.

A fold is trained on its own rows (without copies, with the label of the majority), stopped early by a development split of
those, and measured on the rest. `making.py` makes a detector of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bongsu import progress
from bongsu.corpus.cleaning import Cleaner, without_links
from bongsu.errors import DataError, RecipeError
from bongsu.evaluation.robustness import Verdicts, flips
from bongsu.files import read_json, write_json
from bongsu.finetuning.augmentation import Augmentation, changed_words, in_turn, replaced_tokens, shown
from bongsu.finetuning.baselines import fit_tfidf
from bongsu.finetuning.data import Labelled, read_extra, read_pairs
from bongsu.finetuning.splits import Split, distinct, groups_of, hold_out, protocol_splits
from bongsu.finetuning.trainable import Classification, Encoded, figures, probabilities
from bongsu.inference.calibration import ensemble
from bongsu.inference.explain import Classify, as_shares, explain
from bongsu.inference.tfidf import Tfidf
from bongsu.model.heads import Classifier, CNNConfig
from bongsu.model.hub import is_hub_folder
from bongsu.model.initialization import initialize
from bongsu.model.io import load_encoder, load_masked_lm
from bongsu.recipe import Finetune, Recipe
from bongsu.tokens.bpe import load_tokenizer
from bongsu.tokens.inputs import as_read, encode, in_context
from bongsu.tokens.special import special_tokens
from bongsu.training.checkpoints import State
from bongsu.training.devices import resolve_device
from bongsu.training.loop import OnEvaluation, Plan, load_best, train

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
EXPLAINED = 20  # errors of a fold
STEADINESS_ROWS = 300  # of a fold, for the robustness of verdicts


def together(result: dict[str, Any]) -> Float64:
    """What a fold's detector says of the rows held out: its encoder, or its encoder and TF-IDF."""
    own = np.array(result["probabilities"])
    return ensemble(own, np.array(result["beside"])) if result.get("beside") else own


@dataclass
class Finetuning:
    """One recipe's fine-tuning: everything that its folds and seeds share."""

    recipe: Recipe
    settings: Finetune
    encoder_folder: Path
    folder: Path
    data: Labelled
    on_evaluation: OnEvaluation | None

    def __post_init__(self) -> None:
        settings, data = self.settings, self.data
        self.tokenizer = load_tokenizer(self.encoder_folder, foreign=is_hub_folder(self.encoder_folder))
        extra, extra_labels = read_extra(settings, data.classes)  # these rows come after the file's own
        self.cleaned = [*data.cleaned, *extra]
        self.texts = [*data.texts, *extra]
        self.labels = np.concatenate([data.labels, extra_labels])
        self.ids = encode(self.tokenizer, self.texts, settings.max_length)
        self.without: list[tuple[float, list[Int64]]] = []
        if settings.context_dropout:
            self.without.append((settings.context_dropout, encode(self.tokenizer, self.cleaned, settings.max_length)))
        if settings.link_dropout:
            unlinked = list(map(without_links, self.texts))
            self.without.append((settings.link_dropout, encode(self.tokenizer, unlinked, settings.max_length)))
        self.groups = groups_of(self.cleaned)
        self.replaced: list[list[Int64]] = []
        if settings.augmentation == "masked_lm":
            masked_lm = load_masked_lm(self.encoder_folder).to(resolve_device(settings.device))
            self.replaced = replaced_tokens(masked_lm, self.ids, self.recipe.seed)
        elif settings.augmentation == "pairs":
            fronts = [*data.contexts, *([] for _ in extra)]
            for texts, front in zip(read_pairs(settings, self.cleaned), fronts, strict=True):
                self.replaced.append(encode(self.tokenizer, [in_context(text, front) for text in texts], settings.max_length))

    def splits(self) -> list[Split]:
        """The rows of each fold."""
        return protocol_splits(self.settings, self.data, self.groups[: len(self.data.labels)], self.recipe.seed)

    def rows(self, split: Split, number: int) -> tuple[Int64, Int64]:
        """Of a fold: the rows trained on, extra ones among them, and the development split, which may be empty."""
        rows, held = split
        if not self.settings.development:
            return np.concatenate([rows, self.extra(held)]), rows[:0]
        kept, chosen = hold_out(self.data.labels[rows], self.groups[rows], self.settings.development, self.recipe.seed + number)
        development = rows[chosen]
        return np.concatenate([rows[kept], self.extra(np.concatenate([held, development]))]), development

    def member(self, fold: int, seed: int) -> Path:
        """The folder of a fold trained from a seed."""
        return self.folder / (f"fold-{fold}-seed-{seed}" if seed else f"fold-{fold}")

    def measure(self, split: Split, number: int, seed: int, count: int) -> dict[str, Any]:
        """Trains on a fold's rows and measures on the others; what is done is not done again."""
        folder = self.member(number, seed)
        if (folder / "result.json").is_file():
            return dict(read_json(folder / "result.json"))
        held = split[1]
        training, development = self.rows(split, number)
        title = f"fold {number + 1}/{count}" if self.settings.folds else "finetune"
        title += f", seed {seed + 1}/{self.settings.seeds}" if self.settings.seeds > 1 else ""
        task = self.task(training, self.take(development), number + 1000 * seed)
        state = train(task, self.plan(task, title), self.settings, folder / "checkpoints", self.on_evaluation)
        load_best(folder / "checkpoints", task.model, state)
        beside = self.beside(training)
        result = self.outcome(task, state, held, development, beside)
        measured = result["figures"]
        progress.note(f"{title}: accuracy {measured['accuracy']:.3f}, F1 {measured['f1']:.3f} on {len(held):,} rows held out")
        examine = self.settings.examine and not self.settings.distill
        result |= self.examined(task.detector, beside, held, result, number, examine)
        write_json(folder / "result.json", result)
        return result

    def outcome(
        self, task: Classification, state: State, held: Int64, development: Int64, beside: Tfidf | None
    ) -> dict[str, Any]:
        """What came of a training: on the rows held out, on the development split, and after how many epochs.

        `probabilities` are the encoder's own, `beside` those of TF-IDF if it decides too; all else is of both together.
        """
        parts = held, development
        own = [probabilities(task.detector, [self.ids[row] for row in rows]) for rows in parts]
        other = [beside.probabilities([self.texts[row] for row in rows]) for rows in parts] if beside else []
        both = [ensemble(*tables) for tables in zip(own, other, strict=True)] if beside else own
        return {
            "figures": figures(self.data.labels[held], both[0]),
            "probabilities": own[0].tolist(),
            "beside": other[0].tolist() if beside else None,
            "development": {"labels": self.data.labels[development].tolist(), "probabilities": both[1].tolist()},
            "epochs": (state.best_step or state.step) * self.settings.accumulate / task.batches_per_epoch,
            "state": dataclasses.asdict(state),
        }

    def examined(
        self, detector: Classifier, beside: Tfidf | None, held: Int64, result: dict[str, Any], number: int, examine: bool
    ) -> dict[str, dict[str, Any]]:
        """What drove a fold's worst errors, and how steady its verdicts are: `explained` and `robustness`, or neither."""
        if not examine:
            return {"explained": {}, "robustness": {}}

        def classify(ids: Sequence[Int64], texts: Sequence[str]) -> Float64:
            own = probabilities(detector, ids)
            return ensemble(own, beside.probabilities(texts)) if beside else own

        predicted = together(result)
        return {
            "explained": self.explained(classify, held, predicted),
            "robustness": self.robustness(classify, held, number),
        }

    def explained(self, classify: Classify, held: Int64, predicted: Float64) -> dict[str, list[dict[str, object]]]:
        """What drove the errors a fold's detector was surest of, by row."""
        best = predicted.argmax(axis=1)
        wrong = np.flatnonzero(best != self.data.labels[held])
        surest = wrong[np.argsort(-predicted[wrong, best[wrong]], kind="stable")][:EXPLAINED]
        length = self.settings.max_length
        return {
            str(held[row]): as_shares(explain(classify, self.tokenizer, self.texts[held[row]], length, int(best[row])))
            for row in surest
        }

    def robustness(self, classify: Classify, held: Int64, number: int) -> dict[str, dict[str, int]]:
        """How many verdicts on rows held out change with changes that do not matter; see `flips`."""
        return flips([self.data.raw[row] for row in held[:STEADINESS_ROWS]], self.verdicts(classify), number)

    def verdicts(self, classify: Classify) -> Verdicts:
        """What a fold's detector says of texts as they are sent, without context."""
        cleaner = Cleaner(self.settings.cleaning)

        def decide(texts: Sequence[str]) -> Int64:
            read = [as_read(cleaner, text) for text in texts]
            best: Int64 = classify(encode(self.tokenizer, read, self.settings.max_length), read).argmax(axis=1).astype(np.int64)
            return best

        return decide

    def refit(self, results: list[dict[str, Any]], seed: int = 0) -> Classifier:
        """A classifier trained on every row, for as long as the folds took to be best."""
        epochs = float(np.mean([result["epochs"] for result in results]))
        task = self.task(np.arange(len(self.ids)), Encoded([], np.zeros(0, dtype=np.int64)), 1000 * seed)
        steps = max(1, round(epochs * task.batches_per_epoch / self.settings.accumulate))
        plan = dataclasses.replace(self.plan(task, "final"), stop_after=steps, patience=None, evaluate_every=10**9)
        train(task, plan, self.settings, self.folder / (f"final-seed-{seed}" if seed else "final") / "checkpoints")
        return task.detector

    def best(self, folder: Path, result: dict[str, Any]) -> Classifier:
        """The classifier a fold was measured with."""
        task = self.task(np.arange(len(self.ids)), Encoded([], np.zeros(0, dtype=np.int64)), 0)
        load_best(folder / "checkpoints", task.model, State.from_dict(result["state"]))
        return task.detector

    def extra(self, measured: Int64) -> Int64:
        """Rows of the extra sources that are no near-twins of the rows measured on."""
        rows = np.arange(len(self.data.labels), len(self.labels))
        return rows[~np.isin(self.groups[rows], self.groups[measured])]

    def task(self, rows: Int64, development: Encoded, seed: int) -> Classification:
        """Training on `rows`, copies left out."""
        rows, labels = distinct(self.cleaned, self.labels, rows)
        if len(rows) == 0:
            raise DataError("No row is left to train on: every text occurs with as many labels of one kind as of another.")
        seed = self.recipe.seed + seed
        return Classification(
            classifier=self.start(seed),
            training=Encoded([self.ids[row] for row in rows], labels),
            development=development,
            settings=self.settings,
            seed=seed,
            augmentation=self.augmentation(rows, seed),
        )

    def beside(self, rows: Int64) -> Tfidf | None:
        """What decides beside an encoder trained on these rows, if anything does."""
        if not self.settings.tfidf:
            return None
        rows, labels = distinct(self.cleaned, self.labels, rows)
        return fit_tfidf([self.texts[row] for row in rows], labels, len(self.data.classes))

    def take(self, rows: Int64) -> Encoded:
        return Encoded([self.ids[row] for row in rows], self.data.labels[rows])

    def augmentation(self, rows: Int64, seed: int) -> Augmentation:
        """How the texts of `rows` are shown in training."""
        settings = self.settings
        forms = [(share, in_turn([[texts[row]] for row in rows], [])) for share, texts in self.without]
        if settings.augmentation in ("aeda", "eda"):
            texts = [self.texts[row] for row in rows]
            changed = changed_words(
                settings.augmentation, texts, lambda text: encode(self.tokenizer, [text], settings.max_length)[0], seed
            )
            forms.append((settings.augmented, changed))
        elif settings.augmentation != "none":
            forms.append((settings.augmented, in_turn([self.replaced[row] for row in rows], [self.ids[row] for row in rows])))
        mask = special_tokens(self.tokenizer).mask
        return shown([self.ids[row] for row in rows], seed, forms, settings.token_dropout, mask)

    def plan(self, task: Classification, title: str, epochs: int | None = None) -> Plan:
        settings = self.settings
        return Plan(
            steps=(epochs or settings.epochs) * task.batches_per_epoch // settings.accumulate or 1,
            evaluate_every=max(1, task.batches_per_epoch // settings.accumulate),
            monitor=settings.metric,
            higher_is_better=settings.metric != "loss",
            patience=settings.patience,
            seed=task.seed,
            title=title,
        )

    def start(self, seed: int) -> Classifier:
        """The pre-trained encoder under a fresh head, with layers removed and frozen as the recipe says."""
        settings = self.settings
        encoder = load_encoder(self.encoder_folder)
        if settings.max_length > encoder.config.max_length:  # what the recipe cannot know of an encoder in a folder of its own
            longest = encoder.config.max_length
            raise RecipeError(f"finetune.max_length: {settings.max_length} is more than the encoder's {longest} positions")
        classifier = Classifier(encoder, CNNConfig.from_recipe(settings, len(self.data.classes)))
        initialize(classifier.head, seed)
        if settings.encoder_dropout is not None:
            classifier.encoder.set_dropout(settings.encoder_dropout)
        if settings.remove_last:
            classifier.remove_last(settings.remove_last)
        if settings.freeze:
            classifier.freeze(settings.unfreeze_last)
        return classifier.to(resolve_device(settings.device))
