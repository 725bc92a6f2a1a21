"""[task]: what the model learns to answer. One class a kind; the key `kind` chooses it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from bongsu.recipe.corpus import Cleaning, TextFormat
from bongsu.recipe.section import Positive, Probability, Section


class CNN(Section):
    """The sentence CNN (Kim 2014), the head of kinds that answer once for a whole text."""

    kernel_sizes: list[Positive] = Field(default=[2, 3, 4], min_length=1)
    """Widths of the convolutions, in tokens."""
    filters: Positive = 100
    """Convolutions of each width."""
    dropout: Probability = 0.5
    """Dropout before the last layer, as a probability."""
    max_norm: Annotated[float, Field(gt=0)] | None = 3.0
    """Largest L2 norm of a class's weights, enforced after each step (Kim 2014, 3.1); "none" for no bound."""


class Labelled(TextFormat):
    """The keys that every kind of task has. How files are written is said of `train` and `test`."""

    presentation: ClassVar[frozenset[str]] = frozenset()
    """Keys that change how answers are shown and nothing that is trained."""
    training: ClassVar[frozenset[str]] = frozenset({"head", "max_length", "class_weights"})
    """Keys that change what is trained but not which rows there are."""

    kind: str
    """The kind of task, which decides what other keys there are."""
    train: str
    """The file with the labels to learn from."""
    test: str | None = None
    """Rows kept apart and measured once, at the end."""
    id: str = "id"
    """The column with a row's id; without one, a row is called by its number in the file, from 0 (blank and bad ones count)."""
    where: dict[str, str] = {}
    """Read only the rows of `train` whose columns have these values."""
    test_where: dict[str, str] = {}
    """The same of `test`."""
    cleaning: Cleaning = Cleaning(min_characters=1)
    """Rules applied to each text, in training and in prediction."""
    max_length: Positive = 128
    """Tokens of a text that are read."""


class Texts(Labelled):
    """The keys of kinds that read one text a row."""

    text: str = "text"
    """The column with the text."""
    context: list[str] = []
    """Columns put before the text, such as keyword and location."""


class Classification(Texts):
    """One of two or more classes for each text."""

    presentation: ClassVar[frozenset[str]] = frozenset({"names"})

    kind: Literal["classification"] = "classification"
    label: str = "target"
    """The column with the class."""
    positive: str | None = None
    """Two classes: the label that counts as positive; by default the last in sorted order."""
    names: dict[str, str] = {}
    """Names to show for the labels, such as {"0" = "other", "1" = "disaster"}."""
    corrections: str | None = None
    """The file `bongsu audit` wrote, with its column `correction` filled in: another label, or "drop"."""
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced`: weigh each class's loss by the inverse of its frequency."""
    head: CNN = CNN()
    """The layers on the encoder."""


class Multilabel(Texts):
    """Any number of labels for each text."""

    presentation: ClassVar[frozenset[str]] = frozenset({"names"})

    kind: Literal["multilabel"] = "multilabel"
    labels: str = "labels"
    """The column with a row's labels: separated, or a JSON list; an empty cell means none."""
    separator: str = Field(default=",", min_length=1)
    """What separates the labels in a cell."""
    label_columns: list[str] = []
    """In place of `labels`: one column a label, which holds 1, true or yes where the label applies."""
    min_rows: Positive = 10
    """Labels that fewer training rows have are left out, with a note."""
    names: dict[str, str] = {}
    """Names to show for the labels."""
    head: CNN = CNN()
    """The layers on the encoder."""


class Regression(Texts):
    """A number for each text."""

    kind: Literal["regression"] = "regression"
    label: str = "score"
    """The column with the number."""
    head: CNN = CNN(max_norm=None)
    """The layers on the encoder; the weights have no bound here."""


class Pair(Labelled):
    """A class or a number for two texts: entailment, paraphrase, similarity."""

    presentation: ClassVar[frozenset[str]] = frozenset({"names"})
    training: ClassVar[frozenset[str]] = frozenset({"dropout", "max_length", "class_weights"})

    kind: Literal["pair"] = "pair"
    first: str = "sentence1"
    """The column with the first text."""
    second: str = "sentence2"
    """The column with the second text."""
    label: str = "label"
    """The column with the class or number."""
    target: Literal["class", "number"] = "class"
    """What `label` holds."""
    symmetric: bool = False
    """Answer the same whichever text comes first: train on both orders, and average over both in prediction."""
    positive: str | None = None
    """Two classes: the label that counts as positive; by default the last in sorted order."""
    names: dict[str, str] = {}
    """Names to show for the labels."""
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced`: weigh each class's loss by the inverse of its frequency."""
    corrections: str | None = None
    """Classes: a CSV of id and correction, as for a classification; "drop" leaves the row out."""
    dropout: Probability = 0.1
    """Dropout before the last layer, as a probability."""


class Tagging(Labelled):
    """Named entities and other spans in a text, each with a type.

    Files: CoNLL (`.conll`, `.txt`, `.tsv`, `.bio`: a token and its BIO tag a line, an empty line between texts), or JSON Lines
    with character spans.
    """

    training: ClassVar[frozenset[str]] = frozenset({"dropout", "max_length"})

    kind: Literal["tagging"] = "tagging"
    text: str = "text"
    """JSON Lines: the key with the text."""
    spans: str = "spans"
    """JSON Lines: the key with the spans, each [start, end, type] or {"start", "end", "label"}, in characters."""
    unit: Literal["auto", "word", "character"] = "auto"
    """What a tag is given to. `auto`: characters where spans end inside words, as Korean names do before particles."""
    dropout: Probability = 0.1
    """Dropout before the token layer."""


class Answering(Labelled):
    """The answer to a question as a span of a text, or that there is none. Files: SQuAD JSON (1.1, 2.0, KorQuAD)."""

    training: ClassVar[frozenset[str]] = frozenset({"dropout", "max_length", "stride", "max_answer"})

    kind: Literal["answering"] = "answering"
    max_length: Positive = 384
    """Tokens of question and text that are read at a time; a longer text is read in windows."""
    stride: Positive = 128
    """Tokens that two windows of a text share."""
    max_answer: Positive = 30
    """The most tokens an answer may have."""
    dropout: Probability = 0.1
    """Dropout before the span layer."""


def _kind(values: Any) -> str:
    """Return the kind of a [task] section, which is classification unless it says otherwise."""
    return str(values.get("kind", "classification") if isinstance(values, dict) else values.kind)


Task = Annotated[
    Annotated[Classification, Tag("classification")]
    | Annotated[Multilabel, Tag("multilabel")]
    | Annotated[Regression, Tag("regression")]
    | Annotated[Pair, Tag("pair")]
    | Annotated[Tagging, Tag("tagging")]
    | Annotated[Answering, Tag("answering")],
    Discriminator(_kind),
]
