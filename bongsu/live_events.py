"""The events of a live stream: what a watch publishes, and the server relays to its page.

Each is a JSON object whose `type` says what it is. Times are ISO 8601 in UTC.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, TypedDict

State = Literal["opened", "updated", "closed"]


class EvidenceBody(TypedDict):
    """A message shown with an alert, and how many near-duplicates it had."""

    id: str
    text: str
    time: str | None
    author: str
    probability: float
    source: str
    copies: int
    url: str


class RecordBody(TypedDict):
    """An official record that confirms an alert."""

    id: str
    text: str
    time: str | None
    step: str


class Burst(TypedDict):
    """Why an alert was raised: so many messages in the window, against as many as were to be expected."""

    observed: int
    expected: float
    window_seconds: float
    p_value: float


class AlertEvent(TypedDict):
    """An alert, whenever something about it has changed."""

    type: Literal["alert"]
    state: State
    id: str
    title: str
    hazard: str
    hazards: list[str]
    places: list[str]
    raised: str
    first_message: str | None
    latest_message: str | None
    closed: str | None
    changed: str | None
    acknowledged: str | None
    messages: int
    authors: int
    copies: int
    burst: Burst
    evidence: list[EvidenceBody]
    references: list[RecordBody]
    silenced: bool
    """Somebody wished not to hear of it: it is kept and published, and sent to nobody."""


class Progress(TypedDict):
    """What changes between two events of an open alert."""

    id: str
    latest_message: str | None
    messages: int
    authors: int
    copies: int


class MessageEvent(TypedDict):
    """A message that passed the detector's threshold."""

    type: Literal["message"]
    id: str
    source: str
    author: str
    text: str
    time: str | None
    url: str
    probability: float
    threshold: float


class DeletionEvent(TypedDict):
    """A message, or with an `author` all of an author's, taken back."""

    type: Literal["deletion"]
    id: str
    author: str
    source: str


class StatusEvent(TypedDict):
    """How a watch is going, about once a second. What it counts: `Statistics` of `bongsu.watch.stream`."""

    type: Literal["status"]
    time: str | None
    rate: float
    lag: float | None
    share: float
    """Of the messages received, those that passed."""
    received: int
    passed: int
    dropped: int
    misdated: int
    late: int
    overflow: int
    failed: int
    garbage: int
    failures: int
    silenced: int
    undelivered: int
    queue: int
    alerts: int
    running: list[Progress]


class VerdictBody(TypedDict):
    """Whether what was learned from labels is used, and why."""

    taken: bool
    why: str
    judged: int
    difference: float


class VersionEvent(TypedDict):
    """What was learned from labels."""

    type: Literal["version"]
    number: int
    bundle: str
    name: str
    made: float
    """Seconds since 1970."""
    labels: int
    verdict: VerdictBody
    reason: str


class EndedEvent(TypedDict):
    """The watch is over."""

    type: Literal["ended"]
    time: str | None
    reason: Literal["finished", "stopped", "failed"]


class SnapshotEvent(TypedDict):
    """The first event of a listener who comes later: what it must know."""

    type: Literal["snapshot"]
    status: StatusEvent | None
    alerts: list[AlertEvent]
    messages: list[MessageEvent]
    ended: EndedEvent | None


Event: TypeAlias = AlertEvent | MessageEvent | DeletionEvent | StatusEvent | VersionEvent | EndedEvent


def takes_back(deletion: DeletionEvent, message: MessageEvent | EvidenceBody) -> bool:
    """Return whether a deletion takes back a message: the one of its id, or all of its author's, of its source."""
    if message["source"] != deletion["source"]:
        return False
    return message["author"] == deletion["author"] if deletion["author"] else message["id"] == deletion["id"]
