"""From messages that pass to events: bins of event time, near-duplicates joined, bursts found, alerts kept.

A message waits until its bin is over: until a message has come that is `lateness` younger than the bin's end. A bin is then
worked off in order of (time, id). So the outcome depends on the messages alone, not on the order they came in (as long as none
is later than `lateness`) nor on how fast.

Each distinct message counts for its hazards, for its places, and for each pair of them. When a bin is over, the counts of the
last 1, 5, 15, 60 and 240 bins that no open alert explains are held against the baseline, for the groups that a message of the
bin has joined: no other can have become a surprise. The most surprising one opens an alert, or joins the open alert with whose
messages it overlaps; the messages it explains are taken out and the rest is tested again. An alert closes when its own
messages are no more than is to be expected.

The level of each test is `false_alarms_a_day` divided by the number of tests a day, which is learned from the stream. So the
budget is shared among groups as messages are (rare ones are tested rarely), and the expected number of false alarms a day is
below it as far as counts follow the model in `baseline`, however the tests depend on each other. Counts must also be
`min_messages` and `min_ratio` times the expected, so that an alarm matters as well as being significant.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import asdict
from typing import Any

from bongsu.watch.alerts import Alert, State
from bongsu.watch.baseline import ALL, GUARD, Baseline
from bongsu.watch.hazards import OTHER
from bongsu.watch.messages import Message, Reference
from bongsu.watch.recent import Recent
from bongsu.watch.tracking import ANY, Settings, Tracked, by_place

WINDOWS = (1, 5, 15, 60, 240)
"""Bins whose messages are counted together: short ones for fast bursts, long ones for slow."""
_TESTS = ""
"""The key by which the baseline learns how many tests there are."""
_SHARED = 0.2
"""A key joins an alert that already holds this share of its messages."""
_CLOSED = 0.05
"""An alert stays open while so many messages of its own would be this improbable."""


class Events:
    """Turns messages that pass into alerts."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.open: dict[str, Alert] = {}
        self.late = 0
        """Messages that came too late to be counted."""
        self.overflow = 0
        """Messages not counted because too many waited."""
        self.joined: dict[str, str] = {}
        """Of the bins just worked off: near-duplicates and the message each was joined to."""
        self._baseline = Baseline(settings.half_life_hours * 3600 / settings.bin_seconds, max(WINDOWS), settings.max_keys)
        self._waiting: dict[str, tuple[Message, float]] = {}
        self._recent = Recent(max(WINDOWS), settings.max_recent, settings.max_keys)
        self._references: list[Reference] = []
        self._watermark = -math.inf
        self._next: int | None = None
        self._worked = False

    def add(self, message: Message, probability: float) -> None:
        """Takes in a message that passes; one that is known already changes nothing."""
        if message.id in self._waiting or message.id in self._recent:
            return
        if self._next is not None and self._bin(message.time) < self._next:
            self.late += 1
        elif len(self._waiting) >= self.settings.max_waiting:
            self.overflow += 1
        else:
            self._waiting[message.id] = (message, probability)

    def refer(self, reference: Reference) -> list[dict[str, Any]]:
        """Takes in an official record; returns the alerts it confirms."""
        self._references = [
            old for old in self._references if old.time > reference.time - self._reach() and old.id != reference.id
        ]
        self._references.append(reference)
        return [alert.body("updated") for alert in self.open.values() if self._confirm(alert, reference)]

    def delete(self, identity: str, author: str) -> list[dict[str, Any]]:
        """Forgets a message, or all of an author's; returns the open alerts whose evidence it was."""
        self._waiting.pop(identity, None)
        if author:
            self._waiting = {name: pair for name, pair in self._waiting.items() if pair[0].author != author}
        self._recent.delete(identity, author)
        return [alert.body("updated") for alert in self.open.values() if alert.forget(identity, author)]

    def advance(self, time: float) -> list[dict[str, Any]]:
        """Says that a message of this time has come (or that the clock shows it); works off the bins that are over.

        Returns:
            The alerts opened, updated and closed, in their order.
        """
        if time <= self._watermark:
            return []
        self._watermark = time
        if self._next is None:
            self._next = self._bin(time - self.settings.lateness)
        over = self._bin(time - self.settings.lateness)
        if over <= self._next:
            return []
        self.joined = {}
        told: list[dict[str, Any]] = []
        bins: dict[int, list[tuple[Message, float]]] = {}
        for message, probability in self._waiting.values():
            bin = self._bin(message.time)
            if bin < over:
                bins.setdefault(bin, []).append((message, probability))
        bin = self._next
        while bin < over:
            arrived = sorted(bins.pop(bin, []), key=lambda pair: (pair[0].time, pair[0].id))
            for message, _ in arrived:
                del self._waiting[message.id]
            told += self._work_off(bin, arrived)
            quiet = not self.open and len(self._recent) == 0
            bin = min(bins, default=over) if quiet else bin + 1  # a long gap is not walked through
        self._next = over
        self._worked = True
        return told

    def take_worked(self) -> bool:
        """Whether a bin was worked off since this was last asked: then the state has changed for good."""
        worked, self._worked = self._worked, False
        return worked

    def finish(self) -> list[dict[str, Any]]:
        """The stream has ended: works off what waits. Open alerts stay open, for nothing says that they are over."""
        if not self._waiting:
            return []
        last = max(message.time for message, _ in self._waiting.values())
        return self.advance(last + self.settings.bin_seconds + self.settings.lateness)

    def _work_off(self, bin: int, arrived: Iterable[tuple[Message, float]]) -> list[dict[str, Any]]:
        self._recent.forget_before(bin)
        counts: Counter[str] = Counter()
        for message, probability in arrived:
            tracked = self._recent.add(message, probability, bin)
            if tracked.id == message.id:
                counts.update({ALL: 1, _TESTS: len(tracked.keys)})
                counts.update(tracked.keys)
                self._explain(tracked)
            else:
                self.joined[message.id] = tracked.id
                if tracked.alert is not None:
                    tracked.alert.copy(tracked.id)
        if len(self._recent):
            self._baseline.add(bin, dict(counts))
        end = (bin + 1) * self.settings.bin_seconds
        learned = self._baseline.past_bins() * self.settings.bin_seconds >= 60 * self.settings.warm_up_minutes
        told = self._find(bin, end, counts.keys()) if learned else []
        return told + self._look_after(bin, end, {body["id"] for body in told})

    def _find(self, bin: int, end: float, joined: Collection[str]) -> list[dict[str, Any]]:
        """Opens alerts until what is left is no surprise."""
        told: dict[str, State] = {}
        while found := self._most_surprising(bin, joined):
            p_value, key, window, observed = found
            mine = [one for one in self._recent if key in one.free and one.bin > bin - window]
            hazard = _hazard(key, mine)
            alert = self._host(key, hazard)
            if alert is None:
                expected, seconds = self._baseline.expected(key, window), window * self.settings.bin_seconds
                alert = Alert(f"{int(end)}-{key}", hazard, end, key, p_value, observed, expected, seconds)
                self.open[alert.id] = alert
                told[alert.id] = "opened"
            told.setdefault(alert.id, "updated")
            alert.keys.append(key)
            for tracked in mine:
                self._recent.assign(tracked, alert)
            self._recent.explain(key, bin - window + 1)
            if "/" not in key:  # the places that its messages name are part of it
                alert.keys += [name for place in alert.places() if (name := f"{alert.hazard}/{place}") not in alert.keys]
                for tracked in self._recent:
                    if tracked.alert is alert:
                        self._recent.assign(tracked, alert)
        for name, state in told.items():
            for reference in self._references if state == "opened" else []:
                self._confirm(self.open[name], reference)
        return [self._tell(self.open[name], state) for name, state in told.items()]

    def _most_surprising(self, bin: int, joined: Collection[str]) -> tuple[float, str, int, int] | None:
        """The key and window of smallest probability below the level: (probability, key, window, count)."""
        rules = self.settings
        tests = self._baseline.rate(_TESTS) * 86400 / rules.bin_seconds * len(WINDOWS)
        level = rules.false_alarms_a_day / max(1.0, tests)
        best: tuple[float, str, int, int] | None = None
        for key in joined:
            bins = self._recent.free.get(key)
            if bins is None or bins.total() < rules.min_messages:
                continue
            for window in WINDOWS:
                count = sum(number for at, number in bins.items() if at > bin - window)
                if count < rules.min_messages or count < rules.min_ratio * self._baseline.expected(key, window):
                    continue
                found = (self._baseline.surprise(key, count, window), key, window, count)
                if found[0] < level and (best is None or found < best):
                    best = found
        return best

    def _host(self, key: str, hazard: str) -> Alert | None:
        """The open alert a key belongs to: one that has a share of its messages, or of its hazard and no other place."""
        place = key.partition("/")[2]
        mine = [tracked for tracked in self._recent if key in tracked.keys]
        shares = Counter(tracked.alert.id for tracked in mine if tracked.alert and (not place or not tracked.free))
        for name, count in sorted(shares.items(), key=lambda pair: (-pair[1], pair[0])):
            if name in self.open and count >= _SHARED * len(mine):
                return self.open[name]
        return next((alert for alert in self.open.values() if alert.hazard == hazard and alert.may_be_at(place)), None)

    def _explain(self, tracked: Tracked) -> None:
        """Gives a new message to the open alert of its hazard and place, else to one of its hazard."""
        alerts = self.open.values()
        alert = next((one for one in alerts if not set(tracked.keys).isdisjoint(one.keys) and by_place(tracked, one)), None)
        if alert := alert or next((one for one in alerts if not set(tracked.keys).isdisjoint(one.keys)), None):
            self._recent.assign(tracked, alert)

    def _look_after(self, bin: int, end: float, told: set[str]) -> list[dict[str, Any]]:
        """Closes the alerts that are over, and tells of those that have doubled."""
        bodies = []
        for alert in list(self.open.values()):
            alert.counts = [(at, count) for at, count in alert.counts if at > bin - max(WINDOWS)]
            window = max(GUARD, round(alert.window / self.settings.bin_seconds))
            own = sum(count for at, count in alert.counts if at > bin - window)
            held = end - alert.raised >= window * self.settings.bin_seconds
            if held and self._baseline.surprise(alert.key, own, window) > _CLOSED:
                alert.closed = end
                del self.open[alert.id]
                bodies.append(self._tell(alert, "closed"))
            elif alert.id not in told and alert.messages >= 2 * alert.told:
                bodies.append(self._tell(alert, "updated"))
        return bodies

    def _tell(self, alert: Alert, state: State) -> dict[str, Any]:
        alert.told = alert.messages
        return alert.body(state)

    def _confirm(self, alert: Alert, reference: Reference) -> bool:
        """Sets a record beside an alert of its hazard and place; whether it was not there yet."""
        near = -self._reach() <= reference.time - alert.raised <= self._reach()
        same_place = any(place in name or name in place for place in reference.places for name in alert.names)
        known = any(old["id"] == reference.id for old in alert.references)
        if known or not near or not same_place or not (set(reference.hazards) & set(alert.hazards)):
            return False
        alert.confirm(reference)
        return True

    def _reach(self) -> float:
        return self.settings.reference_hours * 3600

    def _bin(self, time: float) -> int:
        return math.floor(time / self.settings.bin_seconds)

    def state(self) -> dict[str, Any]:
        """Everything, as JSON."""
        return {
            "baseline": self._baseline.state(),
            "open": [alert.state() for alert in self.open.values()],
            "waiting": [(asdict(message), probability) for message, probability in self._waiting.values()],
            "recent": self._recent.state(),
            "references": [asdict(reference) for reference in self._references],
            "watermark": self._watermark,
            "next": self._next,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from what `state` returned."""
        self._baseline.restore(state["baseline"])
        self.open = {one["id"]: Alert.of_state(one) for one in state["open"]}
        self._waiting = {one["id"]: (Message(**one), probability) for one, probability in state["waiting"]}
        self._recent.restore(state["recent"], self.open)
        self._references = [
            Reference(**{**one, "hazards": tuple(one["hazards"]), "places": tuple(one["places"])})
            for one in state["references"]
        ]
        self._watermark = -math.inf if state["watermark"] is None else state["watermark"]
        self._next = state["next"]


def _hazard(key: str, messages: Iterable[Tracked]) -> str:
    """The hazard of a key; of a place's key, the one that most of its messages name."""
    named = key.partition("/")[0]
    if named != ANY:
        return named
    counts = Counter(hazard for tracked in messages for hazard in tracked.hazards if hazard != OTHER)
    return min(counts, key=lambda hazard: (-counts[hazard], hazard), default=OTHER)
