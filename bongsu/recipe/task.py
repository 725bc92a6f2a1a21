"""[task]: what the model learns to answer. One class a kind; the key `kind` chooses it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from bongsu.recipe.corpus import Cleaning
from bongsu.recipe.section import Positive, Probability, Section


class CNN(Section):
    """The sentence CNN (Kim 2014), the head of kinds that answer once for a whole text."""

    kernel_sizes: list[Positive] = Field(default=[2, 3, 4], min_length=1)
    """Widths of the convolutions, in tokens."""
    filters: Positive = 100
    """Convolutions of each width."""
    dropout: Probability = 0.5
    max_norm: Annotated[float, Field(gt=0)] | None = 3.0
    """Largest L2 norm of a class's weights, enforced after each step (Kim 2014, 3.1); "none" for no bound."""


class Labelled(Section):
    """The keys that every kind of task has."""

    presentation: ClassVar[frozenset[str]] = frozenset()
    """Keys that change how answers are shown and nothing that is trained."""
    training: ClassVar[frozenset[str]] = frozenset({"head", "max_length", "class_weights"})
    """Keys that change what is trained but not which rows there are."""

    kind: str
    train: str
    """The file with the labels to learn from."""
    test: str | None = None
    """Rows kept apart and measured once, at the end."""
    id: str = "id"
    """The column with a row's id; without one, rows are called by their number in the file, counted from 0."""
    where: dict[str, str] = {}
    """Read only the rows of `train` whose columns have these values."""
    test_where: dict[str, str] = {}
    """The same of `test`."""
    cleaning: Cleaning = Cleaning(min_characters=1)
    """Rules applied to each text, in training and in prediction."""
    max_length: Positive = 128
    """Tokens of a text that are read."""


class Classification(Labelled):
    """One of two or more classes for each text."""

    presentation: ClassVar[frozenset[str]] = frozenset({"names"})

    kind: Literal["classification"] = "classification"
    text: str = "text"
    """The column with the text."""
    label: str = "target"
    """The column with the class."""
    context: list[str] = []
    """Columns put before the text, such as keyword and location."""
    positive: str | None = None
    """Two classes: the label that counts as positive; by default the last in sorted order."""
    names: dict[str, str] = {}
    """Names to show for the labels, such as {"0" = "other", "1" = "disaster"}."""
    corrections: str | None = None
    """The file `bongsu audit` wrote, with its column `correction` filled in: another label, or "drop"."""
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced`: weigh each class's loss by the inverse of its frequency."""
    head: CNN = CNN()


def _kind(values: Any) -> str:
    """The kind of a [task] section, which is classification unless it says otherwise."""
    return str(values.get("kind", "classification") if isinstance(values, dict) else values.kind)


Task = Annotated[Annotated[Classification, Tag("classification")], Discriminator(_kind)]
