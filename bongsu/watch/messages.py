"""What flows through a watch: messages, deletions, and the official records events are held against."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

MAX_CHARACTERS = 10_000
"""A longer text is cut: no message is that long, and the detector reads less."""
GIST = 2_000
"""Characters of a message in which hazards, places and near-duplicates are looked for, and that an alert shows."""
_LONGEST_ID = 500
"""Characters of an id or an author's name; no service gives longer ones."""

_LONGEST_ADDRESS = 2000
_WEB_ADDRESS = re.compile(r"https?://[^\s/@\\\x00-\x1f\ud800-\udfff]+(?:[/?#][^\s\x00-\x1f\ud800-\udfff]*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Message:
    """One message somebody sent."""

    id: str
    text: str
    time: float
    """When it was sent: seconds since 1970, UTC."""
    author: str = ""
    source: str = ""
    url: str = ""
    """Where people can read it on the web; empty where that is not known."""

    @property
    def uid(self) -> str:
        """What names it among the messages of all sources: ids are each source's own."""
        return unique(self.source, self.id)

    def brief(self) -> Message:
        """Return it with no more text than is looked at: thousands of messages are remembered."""
        return self if len(self.text) <= GIST else replace(self, text=self.text[:GIST])


class Sent(Protocol):
    """A message, or what is kept of it."""

    @property
    def id(self) -> str: ...
    @property
    def author(self) -> str: ...
    @property
    def source(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Deletion:
    """A message, or all messages of an author, taken back by its author or the service."""

    id: str = ""
    author: str = ""
    source: str = ""

    def concerns(self, message: Sent) -> bool:
        """Return whether it takes back this message."""
        mine = message.author == self.author if self.author else message.id == self.id
        return mine and message.source == self.source


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
    kind: Literal["issued", "lifted", "void"] = "issued"
    """What it does: confirms an event, says that it is over, or nothing (a drill, a false alarm)."""


Item: TypeAlias = Message | Deletion | Reference


Cursor: TypeAlias = Any
"""Where a source goes on: JSON that it alone understands."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a source hands over: an item, or nothing but a newer position."""

    item: Item | None
    cursor: Cursor = None
    """Where to go on after this item; None where a source cannot go back."""
    partition: str = ""
    """Within it messages come in about the order of their times; of two partitions one may be far behind."""
    patient: bool = True
    """Whether the source can be kept waiting when the queue is full; otherwise the item is dropped and counted."""


class Classifies(Protocol):
    """A detector, as `bongsu.watch.alarm.Alarm` is one."""

    @property
    def threshold(self) -> float:
        """The probability from which a message passes."""

    def probabilities(self, texts: list[str]) -> npt.NDArray[np.floating[Any]]:
        """[texts, 2] or [texts]: the probability that a message is one to pass, in the last column."""


def unique(source: str, identity: str) -> str:
    """Return what names a message among those of all sources."""
    return f"{source}\n{identity}"


def tidy(text: str) -> str:
    """Return the text as UTF-8 can hold it, without blanks at its ends, cut at `MAX_CHARACTERS`.

    Whatever comes from outside goes through here: JSON can spell half of a surrogate pair, which no file and no socket takes.
    """
    return text[:MAX_CHARACTERS].encode("utf-8", "replace").decode().strip()


def tidy_id(value: str) -> str:
    """Return an id or an author's name as UTF-8 can hold it; of one beyond measure a hash, which names it as well."""
    text = value.encode("utf-8", "replace").decode().strip()
    return text if len(text) <= _LONGEST_ID else hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def web_address(value: object) -> str:
    """Return an address that a browser can open (http or https, no blanks, no password); else an empty string."""
    return value if isinstance(value, str) and len(value) <= _LONGEST_ADDRESS and _WEB_ADDRESS.fullmatch(value) else ""


def made_id(author: str, text: str, time: float) -> str:
    """Return an id for a message that has none: the same message gets the same one."""
    return hashlib.blake2b(f"{author}\0{time!r}\0{text}".encode(), digest_size=12).hexdigest()
