"""The distinct messages of the latest bins, near-duplicates joined, and how many of them no alert explains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from bongsu.watch.alerts import Alert
from bongsu.watch.duplicates import Window
from bongsu.watch.messages import Message
from bongsu.watch.tracking import Tracked, by_place, track


class Recent:
    """Messages in the order they were worked off."""

    def __init__(self, counted: int, limit: int, keys: int) -> None:
        """Args:
        counted: bins whose messages count for `free`, and in which a near-duplicate is recognised.
        limit: the most messages remembered; those forgotten for it still count.
        keys: the most keys counted; beyond them those with the fewest messages are left out.
        """
        self.free: dict[str, Counter[int]] = {}
        """For each key, by bin, how many messages no open alert explains."""
        self._counted, self._limit, self._keys = counted, limit, keys
        self._window = Window(limit)
        self._messages: dict[str, Tracked] = {}

    def __len__(self) -> int:
        return len(self._messages)

    def __contains__(self, identity: str) -> bool:
        return identity in self._messages

    def __iter__(self) -> Iterator[Tracked]:
        return iter(self._messages.values())

    def add(self, message: Message, probability: float, bin: int) -> Tracked:
        """The message as it is remembered from now on; of a near-duplicate the one it was joined to."""
        first = self._window.join(message.id, message.text)
        if first != message.id:
            return self._messages[first]
        tracked = track(message, probability, bin)
        self._messages[tracked.id] = tracked
        self._set_free(tracked, tracked.keys)
        return tracked

    def assign(self, tracked: Tracked, alert: Alert) -> None:
        """Counts a message for one alert only. By hazard alone, its places may still be another event's."""
        if tracked.alert is not alert:
            if tracked.alert is not None:
                tracked.alert.give_up(tracked.id)
            tracked.alert = alert
            alert.add(tracked.message, tracked.probability, tracked.bin, tracked.hazards, tracked.places)
        self._set_free(tracked, () if by_place(tracked, alert) else tuple(key for key in tracked.keys if "/" in key))

    def explain(self, key: str, since: int) -> None:
        """Counts none of a key's messages since a bin any more, those forgotten included."""
        bins = self.free[key]
        bins.update({at: -count for at, count in bins.items() if at >= since})

    def forget_before(self, bin: int) -> None:
        """Counts only what is young enough at this bin, and remembers no more than is of use."""
        for key, bins in list(self.free.items()):
            while bins and (oldest := next(iter(bins))) <= bin - self._counted:
                del bins[oldest]
            if not bins:
                del self.free[key]
        if len(self.free) > self._keys:
            ranked = sorted(self.free, key=lambda key: (-self.free[key].total(), key))
            self.free = {key: self.free[key] for key in ranked[: self._keys // 2]}
        while self._messages:
            first = next(iter(self._messages.values()))
            if first.bin > bin - self._counted and len(self._messages) <= self._limit:
                break
            self._window.forget(first.id)
            del self._messages[first.id]

    def delete(self, identity: str, author: str) -> None:
        """Forgets what a message says, or all of an author's say; they were still counted."""
        gone = [one for one in self if one.message.author == author] if author else []
        gone += [self._messages[identity]] if identity in self._messages else []
        for tracked in gone:
            self._window.forget(tracked.id)
            tracked.message = Message(tracked.id, "", tracked.message.time)

    def _set_free(self, tracked: Tracked, keys: tuple[str, ...]) -> None:
        for key in tracked.free:
            bins = self.free.get(key)
            if bins and bins[tracked.bin] > 0:  # not when it is too old to be counted
                bins[tracked.bin] -= 1
        for key in keys:
            self.free.setdefault(key, Counter())[tracked.bin] += 1
        tracked.free = keys

    def state(self) -> dict[str, Any]:
        """Everything, as JSON."""
        messages = [
            (asdict(one.message), one.probability, one.bin, one.free, one.alert.id if one.alert else None) for one in self
        ]
        return {"messages": messages, "free": {key: list(bins.items()) for key, bins in self.free.items()}}

    def restore(self, state: dict[str, Any], alerts: dict[str, Alert]) -> None:
        """Goes on from what `state` returned."""
        for message, probability, bin, free, alert in state["messages"]:
            tracked = track(Message(**message), probability, bin)
            tracked.alert, tracked.free = alerts.get(alert), tuple(free)
            self._messages[tracked.id] = tracked
            if tracked.message.text:
                self._window.join(tracked.id, tracked.message.text)
        self.free = {key: Counter(dict(map(tuple, bins))) for key, bins in state["free"].items()}
