"""An alert: one event, what is known of it, and the messages that say so."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from bongsu.watch.messages import Deletion, Reference, unique

if TYPE_CHECKING:
    from bongsu.watch.tracking import Tracked

EVIDENCE = 5
"""Messages shown with an alert."""
_NAMES = 200
"""Names counted for an alert."""
State = Literal["opened", "updated", "closed"]


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
    first: float = float("inf")
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
    references: list[dict[str, Any]] = field(default_factory=list)

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
        self.references.append(
            {"id": reference.id, "text": reference.text, "time": iso(reference.time), "step": reference.step}
        )

    def body(self, state: State) -> dict[str, Any]:
        """Return the alert as JSON, as it is reported."""
        return {
            "type": "alert",
            "state": state,
            "id": self.id,
            "title": f"{self.hazard}: {', '.join(self.places())}" if self.places() else self.hazard,
            "hazard": self.hazard,
            "hazards": [name for name, count in self.hazards.most_common(4) if count >= 0.1 * self.messages],
            "places": self.places(),
            "raised": iso(self.raised),
            "first_message": iso(self.first),
            "latest_message": iso(self.latest),
            "closed": None if self.closed is None else iso(self.closed),
            "changed": iso(self.changed),
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
            "evidence": [{**asdict(item), "time": iso(item.time)} for item in self.evidence],
            "references": self.references,
        }

    def progress(self) -> dict[str, Any]:
        """Return what changes between two reports of an open alert."""
        return {
            "id": self.id,
            "latest_message": iso(self.latest),
            "messages": self.messages,
            "authors": self.authors,
            "copies": self.copies,
        }

    def state(self) -> dict[str, Any]:
        """Return everything, as JSON."""
        return {**asdict(self), "names": dict(self.names), "hazards": dict(self.hazards)}

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> Alert:
        """Go on from what `state` returned."""
        return cls(
            **{
                **state,
                "first": float("inf") if state["first"] is None else state["first"],
                "counts": [(bin, count) for bin, count in state["counts"]],
                "names": Counter(state["names"]),
                "hazards": Counter(state["hazards"]),
                "evidence": [Evidence(**item) for item in state["evidence"]],
            }
        )


def iso(time: float) -> str | None:
    """Return a time for readers and machines: ISO 8601, UTC, milliseconds; None when there is none."""
    if time in (float("inf"), 0.0):
        return None
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
