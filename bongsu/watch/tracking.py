"""The settings of events, and what is remembered of a message while its event may still be found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bongsu.watch.alerts import Alert
from bongsu.watch.hazards import MAX_HAZARDS, OTHER, hazards_in
from bongsu.watch.messages import Message

ANY = "any"
"""Stands for all hazards in the key of a place: messages of one event may name different ones, or none."""
FindPlaces = Callable[[str], tuple[str, ...]]
"""Finds the names of places in a text, in lower case."""


@dataclass(frozen=True)
class Settings:
    """What an event is. The sizes bound the memory."""

    bin_seconds: float = 60.0
    lateness: float = 30.0
    """How many seconds a message may come after a younger one and still be counted."""
    half_life_hours: float = 24.0
    """After which a count weighs half in the baseline."""
    warm_up_minutes: float = 30.0
    """So much of the stream must lie before a window that is tested: else there is nothing yet to expect."""
    false_alarms_a_day: float = 1.0
    """How many alerts a day chance alone may raise, as far as counts follow the model."""
    min_messages: int = 5
    min_ratio: float = 3.0
    reference_hours: float = 6.0
    """How long an official record may confirm an alert."""
    max_waiting: int = 100_000
    max_keys: int = 50_000
    max_recent: int = 20_000
    max_voices: int = 200_000
    """Pairs of an author and a key that are remembered."""
    max_open: int = 5
    """Open alerts of a hazard. What looks like one more is taken for another place of the latest of them."""


@dataclass
class Tracked:
    """A distinct message of the latest bins."""

    uid: str
    bin: int
    message: Message
    probability: float
    hazards: tuple[str, ...]
    places: tuple[str, ...]
    keys: tuple[str, ...]
    counted: tuple[str, ...] = ()
    """The keys for which it counts: not those on which its author has spoken before."""
    free: tuple[str, ...] = ()
    """Of those, the keys for which no open alert explains it."""
    alert: Alert | None = None


def track(message: Message, probability: float, bin: int, places_in: FindPlaces) -> Tracked:
    """Read off a message what it speaks of."""
    message = message.brief()
    hazards, places = hazards_in(message.text)[:MAX_HAZARDS], places_in(message.text)
    keys = (*hazards, *(f"{hazard}/{place}" for place in places for hazard in (ANY, *hazards)))
    return Tracked(message.uid, bin, message, probability, hazards or (OTHER,), places, keys)


def by_place(tracked: Tracked, alert: Alert) -> bool:
    """Return whether the message names a place of the alert, together with its hazard."""
    return any("/" in key and key in alert.keys for key in tracked.keys)
