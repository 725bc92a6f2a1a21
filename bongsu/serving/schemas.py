"""Requests and responses of the API. These classes are its documentation at /docs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from bongsu.tasks.answering import SpanAnswer
from bongsu.tasks.classification import Prediction
from bongsu.tasks.multilabel import LabelSet
from bongsu.tasks.regression import Number
from bongsu.tasks.tagging import Span

_MESSAGE = {"type": "string"}


def _text(value: Any) -> str:
    """JSON can spell half of a surrogate pair, on which pydantic's own check would fail the whole list."""
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "is not text")
    return value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class _FailFast(FailFast):
    """Hashable, as members of a union must be. Without it a body of a million wrong items makes as many error messages."""

    def __hash__(self) -> int:
        return hash(self.fail_fast)


Text = Annotated[str, PlainValidator(_text), WithJsonSchema(_MESSAGE)]
"""A text that may hold halves of surrogate pairs; the service refuses those one by one."""
OneOrMany = Annotated[
    list[Text],
    _FailFast(),
    BeforeValidator(_listed),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [_MESSAGE, {"type": "array", "items": _MESSAGE, "minItems": 1}]}),
]
Context = Annotated[list[Annotated[list[Text], _FailFast()]], _FailFast()]


class StrictRequest(BaseModel):
    """A body without fields that are not known."""

    model_config = ConfigDict(extra="forbid", strict=True)


class ClassifyRequest(StrictRequest):
    """One message or several."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"text": "Forest fire near La Ronge Sask."},
                {"text": ["규모 5.1 지진으로 건물 외벽이 무너졌습니다", "my inbox exploded over lunch"], "explain": True},
            ]
        }
    )

    text: OneOrMany = Field(description="A message, or a list of messages.")
    context: Context | None = Field(
        None,
        description="For each message the values of the columns the detector was trained with besides its text.",
    )
    explain: bool = Field(
        False, description="Give the weight of each word; takes about as many predictions as there are words."
    )


class Problem(BaseModel):
    """Why there is no result."""

    error: str = Field(examples=["text: message 3 is longer than 10,000 characters."])


class Word(BaseModel):
    """A word of the message and its weight."""

    word: str
    weight: float = Field(description="By how much `probability` falls when the word is hidden; below 0: the word lowers it.")


class Classification(BaseModel):
    """The prediction for one message."""

    label: str = Field(examples=["disaster"])
    value: str = Field(description="The label as it is written in the training data.", examples=["1"])
    probability: float = Field(
        ge=0, le=1, description="Of the positive label when there are two labels, else of `label`.", examples=[0.97]
    )
    probabilities: dict[str, float] = Field(description="Of every label.", examples=[{"other": 0.03, "disaster": 0.97}])
    explanation: list[Word] | None = Field(description="The words in order, when asked for.")


class ClassifyResponse(BaseModel):
    """The predictions, in the order of the messages; for a message that cannot be read, the error in its place."""

    model: str = Field(description="Version of the bundle that answered, the same for all results.", examples=["3f9a0c7be512"])
    threshold: float | None = Field(description="Two labels: the probability from which a message is positive.", examples=[0.5])
    results: list[Classification | Problem]


class PredictRequest(StrictRequest):
    """Texts for a model of any kind."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"inputs": ["Bridge out at Mill Road, send a boat"]},
                {"inputs": [["Who leads the relief?", "The relief is led by the mayor's office."]]},
            ]
        }
    )

    inputs: Annotated[list[Text | Annotated[list[Text], _FailFast()]], _FailFast()] = Field(
        min_length=1,
        description="Texts; for kinds that read two (pair, answering) lists of two: first and second, or question and text.",
    )
    context: Context | None = Field(
        None, description="For each input the values of the columns the model was trained with besides its text."
    )


class PredictResponse(BaseModel):
    """The answers, in the order of the inputs; for an input that cannot be read, the error in its place."""

    model: str = Field(description="Version of the bundle that answered.", examples=["3f9a0c7be512"])
    kind: str = Field(description="The kind of task, which says what a result is.", examples=["multilabel"])
    results: list[Prediction | LabelSet | Number | list[Span] | SpanAnswer | Problem]


class EmbedRequest(StrictRequest):
    """One text or several."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": ["flood in the valley", "홍수로 도로가 잠겼다"]}]})

    text: OneOrMany = Field(description="A text, or a list of texts.")


class EmbedResponse(BaseModel):
    """A vector of length 1 for each text, in order; the inner product of two is their cosine similarity.

    For a text that cannot be read, the error is in its place.
    """

    model: str = Field(description="Version of the bundle that answered.", examples=["3f9a0c7be512"])
    vectors: list[list[float] | Problem]


class FillMaskRequest(StrictRequest):
    """A text with one [MASK] or more."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "forest [MASK] near the town", "top_k": 3}]})

    text: Text = Field(description="A text in which each word to be guessed is written [MASK].")
    top_k: int = Field(5, ge=1, le=100, description="How many guesses for each mask.")


class Guess(BaseModel):
    """A token that may stand at a mask."""

    token: str = Field(examples=[" fire"])
    probability: float = Field(ge=0, le=1, examples=[0.41])


class FillMaskResponse(BaseModel):
    """For each mask, in order, its likeliest tokens."""

    model: str = Field(description="Version of the bundle that answered.", examples=["3f9a0c7be512"])
    masks: list[list[Guess]]


class ToLabel(BaseModel):
    """A message that waits for a label."""

    source: str
    id: str
    text: str
    time: float | None = Field(description="When it was sent, seconds since 1970.")


class LabelQueue(BaseModel):
    """What to label now."""

    model: str = Field(description="Version of the detector in use.", examples=["3f9a0c7be512+3"])
    classes: list[str] = Field(description="What 0 and 1 are called.", examples=[["other", "disaster"]])
    waiting: list[ToLabel]


class LabelAnswer(StrictRequest):
    """A label for a message of the queue."""

    source: str
    id: str
    label: Literal[0, 1] | None = Field(description="1 for the positive class, 0 for the other, null to skip the message.")
    by: str = Field("", max_length=64, description="Who says so; without a name the address of the client is kept.")


class Described(BaseModel):
    """Made from an object with these attributes."""

    model_config = ConfigDict(from_attributes=True)


class CountedShare(Described):
    """So many of so many, with the 95 % Wilson interval."""

    part: int
    whole: int
    value: float | None
    interval: list[float] | None


class VerdictInfo(Described):
    """Whether what was learned was taken into use by itself, and why."""

    taken: bool
    why: Literal["few", "worse_than_bundle", "worse_than_used", "not_worse"]
    judged: int = Field(description="Labels drawn at random that it was judged by.")
    difference: float = Field(description="Its mean log loss on them less that of the version in use, or of the bundle.")


class VersionInfo(Described):
    """What was learned at some moment."""

    number: int
    name: str
    made: float
    labels: int = Field(description="How many it learned from.")
    verdict: VerdictInfo


class SetbackInfo(Described):
    """By how much the version in use is worse than the bundle as it was exported."""

    labels: int = Field(description="Labels drawn at random on which both were measured.")
    difference: float = Field(description="Of the mean log loss.")


class Expected(Described):
    """The accuracy that confidence promises of the messages of the last hours, without any label."""

    accuracy: float
    band: list[float]
    error: float = Field(description="By how much such promises were wrong on events left out, on average.")
    measured: bool = Field(description="Whether that was measured on this bundle's own events.")
    messages: int


class LikenessInfo(Described):
    """How messages compare with what the detector was trained on."""

    strange: float = Field(description="Share farther from all training rows than 95 % of these are from each other.")
    nearest: str
    share: float


class ChangedFigure(Described):
    """How a figure of the latest hour differs from the first hours."""

    figure: str
    before: float
    now: float
    distance: float = Field(description="Between the two distribution functions (Kolmogorov and Smirnov), 0 to 1.")
    p_value: float = Field(description="Adjusted for all tests of the latest day.")
    large: bool = Field(description="Whether it is neither chance nor trifling.")


class TellingWord(Described):
    """A word that is said more often, or less often, than before."""

    word: str
    before: float = Field(description="The share of messages with it.")
    now: float


class WordsSaid(Described):
    """How the words differ; an explanation, never an alarm, for new events always have other words."""

    auc: float = Field(description="How well words alone tell the latest hour from the first ones, 0.5 to 1.")
    words: list[TellingWord] = Field(description="The most telling ones first.")


class DriftState(Described):
    """Whether the stream has changed."""

    alarm: bool = Field(description="Whether the detector's answers have changed by more than chance and enough to matter.")
    hour: float
    messages: int
    passing: list[float] = Field(description="The share of messages that pass: in the first hours, and now.")
    changes: list[ChangedFigure]
    said: WordsSaid | None = Field(description="Which words differ; only of an alarm.")
    advice: Literal["label", "adapt", "go back"] | None
    words: list[str] = Field(description="What has changed, and what to do, as sentences.")


class DriftAnswer(BaseModel):
    """What is known of changes in the stream."""

    drift: DriftState | None = Field(description="Null until there are hours enough to compare.")


class LabelStatus(Described):
    """How far to trust the detector now."""

    version: str
    labels: int
    skipped: int
    missing: int | None = Field(description="Labels until it learns by itself; null when the bundle cannot learn.")
    since: float | None = Field(description="When the first message drawn at random was labelled, seconds since 1970.")
    accuracy: CountedShare = Field(description="Of the messages drawn at random, each predicted before it was learned from.")
    precision: CountedShare
    recall: CountedShare
    sentence: str = Field(examples=["since 14:05 UTC: 41 of 46 right (0.77 to 0.95)"])
    steps: list[tuple[float, int, int]] = Field(description="After each such label: when, how many right, of how many.")
    setback: SetbackInfo | None = Field(description="Not null: go back to the bundle as it was exported.")
    versions: list[VersionInfo]
    used: int = Field(description="The number of the version in use; 0 is the bundle as it was exported.")
    expected: Expected | None
    likeness: LikenessInfo | None


class Labelled(BaseModel):
    """The answer as it was kept."""

    number: int
    by: str
    status: LabelStatus


class Undone(BaseModel):
    """The message whose answer was taken back; null when there was none."""

    source: str | None
    id: str | None
    status: LabelStatus


class Used(BaseModel):
    """The version that answers from now on."""

    model: str


class Swapped(BaseModel):
    """The bundle that serves from now on."""

    model: str = Field(examples=["3f9a0c7be512"])
    engine: str = Field(examples=["int8"])


class Health(BaseModel):
    """Whether the service is there."""

    status: str = Field(examples=["ok"])
