"""What flows through a watch: messages, deletions, and the official records events are held against."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

MAX_CHARACTERS = 10_000
"""A longer text is cut: no message is that long, and the detector reads less."""
_EARLIEST = datetime(1990, 1, 1, tzinfo=UTC).timestamp()
_LATEST = datetime(2200, 1, 1, tzinfo=UTC).timestamp()
_NAMES = {
    "id": ("id", "id_str", "uri"),
    "text": ("text", "full_text", "content", "message"),
    "time": ("time", "created_at", "createdAt", "timestamp"),
    "author": ("author", "user", "did"),
}


@dataclass(frozen=True, slots=True)
class Message:
    """One message somebody sent."""

    id: str
    text: str
    time: float
    """When it was sent: seconds since 1970, UTC."""
    author: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Deletion:
    """A message, or all messages of an author, taken back by its author or the service."""

    id: str = ""
    author: str = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """An official record of an event, such as a 재난문자: shown with the alert that it confirms."""

    id: str
    text: str
    time: float
    hazards: tuple[str, ...]
    places: tuple[str, ...]
    step: str = ""
    """How grave the sender calls it, such as 긴급재난."""


Item: TypeAlias = Message | Deletion | Reference


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a source hands over: an item, or nothing but a newer position."""

    item: Item | None
    cursor: Any = None
    """Where to go on after this item: JSON the source understands; None where a source cannot go back."""
    patient: bool = True
    """Whether the source can be kept waiting when the queue is full; otherwise the item is dropped and counted."""


class Classifies(Protocol):
    """A detector of two classes, as `bongsu.inference.predictor.Predictor` is one."""

    @property
    def threshold(self) -> float:
        """The probability from which a message passes."""

    def probabilities(self, texts: list[str]) -> npt.NDArray[np.floating[Any]]:
        """[texts, 2] or [texts]: the probability of the positive class is the last column."""


def read_time(value: object) -> float | None:
    """Seconds since 1970 of an ISO 8601 text or of a number of seconds, milliseconds or microseconds; None for anything else.

    A time without a zone is UTC.
    """
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            try:
                value = float(value)
            except ValueError:
                return None
        else:
            value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    seconds = float(value)
    while seconds > _LATEST:
        seconds /= 1000
    return seconds if seconds >= _EARLIEST else None


def message_of(record: object, source: str, now: float | None) -> Message | None:
    """The message in a JSON record, whose keys may have any of the usual names; None when it holds none.

    Args:
        now: the time of a message that does not tell its own; None when such a message cannot be used.
    """
    if not isinstance(record, Mapping):
        return None
    found = {name: next((record[key] for key in keys if record.get(key) is not None), None) for name, keys in _NAMES.items()}
    text = found["text"]
    time = now if found["time"] is None else read_time(found["time"])
    if not isinstance(text, str) or time is None:
        return None
    text = tidy(text)
    if not text:
        return None
    author = str(found["author"] or "") if not isinstance(found["author"], Mapping) else str(found["author"].get("id", ""))
    identity = str(found["id"]) if isinstance(found["id"], str | int) else ""
    return Message(identity or made_id(author, text, time), text, time, author, source)


def tidy(text: str) -> str:
    """The text as UTF-8 can hold it, without blanks at its ends, not beyond measure."""
    return text[:MAX_CHARACTERS].encode("utf-8", "replace").decode().strip()


def made_id(author: str, text: str, time: float) -> str:
    """The name of a message that has none: the same message gets the same one."""
    return hashlib.blake2b(f"{author}\0{time!r}\0{text}".encode(), digest_size=12).hexdigest()
