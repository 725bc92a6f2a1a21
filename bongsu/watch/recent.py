"""The distinct messages of the latest bins, near-duplicates joined, and how many of them no alert explains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import TypeAlias

from bongsu.watch.alerts import Alert
from bongsu.watch.duplicates import Window
from bongsu.watch.messages import Deletion, Message, unique
from bongsu.watch.tracking import FindPlaces, Settings, Tracked, by_place, track

SavedMessage: TypeAlias = tuple[str, float, int, tuple[str, ...], tuple[str, ...], str | None]
"""A `Tracked` message as it is saved: uid, probability, bin, keys counted, keys free, id of its alert."""


@dataclass(frozen=True)
class RecentState:
    """What `Recent` goes on from, without the texts."""

    messages: list[SavedMessage]
    free: dict[str, list[tuple[int, int]]]
    """For each key (bin, count)."""
    voices: list[tuple[int, int]]


class Recent:
    """Messages in the order they were counted.

    An author counts once for each key in all the bins: six posts of one account are one voice. Who has no name is a new
    author each time.
    """

    def __init__(self, counted: int, settings: Settings, places_in: FindPlaces) -> None:
        """Args: counted: bins whose messages count for `free`, and in which a near-duplicate or an author is recognised."""
        self.free: dict[str, Counter[int]] = {}
        """For each key, by bin, how many messages no open alert explains."""
        self._counted, self._settings, self._places_in = counted, settings, places_in
        self._window = Window(settings.max_recent)
        self._messages: dict[str, Tracked] = {}
        self._voices: dict[int, int] = {}
        """Hash of an author and a key: the bin in which they were counted."""

    def __len__(self) -> int:
        return len(self._messages)

    def __contains__(self, uid: str) -> bool:
        return uid in self._messages

    def __iter__(self) -> Iterator[Tracked]:
        return iter(self._messages.values())

    def add(self, message: Message, probability: float, bin: int) -> Tracked:
        """Return the message as it is remembered from now on; of a near-duplicate the one it was joined to."""
        first = self._window.join(message.uid, message.text)
        if first != message.uid:
            return self._messages[first]
        tracked = track(message, probability, bin, self._places_in)
        tracked.counted = tuple(key for key in tracked.keys if self._is_new(message, key, bin))
        self._messages[tracked.uid] = tracked
        self._set_free(tracked, tracked.counted)
        return tracked

    def _is_new(self, message: Message, key: str, bin: int) -> bool:
        if not message.author:
            return True
        digest = blake2b(f"{message.source}\n{message.author}\n{key}".encode(), digest_size=8).digest()
        voice = int.from_bytes(digest, "little") >> 1
        if voice in self._voices:
            return False
        self._voices[voice] = bin
        return True

    def assign(self, tracked: Tracked, alert: Alert) -> None:
        """Count a message for one alert only. By hazard alone, its places may still be another event's."""
        if tracked.alert is not alert:
            if tracked.alert is not None:
                tracked.alert.give_up(tracked)
            tracked.alert = alert
            alert.add(tracked)
        self._set_free(tracked, () if by_place(tracked, alert) else tuple(key for key in tracked.counted if "/" in key))

    def explain(self, key: str, since: int) -> None:
        """Count none of a key's messages since a bin any more, those forgotten included."""
        bins = self.free[key]
        bins.update({at: -count for at, count in bins.items() if at >= since})

    def forget_before(self, bin: int) -> None:
        """Count only what is young enough at this bin, and remember no more than is of use."""
        oldest = bin - self._counted
        for key, bins in list(self.free.items()):
            while bins and (first := next(iter(bins))) <= oldest:
                del bins[first]
            if not bins:
                del self.free[key]
        self._bound_keys(self._settings.max_keys)
        while self._messages and next(iter(self._messages.values())).bin <= oldest:
            self._forget_first()
        while self._voices and next(iter(self._voices.values())) <= oldest:
            del self._voices[next(iter(self._voices))]
        self.bound()

    def bound(self) -> None:
        """Remember no more than the settings allow."""
        while len(self._messages) > self._settings.max_recent:
            self._forget_first()
        while len(self._voices) > self._settings.max_voices:
            del self._voices[next(iter(self._voices))]
        self._bound_keys(2 * self._settings.max_keys)

    def _bound_keys(self, most: int) -> None:
        """Of more keys than `most` forget the rarest."""
        if len(self.free) > most:
            ranked = sorted(self.free, key=lambda key: (-self.free[key].total(), key))
            self.free = {key: self.free[key] for key in ranked[: self._settings.max_keys // 2]}

    def _forget_first(self) -> None:
        uid = next(iter(self._messages))
        self._window.forget(uid)
        del self._messages[uid]

    def delete(self, deletion: Deletion) -> None:
        """Forget what a message says, or all of an author's say; they were still counted."""
        one = self._messages.get(unique(deletion.source, deletion.id))
        for tracked in list(self) if deletion.author else [one] if one else []:
            if deletion.concerns(tracked.message):
                self._window.forget(tracked.uid)
                tracked.message = Message(tracked.message.id, "", tracked.message.time, source=tracked.message.source)

    def _set_free(self, tracked: Tracked, keys: tuple[str, ...]) -> None:
        for key in tracked.free:
            bins = self.free.get(key)
            if bins and bins[tracked.bin] > 0:  # not when it is too old to be counted
                bins[tracked.bin] -= 1
        for key in keys:
            bins = self.free.setdefault(key, Counter())
            late = bins and tracked.bin not in bins and tracked.bin < next(reversed(bins))
            bins[tracked.bin] += 1
            if late:
                self.free[key] = Counter(dict(sorted(bins.items())))
        tracked.free = keys

    def state(self) -> RecentState:
        """Return everything but the texts."""
        messages: list[SavedMessage] = [
            (one.uid, one.probability, one.bin, one.counted, one.free, one.alert.id if one.alert else None) for one in self
        ]
        free = {key: list(bins.items()) for key, bins in self.free.items()}
        return RecentState(messages, free, list(self._voices.items()))

    def restore(self, state: RecentState, alerts: dict[str, Alert], find: Callable[[str], Message | None]) -> None:
        """Go on from what `state` returned.

        Args:
            find: the message of a uid; None for one that was deleted.
        """
        for uid, probability, bin, counted, free, alert in state.messages:
            message = find(uid)
            source, _, identity = uid.partition("\n")
            said = message or Message(identity, "", 0.0, source=source)
            tracked = track(said, probability, bin, self._places_in)
            tracked.alert, tracked.counted, tracked.free = alerts.get(alert or ""), counted, free
            self._messages[tracked.uid] = tracked
            if message is not None:
                self._window.join(tracked.uid, message.text)
        self.free = {key: Counter(dict(bins)) for key, bins in state.free.items()}
        self._voices = dict(state.voices)
