"""The detector: how it is trained, measured and used."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bongsu.recipe.corpus import Cleaning, Source
from bongsu.recipe.pretraining import Optimization
from bongsu.recipe.section import Fraction, Positive, Probability, Schedule, Section

HUB = "hf:"  # before the folder of an encoder of `transformers`


class LabelledSource(Section):
    """Labelled texts of another file, to train on and never to measure on."""

    path: str
    text: str = "text"
    label: str = "target"
    labels: dict[str, str] = {}
    """What its labels are called in the training file; other rows are left out. By default they are called the same."""
    all: str | None = None
    """The label of every text, for a file without labels; then `label` and `labels` are not read."""
    where: dict[str, str] = {}
    limit: Positive | None = None
    """At most this many texts, drawn evenly from the whole source."""


class Intermediate(Section):
    """Training on other labels before those of the task (Phang et al. 2018; Pruksachatkun et al. 2020): where a message comes
    from, or what another file calls it, says much of what it is. The head is as [finetune] says, and thrown away."""

    sources: list[LabelledSource] = Field(min_length=1)
    """Two labels and more among all of them. Near-twins of [finetune]'s own files are left out."""
    epochs: Annotated[float, Field(gt=0)] = 1.0
    batch_size: Positive = 32
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    encoder_learning_rate: Annotated[float, Field(gt=0)] = 3e-4


class Distill(Section):
    """One small model in place of many (Hinton et al. 2015): a student of what the classifiers of all seeds, and TF-IDF, say
    together of texts without labels. In each fold teachers and student see the rows of that fold alone."""

    sources: list[Source] = Field(min_length=1)
    """Texts without labels. Near-twins of the task's texts are left out."""
    texts: Positive = 12000
    """How many of them are learned from: those most like the task's own (Moore and Lewis 2010)."""
    tfidf: bool = True
    """Whether TF-IDF with logistic regression is among the teachers."""
    epochs: Positive = 3


class Finetune(Optimization):
    """A classifier on the encoder: the sentence CNN of Kim (2014)."""

    train: str
    """A CSV, TSV, JSON Lines or Parquet file with labels."""
    test: str | None = None
    """Rows kept apart and measured once, at the end."""
    text: str = "text"
    label: str = "target"
    id: str = "id"
    context: list[str] = []
    """Columns put before the text, such as keyword and location."""
    where: dict[str, str] = {}
    test_where: dict[str, str] = {}
    positive: str | None = None
    """Two classes: which label counts as positive; by default the last in sorted order."""
    names: dict[str, str] = {}
    """Names to show for the labels, such as {"0" = "other", "1" = "disaster"}."""
    corrections: str | None = None
    """The file `bongsu audit` wrote, with its column `correction` filled in: another label, or "drop"."""
    extra: list[LabelledSource] = []
    """More to train on; near-twins of the rows measured on are left out."""
    cleaning: Cleaning = Cleaning(min_characters=1)
    encoder: str | None = None
    """A model folder to start from; by default the one this recipe pre-trains. "hf:PATH" is a folder of `transformers`, with
    safetensors and a tokenizer.json: BERT, MiniLM, XLM-R, ModernBERT and their kin (`pip install 'bongsu[hub]'`)."""

    kernel_sizes: list[Positive] = Field(default=[2, 3, 4], min_length=1)
    filters: Positive = 100
    pooling: list[Literal["mean", "attention"]] = []
    """What the classifier reads beside the sentence CNN: the mean of the vectors, or their sum weighted by a learned query."""
    layers: Positive = 1
    """Read a learned mixture of the encoder's last n layers (Peters et al. 2018)."""
    head_dropout: Probability = 0.5
    dropout_samples: Positive = 1
    """Draw the head's dropout this many times for each text (multi-sample dropout, Inoue 2019)."""
    encoder_dropout: Probability | None = None
    """Dropout inside the encoder while it is fine-tuned; by default what it was pre-trained with."""
    max_norm: Annotated[float, Field(gt=0)] | None = 3.0
    freeze: bool = False
    """Train the head alone."""
    unfreeze_last: Annotated[int, Field(ge=0)] = 0
    """With freeze: train the last n layers of the encoder all the same."""
    remove_last: Annotated[int, Field(ge=0)] = 0
    """Take the last n layers of the encoder away."""
    max_length: Positive = 128
    """Tokens of a text that are read."""

    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    encoder_learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Each layer learns this much slower than the one above it (discriminative rates, Howard and Ruder 2018)."""
    unfreeze_epochs: Annotated[float, Field(ge=0)] = 0.0
    """The head begins alone; layers join it from the top, one by one, over this many epochs (Howard and Ruder 2018)."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    schedule: Schedule = "linear"
    warmup: Fraction = 0.1
    class_weights: Literal["none", "balanced"] = "none"
    label_smoothing: Probability = 0.0
    token_dropout: Probability = 0.0
    """Share of tokens that are [MASK] in training."""
    context_dropout: Probability = 0.0
    """Share of texts shown without their context columns in training, so that the detector works without them."""
    link_dropout: Probability = 0.0
    """Share of texts shown without their links in training: whether a message has one says more of its sender than of it."""
    augmentation: Literal["none", "aeda", "eda", "masked_lm", "pairs"] = "none"
    """Changed copies of training texts: signs put in (Karimi et al. 2021), words swapped and left out (Wei and Zou 2019),
    tokens replaced by what the pre-trained encoder expects there, or paraphrases from the file `pairs`."""
    pairs: str | None = None
    """A file with columns `text` and `paraphrase`: texts of the training file as they stand there, and what says the same, such
    as a translation, or one there and back (Sennrich et al. 2016). A text may have many, or none."""
    augmented: Fraction = 0.5
    """Share of texts that are shown changed, with `augmentation`."""
    mixup: Annotated[float, Field(ge=0)] = 0.0
    """Mix the pooled vectors and labels of two texts by a share from Beta(mixup, mixup) (Verma et al. 2019)."""
    r_drop: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the divergence between two passes with other dropout (R-Drop, Liang et al. 2021); doubles the cost."""
    ema: Probability = 0.0
    """Keep an exponential average of the weights, such as 0.99, instead of the last ones."""
    batch_size: Positive = 32
    epochs: Positive = 6
    folds: Annotated[int, Field(ge=0)] = 5
    """k folds; 0 for a single hold-out."""
    holdout: Annotated[float, Field(gt=0.0, lt=0.9)] = 0.2
    """Without folds: the share of rows measured on."""
    leave_out: str | None = None
    """A column, such as the event or the keyword: each fold leaves out whole values of it, never seen in training."""
    seeds: Positive = 1
    """Each fold is trained this many times, from other seeds; figures of one model are means over folds and seeds."""
    development: Annotated[float, Field(ge=0.0, lt=0.5)] = 0.1
    """Share of the training rows that early stopping looks at (never the rows measured on); 0 trains on all rows to the end."""
    metric: Literal["accuracy", "f1", "roc_auc", "loss"] = "accuracy"
    patience: Positive | None = 3
    """Stop after this many epochs without a better `metric`."""
    examine: bool = True
    """Explain the errors a fold was surest of, and measure how steady its verdicts are; the trials of a search do not."""
    tfidf: bool = False
    """Decide together with TF-IDF and logistic regression of the same rows: what is measured, kept, exported and served is the
    product of both classifiers' probabilities."""
    distill: Distill | None = None
    """Keep a student of all seeds and of TF-IDF, and measure it; by default the classifier of one seed."""
    refit: bool = True
    """After measuring, train the detector on all rows; otherwise keep the first fold's."""

    @model_validator(mode="after")
    def _protocol(self) -> Finetune:
        if self.folds == 1:
            raise ValueError("folds: 1 fold leaves nothing to train on; give 0 for a hold-out or 2 and more")
        if not self.development and (self.patience is not None or not self.folds):
            raise ValueError('development: without it there is no early stopping (patience = "none"), and folds are needed')
        if self.leave_out and not self.folds:
            raise ValueError("leave_out: needs folds, of which each leaves out some of the column's values")
        if self.distill and not self.refit:
            raise ValueError("refit: with distill the student that is kept learns from teachers of all rows; set refit = true")
        if self.unfreeze_last and not self.freeze:
            raise ValueError("unfreeze_last: has a meaning only with freeze = true")
        if (self.augmentation == "pairs") != (self.pairs is not None):
            raise ValueError('pairs: augmentation = "pairs" and a file of pairs go together')
        if self.encoder and self.encoder.startswith(HUB) and self.augmentation == "masked_lm":
            raise ValueError('augmentation: "masked_lm" needs an encoder that Bongsu pre-trained; give "aeda", "eda" or "none"')
        return self


class Evaluate(Section):
    """What the report shows."""

    miss_cost: Annotated[float, Field(gt=0.0)] = 1.0
    """Two classes: what a missed positive costs, a false alarm costing 1."""
    threshold: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """Two classes: the probability from which on a text is positive; by default the one of least cost, 1 / (1 + miss_cost)."""
    worst: Annotated[int, Field(ge=0)] = 20
    """How many of the worst errors to show."""

    @property
    def resolved_threshold(self) -> float:
        return self.threshold or 1.0 / (1.0 + self.miss_cost)


class Predict(Section):
    """Classify a file at the end of the run."""

    input: str
    sample: str | None = None
    """Kaggle's sample submission, to check the ids against."""
    format: Literal["jsonl", "csv", "kaggle"] = "jsonl"
