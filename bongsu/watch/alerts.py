"""An alert: one event, what is known of it, and the messages that say so."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator

from bongsu.live_events import AlertEvent, EvidenceBody, Progress, State
from bongsu.watch.messages import Deletion, Reference, unique

if TYPE_CHECKING:
    from bongsu.watch.tracking import Tracked

EVIDENCE = 5
"""Messages shown with an alert."""
_NAMES = 200
"""Names counted for an alert."""


@dataclass
class Evidence:
    """A message of an alert, and how many near-duplicates it had."""

    id: str
    text: str
    time: float
    author: str
    probability: float
    source: str = ""
    copies: int = 0
    url: str = ""

    @property
    def uid(self) -> str:
        """See `Message`."""
        return unique(self.source, self.id)

    def body(self) -> EvidenceBody:
        """Return it as it is reported."""
        return {
            "id": self.id,
            "text": self.text,
            "time": iso_or_none(self.time),
            "author": self.author,
            "probability": self.probability,
            "source": self.source,
            "copies": self.copies,
            "url": self.url,
        }


@dataclass
class Confirmation:
    """An official record that confirms an alert."""

    id: str
    text: str
    time: str | None
    """ISO 8601, UTC."""
    step: str


@dataclass(frozen=True)
class Silence:
    """What is not to be reported: an alert's id, a hazard, a hazard/place, or any/place; until a time."""

    what: str
    until: float

    def covers(self, alert: AlertEvent, now: float) -> bool:
        """Return whether a change of an alert is not to be reported."""
        names = {f"{hazard}/{place}" for place in alert["places"] for hazard in (alert["hazard"], "any")}
        return now < self.until and self.what in {alert["id"], alert["hazard"], *names}


@dataclass
class Alert:
    """One event. Times are event times, seconds since 1970."""

    id: str
    hazard: str
    raised: float
    key: str
    """The hazard and place whose messages were too many."""
    p_value: float
    """How probable so many messages were, were nothing going on."""
    observed: int
    """Distinct messages in the window that gave the alarm..."""
    expected: float
    """...against as many as were to be expected..."""
    window: float
    """...in as many seconds."""
    keys: list[str] = field(default_factory=list)
    first: Annotated[float, BeforeValidator(lambda time: math.inf if time is None else time)] = math.inf
    """Infinite before the first message; null in JSON, which has no infinity."""
    latest: float = 0.0
    closed: float | None = None
    changed: float = 0.0
    """When it was last reported."""
    messages: int = 0
    copies: int = 0
    reported: int = 0
    """Messages it had when it was last reported."""
    authors: int = 0
    """Of the messages, those whose author had not spoken before of what they speak of."""
    acknowledged: float | None = None
    """When somebody said that it is in hand: from then on only its end is reported."""
    counts: list[tuple[int, int]] = field(default_factory=list)
    """Its messages in the latest bins: (bin, count)."""
    names: Counter[str] = field(default_factory=Counter)
    hazards: Counter[str] = field(default_factory=Counter)
    evidence: list[Evidence] = field(default_factory=list)
    references: list[Confirmation] = field(default_factory=list)

    def add(self, tracked: Tracked) -> None:
        """Take in a distinct message; the most probable are kept as evidence, of an author who repeats himself one."""
        message, bin = tracked.message, tracked.bin
        self.messages += 1
        self.first, self.latest = min(self.first, message.time), max(self.latest, message.time)
        if not tracked.counted:
            return
        self.authors += 1
        if self.counts and self.counts[-1][0] == bin:
            self.counts[-1] = (bin, self.counts[-1][1] + 1)
        else:
            self.counts.append((bin, 1))
        self.hazards.update(tracked.hazards)
        self.names.update(tracked.places)
        if len(self.names) > 2 * _NAMES:
            self.names = Counter(dict(self.names.most_common(_NAMES)))
        probability = round(tracked.probability, 4)
        self.evidence.append(
            Evidence(message.id, message.text, message.time, message.author, probability, message.source, url=message.url)
        )
        if len(self.evidence) > EVIDENCE:
            self.evidence.sort(key=lambda item: (-item.probability, item.time, item.id))
            self.evidence.pop()

    def copy(self, uid: str) -> None:
        """Count a near-duplicate of one of its messages."""
        self.copies += 1
        for item in self.evidence:
            item.copies += item.uid == uid

    def give_up(self, tracked: Tracked) -> None:
        """Leave a message to another alert."""
        self.messages -= 1
        self.authors -= bool(tracked.counted)
        self.evidence = [item for item in self.evidence if item.uid != tracked.uid]

    def may_be_at(self, place: str) -> bool:
        """Return whether it has no place yet, or one whose name holds this name or is held by it (Boston, Boston Marathon)."""
        mine = [key.partition("/")[2] for key in self.keys if "/" in key]
        return not mine or (place != "" and any(place in name or name in place for name in mine))

    def places(self) -> list[str]:
        """Return the names that at least one in ten of its messages has, most frequent first."""
        return [name for name, count in self.names.most_common(5) if count >= max(2, 0.1 * self.messages)]

    def forget(self, deletion: Deletion) -> bool:
        """Take what was taken back out of the evidence; return whether any was in it."""
        kept = [item for item in self.evidence if not deletion.concerns(item)]
        gone = len(self.evidence) - len(kept)
        self.evidence, self.messages = kept, self.messages - gone
        return gone > 0

    def confirm(self, reference: Reference) -> None:
        """Add an official record to the alert."""
        self.references.append(Confirmation(reference.id, reference.text, iso_or_none(reference.time), reference.step))

    def event(self, state: State) -> AlertEvent:
        """Return the alert as it is reported."""
        return {
            "type": "alert",
            "state": state,
            "id": self.id,
            "title": f"{self.hazard}: {', '.join(self.places())}" if self.places() else self.hazard,
            "hazard": self.hazard,
            "hazards": [name for name, count in self.hazards.most_common(4) if count >= 0.1 * self.messages],
            "places": self.places(),
            "raised": iso(self.raised),
            "first_message": iso_or_none(self.first),
            "latest_message": iso_or_none(self.latest),
            "closed": None if self.closed is None else iso(self.closed),
            "changed": iso_or_none(self.changed),
            "acknowledged": None if self.acknowledged is None else iso(self.acknowledged),
            "messages": self.messages,
            "authors": self.authors,
            "copies": self.copies,
            "burst": {
                "observed": self.observed,
                "expected": round(self.expected, 3),
                "window_seconds": self.window,
                "p_value": float(f"{self.p_value:.3g}"),
            },
            "evidence": [item.body() for item in self.evidence],
            "references": [{"id": one.id, "text": one.text, "time": one.time, "step": one.step} for one in self.references],
            "silenced": False,
        }

    def progress(self) -> Progress:
        """Return what changes between two reports of an open alert."""
        return {
            "id": self.id,
            "latest_message": iso_or_none(self.latest),
            "messages": self.messages,
            "authors": self.authors,
            "copies": self.copies,
        }


def iso(time: float) -> str:
    """Return a time as ISO 8601, UTC, milliseconds."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_or_none(time: float) -> str | None:
    """Return a time as `iso` writes it; None where there is none yet (0 or infinity)."""
    return None if time in (math.inf, 0.0) else iso(time)
