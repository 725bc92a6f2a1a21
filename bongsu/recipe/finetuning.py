"""How a model for [task] is trained, measured and used."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bongsu.recipe.corpus import TextFormat
from bongsu.recipe.pretraining import Optimization
from bongsu.recipe.section import Fraction, Positive, Probability, Schedule, Section

HUB = "hf:"  # before the folder of an encoder of `transformers`


class Finetune(Optimization):
    """How the encoder and the head of [task] are trained."""

    encoder: str | None = None
    """A model folder to start from, or "bongsu:beacon", the encoder for English and Korean that ships with Bongsu; by default
    the encoder this recipe pre-trains. "hf:PATH" is a folder of `transformers`
    with safetensors and a tokenizer.json: BERT, MiniLM, XLM-R, ModernBERT and the like (`pip install 'bongsu[hub]'`)."""
    encoder_dropout: Probability | None = None
    """Dropout inside the encoder while it is fine-tuned; by default what it was pre-trained with."""
    freeze: bool = False
    """Train the head alone."""
    unfreeze_last: Annotated[int, Field(ge=0)] = 0
    """With freeze: train the encoder's last n layers all the same."""
    remove_last: Annotated[int, Field(ge=0)] = 0
    """Remove the encoder's last n layers."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Peak learning rate of the head."""
    encoder_learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    """Peak learning rate of the encoder's last layer."""
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Each layer's learning rate is this share of the one above it (discriminative rates, Howard and Ruder 2018)."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    schedule: Schedule = "linear"
    """The course of the learning rates; `final`, `decay` and `cycles` shape it."""
    warmup: Fraction = 0.1
    augmentation: Literal["none", "aeda"] = "none"
    """`aeda`: insert punctuation marks between words, anew each epoch (Karimi et al. 2021). For tasks of whole texts."""
    augmented: Fraction = 0.5
    """Share of training texts that `augmentation` changes."""
    ema: Probability = 0.0
    """Keep an exponential moving average of the weights with this decay, such as 0.99, instead of the last ones."""
    interpolation: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """After training, weigh the encoder's weights by this much and those it started from by the rest, such as 0.8: it keeps
    more of what it knew of other text (WiSE-FT, Wortsman et al. 2022)."""
    batch_size: Positive = 32
    """Rows in a batch."""
    epochs: Positive = 6
    """The most passes over the training rows."""
    patience: Positive | None = 3
    """Stop after this many epochs without a better `validation.metric`."""
    refit: bool = True
    """After measuring, train the model that is kept on all rows; otherwise keep the first fold's."""

    @model_validator(mode="after")
    def _frozen(self) -> Finetune:
        if self.unfreeze_last and not self.freeze:
            raise ValueError("unfreeze_last: has a meaning only with freeze = true")
        return self


class Validation(Section):
    """Which rows the model is measured on."""

    folds: Annotated[int, Field(ge=0)] = 5
    """k-fold cross-validation; 0 for a single hold-out. Near-duplicates of a text never straddle folds."""
    holdout: Annotated[float, Field(gt=0.0, lt=0.9)] = 0.2
    """Without folds: the share of rows measured on."""
    leave_out: str | None = None
    """A column, such as the event or the keyword: each fold leaves out whole values of it, never seen in training."""
    seeds: Positive = 1
    """Train each fold this many times, from different seeds; metrics of one model are means over folds and seeds."""
    development: Annotated[float, Field(ge=0.0, lt=0.5)] = 0.1
    """Share of the training rows that early stopping looks at (never the rows measured on); 0 trains on all rows to the end."""
    metric: str | None = None
    """The metric that early stopping watches; by default the main one of the task."""
    diagnose: bool = True
    """Explain the most confident errors of each fold and measure the robustness of its answers; trials of a search do not."""

    @model_validator(mode="after")
    def _protocol(self) -> Validation:
        if self.folds == 1:
            raise ValueError("folds: 1 fold leaves nothing to train on; give 0 for a hold-out, or 2 or more")
        if self.leave_out and not self.folds:
            raise ValueError("leave_out: needs folds, each of which leaves out some of the column's values")
        return self


class Ensemble(Section):
    """What decides with the fine-tuned encoder."""

    tfidf: bool = False
    """Average the logits with those of TF-IDF and logistic regression of the same rows: the ensemble is what is measured,
    kept, exported and served."""


class Evaluate(Section):
    """What the report shows."""

    miss_cost: Annotated[float, Field(gt=0.0)] = 1.0
    """Two classes: what a missed positive costs, a false alarm costing 1."""
    threshold: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """Two classes: the probability from which on a text is positive; by default the one of least cost, 1 / (1 + miss_cost)."""
    worst: Annotated[int, Field(ge=0)] = 20
    """How many of the worst errors to show."""
    lang: Literal["en", "ko"] = "en"
    """Language of the report: English or Korean."""

    @property
    def resolved_threshold(self) -> float:
        return self.threshold or 1.0 / (1.0 + self.miss_cost)


class Predict(TextFormat):
    """Classify a file at the end of the run."""

    input: str
    """The file with the texts to answer."""
    sample: str | None = None
    """Kaggle's sample submission, to check the ids against."""
    unlabelled: bool = False
    """Answer only the rows that have no label, such as those of a file in which training and test rows stand together."""
    format: Literal["jsonl", "csv", "kaggle"] = "jsonl"
    """How the answers are written: JSON Lines, CSV, or Kaggle's submission with the columns id and target."""
