"""What a run is made of: typed sections, read from TOML, overridden with `section.key=value`, checked before any work.

Paths in a recipe are relative to the current folder. `bongsu:NAME` is a file that ships with the package.
Every key has a default that suits a laptop; `recipes/` holds runs one would start from.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bongsu.errors import RecipeError

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Probability = Annotated[float, Field(ge=0.0, lt=1.0)]
Positive = Annotated[int, Field(ge=1)]
Schedule = Literal["constant", "linear", "cosine", "cosine_restarts", "exponential", "wsd"]
Activation = Literal["relu", "gelu", "swish", "geglu", "swiglu"]
GATED: tuple[Activation, ...] = ("geglu", "swiglu")

SPECIAL_TOKENS = 5  # [PAD] [UNK] [MASK], and [LINK] [USER]
BYTES = 256  # the alphabet every byte-level vocabulary holds


class Section(BaseModel):
    """A part of a recipe. Unknown keys are refused, so that a typing error never passes for a setting."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, coerce_numbers_to_str=True)

    @model_validator(mode="before")
    @classmethod
    def _none(cls, values: Any) -> Any:
        """TOML has no null: the word "none" stands for it, for the keys that may be None."""
        if not isinstance(values, dict):
            return values
        optional = {name for name, field in cls.model_fields.items() if type(None) in get_args(field.annotation)}
        return {key: None if key in optional and value == "none" else value for key, value in values.items()}


SectionT = TypeVar("SectionT", bound=Section)


class Source(Section):
    """Where text comes from. `path` is a file, a glob, a folder, an fsspec URL, or `bongsu:NAME`."""

    path: str
    format: Literal["auto", "text", "csv", "tsv", "jsonl", "parquet", "pile", "aihub", "kaggle", "python"] = "auto"
    text: str = "text"
    """Column or key that holds the text (csv, tsv, jsonl, parquet)."""
    where: dict[str, str] = {}
    """Keep only rows whose columns have these values (csv, tsv, jsonl, parquet)."""
    subsets: list[str] = []
    """The Pile: keep only documents of these `pile_set_name`s; empty keeps all."""
    languages: Literal["ko", "en", "both"] = "both"
    """AI Hub: which side of each pair to read."""
    sentences: bool | None = None
    """Split documents into sentences. By default only The Pile's documents and Python's documentation are split."""
    encoding: str = "utf-8"
    limit: Positive | None = None
    """Read at most this many documents."""
    max_bad: Annotated[int, Field(ge=0)] = 1000
    """Stop with an error after this many unreadable lines, rows or files."""


class Cleaning(Section):
    """Rules applied to each text, in this order; each is a switch."""

    mojibake: bool = True
    entities: bool = True
    normalize: Literal["none", "nfc", "nfkc"] = "nfc"
    control: bool = True
    """Remove control and invisible characters."""
    links: Literal["keep", "token", "remove"] = "token"
    mentions: Literal["keep", "token", "remove"] = "token"
    whitespace: bool = True
    min_characters: Annotated[int, Field(ge=1)] = 2
    max_characters: Positive = 2000
    languages: list[Literal["ko", "en"]] = []
    """Keep only texts written mostly in the scripts of these languages; empty keeps all."""


class Corpus(Section):
    """The text an encoder is pre-trained on."""

    sources: list[Source] = Field(min_length=1)
    cleaning: Cleaning = Cleaning()
    duplicates: Literal["keep", "exact", "near"] = "exact"
    """`near` adds MinHash over character shingles: about 0.15 ms a text, and memory that grows by about 6 kB a text kept."""
    near_threshold: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.8
    validation: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.02
    """Share of texts held out, chosen by a hash of the text."""
    validation_sources: list[Source] = []
    """Hold out these texts instead, so that runs on different text are measured on the same; none of them is trained on."""

    @model_validator(mode="after")
    def _nothing_on_both_sides(self) -> Corpus:
        if self.validation_sources and self.duplicates == "keep":
            raise ValueError("duplicates: with validation_sources, give exact or near, which keep their texts out of training")
        return self


class Tokenizer(Section):
    """Byte-level BPE (Sennrich et al. 2016; Radford et al. 2019)."""

    vocab_size: Annotated[int, Field(ge=BYTES + SPECIAL_TOKENS, le=500_000)] = 8000
    normalize: Literal["nfc", "nfkc", "jamo"] = "nfc"
    """`jamo` takes Hangul syllables apart (NFD)."""
    lowercase: bool = False
    min_frequency: Positive = 2
    sample_mb: Annotated[float, Field(gt=0)] = 200.0
    """Train on at most this many megabytes, taken evenly from the whole corpus."""


class Model(Section):
    """The encoder. `classic` is the study's, `modern` is ModernBERT's layer."""

    preset: Literal["classic", "modern"] = "modern"
    d_model: Positive = 256
    n_layers: Positive = 4
    n_heads: Positive = 4
    d_ff: Positive | None = None
    """Width of the feed-forward layer; by default 4 x d_model, or two thirds of that when gated (Shazeer 2020)."""
    activation: Activation | None = None
    """By default relu (classic) or geglu (modern)."""
    dropout: Probability = 0.0
    max_length: Positive = 512
    """The most positions a sequence may have."""

    @property
    def resolved_activation(self) -> Activation:
        return self.activation or ("relu" if self.preset == "classic" else "geglu")

    @property
    def resolved_d_ff(self) -> int:
        if self.d_ff is not None:
            return self.d_ff
        if self.resolved_activation in GATED:
            return -(-8 * self.d_model // 3 // 32) * 32
        return 4 * self.d_model

    @model_validator(mode="after")
    def _sizes_fit(self) -> Model:
        if self.d_model % self.n_heads:
            near = [n for n in range(1, self.d_model + 1) if self.d_model % n == 0]
            best = min(near, key=lambda n: abs(n - self.n_heads))
            raise ValueError(f"n_heads: {self.n_heads} does not divide d_model {self.d_model}; the nearest that does is {best}")
        if self.preset == "modern" and (self.d_model // self.n_heads) % 2:
            raise ValueError(
                f"n_heads: rotary positions need an even head size, d_model / n_heads is {self.d_model // self.n_heads}"
            )
        if self.preset == "classic" and self.d_model % 2:
            raise ValueError(f"d_model: sinusoidal positions need an even size, not {self.d_model}")
        return self


class Optimization(Section):
    """What the training loop needs to know, whatever it trains."""

    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    betas: tuple[Probability, Probability] = (0.9, 0.98)
    epsilon: Annotated[float, Field(gt=0)] = 1e-6
    schedule: Schedule = "wsd"
    warmup: Fraction = 0.05
    """Share of the steps in which the learning rate rises from 0."""
    decay: Fraction = 0.3
    """`wsd`: share of the steps, at the end, in which the learning rate falls to `final`."""
    final: Fraction = 0.0
    """The last learning rate, as a share of `learning_rate` (exponential: at least 1e-4)."""
    cycles: Positive = 3
    """`cosine_restarts`: how many times the learning rate starts anew."""
    clip: Annotated[float, Field(gt=0)] | None = 1.0
    """Largest norm of the gradient."""
    accumulate: Positive = 1
    """Batches whose gradients are added up before a step."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: str = "auto"
    log_every: Positive = 20
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 5.0
    keep: Positive = 2
    """How many of the latest checkpoints to keep beside the best."""
    spike: Annotated[float, Field(gt=1.0)] | None = None
    """A step whose loss is more than this many times the mean of the last ones is left out, as one whose loss is no number."""
    max_skipped: Positive = 10
    """After this many steps left out in a row, training has diverged."""
    on_divergence: Literal["stop", "rollback"] = "stop"
    """`rollback` goes back to the last checkpoint with half the learning rate, three times at most."""


class Pretrain(Optimization):
    """Masked-language modelling (Devlin et al. 2019; masks drawn anew every epoch as in Liu et al. 2019)."""

    batch_sentences: Positive | None = None
    batch_tokens: Positive | None = None
    """One of the two; by default 128 sentences."""
    row_length: Annotated[int, Field(ge=8)] = 128
    """Sentences are packed into rows of this many tokens; longer sentences are cut."""
    epochs: Annotated[float, Field(gt=0)] | None = None
    steps: Positive | None = None
    """One of the two; by default 3 epochs."""
    mask_rate: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.15
    masking: Literal["dynamic", "static"] = "dynamic"
    whole_words: bool = False
    evaluations: Positive = 10
    """How many times to measure on the validation split."""
    validation_sentences: Positive = 4000
    spike: Annotated[float, Field(gt=1.0)] | None = 2.0

    @model_validator(mode="after")
    def _one_of_each(self) -> Pretrain:
        if self.batch_sentences and self.batch_tokens:
            raise ValueError("batch_tokens: give batch_sentences or batch_tokens, not both")
        if self.epochs and self.steps:
            raise ValueError("steps: give epochs or steps, not both")
        return self


class Adapt(Pretrain):
    """Going on with pre-training on the task's own texts: those of [finetune]'s files and of [predict]'s, without labels."""

    sources: list[Source] = []
    """More texts like them."""
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    warmup: Fraction = 0.1


class LabelledSource(Section):
    """Labelled texts of another file, to train on and never to measure on."""

    path: str
    text: str = "text"
    label: str = "target"
    labels: dict[str, str] = {}
    """What its labels are called in the training file; other rows are left out. By default they are called the same."""
    where: dict[str, str] = {}


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
    """A model folder to start from; by default the one this recipe pre-trains."""

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
    augmentation: Literal["none", "aeda", "eda", "masked_lm"] = "none"
    """Changed copies of training texts: signs put in (Karimi et al. 2021), words swapped and left out (Wei and Zou 2019), or
    tokens replaced by what the pre-trained encoder expects there."""
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
    development: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.1
    """Share of the training rows that early stopping looks at (never the rows measured on)."""
    metric: Literal["accuracy", "f1", "roc_auc", "loss"] = "accuracy"
    patience: Positive | None = 3
    """Stop after this many epochs without a better `metric`."""
    refit: bool = True
    """After measuring, train the detector on all rows; otherwise keep the first fold's."""

    @model_validator(mode="after")
    def _protocol(self) -> Finetune:
        if self.folds == 1:
            raise ValueError("folds: 1 fold leaves nothing to train on; give 0 for a hold-out or 2 and more")
        if self.leave_out and not self.folds:
            raise ValueError("leave_out: needs folds, of which each leaves out some of the column's values")
        if self.unfreeze_last and not self.freeze:
            raise ValueError("unfreeze_last: has a meaning only with freeze = true")
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


class Recipe(Section):
    """A whole run. Sections that are left out are stages that are not run."""

    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    corpus: Corpus | None = None
    tokenizer: Tokenizer = Tokenizer()
    model: Model = Model()
    pretrain: Pretrain | None = None
    adapt: Adapt | None = None
    finetune: Finetune | None = None
    evaluate: Evaluate = Evaluate()
    predict: Predict | None = None

    @model_validator(mode="after")
    def _whole(self) -> Recipe:
        if self.pretrain and not self.corpus:
            raise ValueError("corpus.sources: pre-training needs text; name at least one source")
        if self.pretrain and self.pretrain.row_length > self.model.max_length:
            raise ValueError(
                f"pretrain.row_length: rows of {self.pretrain.row_length} tokens need model.max_length of at least as many "
                f"(it is {self.model.max_length})"
            )
        if self.finetune:
            if not self.finetune.encoder and not self.pretrain:
                raise ValueError("finetune.encoder: name a model folder, or add a [pretrain] section")
            if not self.finetune.encoder and self.finetune.max_length > self.model.max_length:
                raise ValueError(
                    f"finetune.max_length: {self.finetune.max_length} tokens are longer than model.max_length "
                    f"{self.model.max_length}"
                )
            if not self.finetune.encoder and self.finetune.remove_last >= self.model.n_layers:
                raise ValueError(f"finetune.remove_last: would leave no layer of {self.model.n_layers}")
            if not self.finetune.encoder and self.finetune.unfreeze_last > self.model.n_layers - self.finetune.remove_last:
                raise ValueError(
                    f"finetune.unfreeze_last: the encoder has {self.model.n_layers - self.finetune.remove_last} layers"
                )
        if self.adapt and not self.finetune:
            raise ValueError("adapt.sources: adapting needs a [finetune] section, whose texts it learns from")
        if self.adapt and self.pretrain and self.adapt.row_length > self.model.max_length:
            raise ValueError(f"adapt.row_length: rows of {self.adapt.row_length} tokens need model.max_length of as many")
        if self.predict and not self.finetune:
            raise ValueError("predict.input: predicting needs a [finetune] section")
        return self


def load_recipe(path: Path, overrides: list[str] | None = None) -> Recipe:
    """Reads a recipe and applies `section.key=value` overrides (values are TOML, or plain text; `none` leaves a key empty).

    Raises:
        RecipeError: naming the key's path and the nearest valid name.
    """
    tree = read_tree(path)
    override(tree, overrides or [])
    return parse_recipe(tree, str(path))


def read_tree(path: Path) -> dict[str, Any]:
    """Reads a TOML file as it stands.

    Raises:
        RecipeError: when the file cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe.") from None
    except (IsADirectoryError, UnicodeDecodeError):
        raise RecipeError(f"{path}: not a recipe (a TOML text file is needed).") from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not valid TOML: {error}") from None


def override(tree: dict[str, Any], changes: list[str]) -> None:
    """Applies `section.key=value` to a tree of plain values; see `load_recipe`.

    Raises:
        RecipeError: when a change is not written so, or a part of its key is no section.
    """
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or not key.strip():
            raise RecipeError(f"--set {change}: write it as section.key=value")
        put(tree, key.strip(), _value(text), f"--set {change}")


def parse_recipe(tree: dict[str, Any], where: str = "recipe") -> Recipe:
    """Checks a tree of plain values; see `load_recipe`."""
    return parse_section(Recipe, tree, where)


def parse_section(kind: type[SectionT], tree: dict[str, Any], where: str) -> SectionT:
    """Checks a tree of plain values against a section.

    Raises:
        RecipeError: beginning with `where`, with a line for each key that is wrong.
    """
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        lines = [_explain(item, kind) for item in error.errors()]
        raise RecipeError(f"{where}:\n" + "\n".join(f"  {line}" for line in lines)) from None


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as TOML with every setting written out; reading it back gives an equal recipe."""
    return tomli_w.dumps(_without_null(recipe.model_dump()))


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_null(item) for item in value]
    return "none" if value is None else value


def put(tree: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Sets `section.key`, or the n-th of a list as `corpus.sources.0.path`, in a tree of plain values.

    Raises:
        RecipeError: beginning with `where`, when a part of the key is no section.
    """
    *sections, last = key.split(".")
    node: Any = tree
    for section in sections:
        if isinstance(node, list) and section.isdigit() and int(section) < len(node):
            node = node[int(section)]
        elif isinstance(node, dict):
            node = node.setdefault(section, {})
        else:
            raise RecipeError(f"{where}: {section!r} is not a section")
    if isinstance(node, list) and last.isdigit() and int(last) < len(node):
        node[int(last)] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise RecipeError(f"{where}: {sections[-1]!r} is not a section")


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _explain(item: Any, kind: type[Section]) -> str:
    path = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        names = _keys_at(kind, item["loc"][:-1])
        near = difflib.get_close_matches(str(item["loc"][-1]), names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"the keys here are {', '.join(sorted(names))}"
        return f"{path}: no such key; {hint}"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":
        return f"{path}.{message}" if path else message
    if item["type"] == "missing":
        return f"{path}: this key must be given"
    if item["type"] == "literal_error":
        expected = item["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        near = difflib.get_close_matches(str(item["input"]), expected, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{path}: {item['input']!r} is not one of {', '.join(expected)}{hint}"
    return f"{path}: {message[0].lower()}{message[1:]} (given: {item['input']!r})"


def _keys_at(kind: type[Section], location: tuple[Any, ...]) -> list[str]:
    """The valid keys of the section at a location such as ("corpus", "sources", 0)."""
    section: type[BaseModel] = kind
    for part in location:
        if isinstance(part, int) or part not in section.model_fields:
            continue
        section = next(
            (kind for kind in _models_in(section.model_fields[part].annotation)),
            section,
        )
    return list(section.model_fields)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
