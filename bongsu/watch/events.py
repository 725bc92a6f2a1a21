"""From messages that pass to events: near-duplicates joined, bursts found, alerts kept.

A message waits until the stream has come `lateness` further than its time; then it is counted, in order of (time, id), in the
bin of its time. So the outcome depends on the messages alone, not on the order they came in (as long as none is later than
`lateness`) nor on how fast. What comes later, as from a source that was away, is counted in the bin of its time as well, if
that is one of the latest 240; the windows that end with that bin are tested when the present bin is over.

Each distinct message counts for its hazards, for its places, and for each pair of them; of an author's several for a key the
first alone. When a bin is over, the counts of the last 1, 5, 15, 60 and 240 bins that no open alert explains are compared with
the baseline, for the groups that a message of the bin has joined: no other can have become a surprise. The most surprising one
opens an alert, or joins the open alert with whose messages it overlaps; the messages it explains are taken out and the rest is
tested again. An alert closes when its own messages are no more than is to be expected.

The level of each test is `false_alarms_a_day` divided by the number of tests a day, which is learned from the stream, and is
at once as high as the latest hour makes it when somebody floods the stream with names. So the budget is shared among groups as
messages are (rare ones are tested rarely), and the expected number of false alarms a day is below it as far as counts follow
the model in `baseline`, however the tests depend on each other. Counts must also be `min_messages` and `min_ratio` times the
expected, so that an alarm matters as well as being significant.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from bongsu.live_events import AlertEvent, State
from bongsu.watch.alerts import Alert
from bongsu.watch.baseline import ALL, GUARD, Baseline, BaselineState
from bongsu.watch.hazards import OTHER, places_in
from bongsu.watch.messages import Deletion, Message, Reference, unique
from bongsu.watch.recent import Recent, RecentState
from bongsu.watch.tracking import ANY, FindPlaces, Settings, Tracked, by_place

WINDOWS = (1, 5, 15, 60, 240)
"""Bins whose messages are counted together: short ones for fast bursts, long ones for slow."""
_TESTS = ""
"""The key by which the baseline learns how many tests there are."""
_SHARED = 0.2
"""A key joins an alert that already holds this share of its messages."""
_CLOSED = 0.05
"""An alert stays open while so many messages of its own would be this improbable."""


@dataclass(frozen=True)
class Clock:
    """How far events have come."""

    watermark: float | None
    """Of the stream; None, or minus infinity, before it begins."""
    next: int | None
    """The bin that is not over yet."""
    counts: Counter[str]
    """Of that bin."""
    late: list[tuple[int, Counter[str]]] = field(default_factory=list)
    """What was counted since in bins that are over."""


@dataclass(frozen=True, kw_only=True)
class EventsState:
    """What `Events` goes on from; the texts of messages stand elsewhere."""

    baseline: BaselineState
    alerts: list[Alert]
    """The open ones."""
    waiting: list[tuple[str, float]]
    """Uids and probabilities."""
    recent: RecentState
    references: list[Reference]
    clock: Clock


class Events:
    """Turns messages that pass into alerts."""

    def __init__(self, settings: Settings, places_in: FindPlaces = places_in) -> None:
        """Args: places_in: finds the places in a message; by default by rule."""
        self.settings = settings
        self.open: dict[str, Alert] = {}
        self.late = 0
        """Messages that came too late to be counted: hours after others of their time."""
        self.overflow = 0
        """Messages not counted because too many waited."""
        self.drills = 0
        """Official records that confirm nothing: drills, and what was sent in error."""
        self.joined: dict[str, str] = {}
        """Since somebody last emptied it: near-duplicates and the message each was joined to."""
        self._baseline = Baseline(settings.half_life_hours * 3600 / settings.bin_seconds, max(WINDOWS), settings.max_keys)
        self._waiting: dict[str, tuple[Message, float]] = {}
        self._order: list[tuple[float, str]] = []
        """A heap of the times and uids of what waits."""
        self._counts: Counter[str] = Counter()
        """Of the bin that is not over yet."""
        self._late_counts: dict[int, Counter[str]] = {}
        """What was counted since in bins that are over."""
        self._recent = Recent(max(WINDOWS), settings, places_in)
        self._references: list[Reference] = []
        self.watermark = -math.inf
        """How far the stream has come."""
        self._next: int | None = None
        self._worked = False

    def add(self, message: Message, probability: float) -> None:
        """Take in a message that passes; one that is known already changes nothing."""
        uid = message.uid
        if uid in self._waiting or uid in self._recent:
            return
        if self._next is not None and self._bin(message.time) <= self._next - max(WINDOWS):
            self.late += 1
        elif len(self._waiting) >= self.settings.max_waiting:
            self.overflow += 1
        else:
            self._waiting[uid] = (message.brief(), probability)
            heapq.heappush(self._order, (message.time, uid))

    def refer(self, reference: Reference) -> list[AlertEvent]:
        """Take in an official record; return the alerts that it confirms, or closes because it says that all is over."""
        if reference.kind == "void":
            self.drills += 1
            return []
        if reference.kind == "lifted":
            over = [alert for alert in self.open.values() if self._concerns(alert, reference)]
            return [self._close(alert, max(reference.time, alert.raised)) for alert in over]
        self._references = [
            old for old in self._references if old.time > reference.time - self._reach() and old.id != reference.id
        ]
        self._references.append(reference)
        return [alert.event("updated") for alert in self.open.values() if self._confirm(alert, reference)]

    def delete(self, deletion: Deletion) -> list[AlertEvent]:
        """Forget a message, or all of an author's; return the open alerts whose evidence it was."""
        self._waiting.pop(unique(deletion.source, deletion.id), None)
        if deletion.author:
            self._waiting = {uid: pair for uid, pair in self._waiting.items() if not deletion.concerns(pair[0])}
        self._recent.delete(deletion)
        return [alert.event("updated") for alert in self.open.values() if alert.forget(deletion)]

    def advance(self, time: float) -> list[AlertEvent]:
        """Note that the stream has come so far; count the messages that are old enough, and test the bins that are over.

        Returns:
            The alerts opened, updated and closed, in their order.
        """
        if time <= self.watermark:
            return []
        self.watermark = time
        until = time - self.settings.lateness
        if self._next is None:
            self._next = self._bin(min(until, self._order[0][0]) if self._order else until)
        changed: list[AlertEvent] = []
        while self._order and self._order[0][0] < until:
            sent, uid = heapq.heappop(self._order)
            if pair := self._waiting.pop(uid, None):
                changed += self._end_bins(self._bin(sent))
                self._count(*pair, self._bin(sent))
        return changed + self._end_bins(self._bin(until))

    def _end_bins(self, over: int) -> list[AlertEvent]:
        """Test the bins before this one."""
        assert self._next is not None
        changed: list[AlertEvent] = []
        while self._next < over:
            changed += self._end_bin(self._next)
            self._next += 1
            self._worked = True
            self._recent.forget_before(self._next)
            if not self.open and len(self._recent) == 0:
                self._next = over  # a long gap is not walked through
        return changed

    def take_worked(self) -> bool:
        """Return whether a bin was ended since this was last asked: then the state has changed for good."""
        worked, self._worked = self._worked, False
        return worked

    def finish(self) -> list[AlertEvent]:
        """Count what waits, for the stream has ended. Open alerts stay open, for nothing says that they are over."""
        if not self._waiting:
            return []
        last = max(message.time for message, _ in self._waiting.values())
        last = max(last, (self._next or 0) * self.settings.bin_seconds)  # those that are late count when this bin is over
        return self.advance(last + self.settings.bin_seconds + self.settings.lateness)

    def _count(self, message: Message, probability: float, bin: int) -> None:
        tracked = self._recent.add(message, probability, bin)
        if tracked.uid == message.uid:
            over = self._next is not None and bin < self._next
            counts = self._late_counts.setdefault(bin, Counter()) if over else self._counts
            counts.update({ALL: 1, _TESTS: len(tracked.counted)})
            counts.update(tracked.counted)
            self._bound_counts()
            self._explain(tracked)
            self._recent.bound()
        else:
            self.joined[message.uid] = tracked.uid
            if tracked.alert is not None:
                tracked.alert.copy(tracked.uid)

    def _bound_counts(self) -> None:
        """Of too many keys forget the rarest of each bin."""
        most = self.settings.max_keys
        if len(self._counts) > 2 * most:
            self._counts = Counter(dict(self._counts.most_common(most)))
        if sum(map(len, self._late_counts.values())) > 2 * most:
            each = max(2, most // len(self._late_counts))
            self._late_counts = {bin: Counter(dict(one.most_common(each))) for bin, one in self._late_counts.items()}

    def _end_bin(self, bin: int) -> list[AlertEvent]:
        counts, self._counts = self._counts, Counter()
        late, self._late_counts = self._late_counts, {}
        joined = {**dict(sorted(late.items())), bin: counts}
        for at in joined:
            if len(self._recent):
                self._baseline.add(at, dict(joined[at]))
        end = (bin + 1) * self.settings.bin_seconds
        changed: list[AlertEvent] = []
        for at in joined:
            with self._baseline.seen_from(at):
                changed += self._find(at, end, joined[at].keys())
        return changed + self._update_open_alerts(bin, end, {alert["id"] for alert in changed})

    def _find(self, bin: int, end: float, joined: Collection[str]) -> list[AlertEvent]:
        """Open alerts until what is left is no surprise."""
        changed: dict[str, State] = {}
        while found := self._surprises(bin, joined):
            p_value, key, window, observed = min(found)
            joined = {one[1] for one in found}  # counts only fall from here on: what is no surprise now will be none
            mine = [one for one in self._recent if key in one.free and one.bin > bin - window]
            hazard = _hazard(key, mine)
            alert = self._host(key, hazard)
            if alert is None:
                expected, seconds = self._baseline.expected(key, window), window * self.settings.bin_seconds
                alert = Alert(f"{int(end)}-{key}", hazard, end, key, p_value, observed, expected, seconds)
                self.open[alert.id] = alert
                changed[alert.id] = "opened"
            changed.setdefault(alert.id, "updated")
            alert.keys.append(key)
            for tracked in mine:
                self._recent.assign(tracked, alert)
            self._recent.explain(key, bin - window + 1)
            if "/" not in key:  # the places that its messages name are part of it
                alert.keys += [name for place in alert.places() if (name := f"{alert.hazard}/{place}") not in alert.keys]
                for tracked in self._recent:
                    if tracked.alert is alert:
                        self._recent.assign(tracked, alert)
        for name, state in changed.items():
            for reference in self._references if state == "opened" else []:
                self._confirm(self.open[name], reference)
        return [self._report(self.open[name], state, end) for name, state in changed.items()]

    def _surprises(self, bin: int, joined: Collection[str]) -> list[tuple[float, str, int, int]]:
        """Return the keys whose counts are less probable than the level, with windows: (probability, key, window, count)."""
        rules = self.settings
        rate = max(self._baseline.rate(_TESTS), self._baseline.latest_rate(_TESTS))
        tests = rate * 86400 / rules.bin_seconds * len(WINDOWS)
        level = rules.false_alarms_a_day / max(1.0, tests)
        surprises: list[tuple[float, str, int, int]] = []
        windows = [window for window in WINDOWS if self._is_warm(window)]
        for key in joined:
            bins = self._recent.free.get(key)
            if bins is None or bins.total() < rules.min_messages:
                continue
            for window in windows:
                count = sum(number for at, number in bins.items() if bin - window < at <= bin)
                if count < rules.min_messages or count < rules.min_ratio * self._baseline.expected(key, window):
                    continue
                p_value = self._baseline.surprise(key, count, window)
                if p_value < level:
                    surprises.append((p_value, key, window, count))
        return surprises

    def _is_warm(self, window: int) -> bool:
        """Return whether enough lies before a window to say what it should hold: of some minutes nobody can tell an hour."""
        before = self._baseline.past_bins(max(window, GUARD)) * self.settings.bin_seconds
        return before >= 60 * self.settings.warm_up_minutes

    def _host(self, key: str, hazard: str) -> Alert | None:
        """Return the open alert that a key belongs to: it has a share of its messages, or its hazard and no other place."""
        place = key.partition("/")[2]
        mine = [tracked for tracked in self._recent if key in tracked.counted]
        shares = Counter(tracked.alert.id for tracked in mine if tracked.alert and (not place or not tracked.free))
        for name, count in sorted(shares.items(), key=lambda pair: (-pair[1], pair[0])):
            if name in self.open and count >= _SHARED * len(mine):
                return self.open[name]
        same = [alert for alert in self.open.values() if alert.hazard == hazard]
        if len(same) >= self.settings.max_open:
            return same[-1]
        return next((alert for alert in same if alert.may_be_at(place)), None)

    def _explain(self, tracked: Tracked) -> None:
        """Give a new message to the open alert of its hazard and place, else to one of its hazard."""
        alerts = self.open.values()
        alert = next((one for one in alerts if not set(tracked.keys).isdisjoint(one.keys) and by_place(tracked, one)), None)
        if alert := alert or next((one for one in alerts if not set(tracked.keys).isdisjoint(one.keys)), None):
            self._recent.assign(tracked, alert)

    def _update_open_alerts(self, bin: int, end: float, reported: set[str]) -> list[AlertEvent]:
        """Close the alerts that are over, and report those that have doubled."""
        events = []
        for alert in list(self.open.values()):
            alert.counts = [(at, count) for at, count in alert.counts if at > bin - max(WINDOWS)]
            window = max(GUARD, round(alert.window / self.settings.bin_seconds))
            own = sum(count for at, count in alert.counts if at > bin - window)
            held = end - alert.raised >= window * self.settings.bin_seconds
            if held and self._baseline.surprise(alert.key, own, window) > _CLOSED:
                events.append(self._close(alert, end))
            elif alert.id not in reported and alert.messages >= 2 * alert.reported:
                events.append(self._report(alert, "updated", end))
        return events

    def _close(self, alert: Alert, time: float) -> AlertEvent:
        alert.closed = time
        del self.open[alert.id]
        return self._report(alert, "closed", time)

    def _report(self, alert: Alert, state: State, time: float) -> AlertEvent:
        alert.reported, alert.changed = alert.messages, time
        return alert.event(state)

    def _concerns(self, alert: Alert, reference: Reference) -> bool:
        """Return whether a record is of an alert's hazard and place, and of its time."""
        near = -self._reach() <= reference.time - alert.raised <= self._reach()
        same_place = any(place in name or name in place for place in reference.places for name in alert.names)
        return near and same_place and bool(set(reference.hazards) & set(alert.hazards))

    def _confirm(self, alert: Alert, reference: Reference) -> bool:
        """Add a record to an alert of its hazard and place; return whether it was not there yet."""
        if any(old.id == reference.id for old in alert.references) or not self._concerns(alert, reference):
            return False
        alert.confirm(reference)
        return True

    def _reach(self) -> float:
        return self.settings.reference_hours * 3600

    def _bin(self, time: float) -> int:
        return math.floor(time / self.settings.bin_seconds)

    def state(self) -> EventsState:
        """Return everything but the texts of messages."""
        return EventsState(
            baseline=self._baseline.state(),
            alerts=list(self.open.values()),
            waiting=[(uid, probability) for uid, (_, probability) in self._waiting.items()],
            recent=self._recent.state(),
            references=self._references,
            clock=Clock(self.watermark, self._next, self._counts, list(self._late_counts.items())),
        )

    def restore(self, state: EventsState, find: Callable[[str], Message | None]) -> None:
        """Go on from what `state` returned.

        Args:
            find: the message of a uid; None for one that was deleted.
        """
        self._baseline.restore(state.baseline)
        self.open = {alert.id: alert for alert in state.alerts}
        waiting = ((find(uid), probability) for uid, probability in state.waiting)
        self._waiting = {one.uid: (one.brief(), probability) for one, probability in waiting if one is not None}
        self._order = [(message.time, uid) for uid, (message, _) in self._waiting.items()]
        heapq.heapify(self._order)
        self._recent.restore(state.recent, self.open, find)
        self._references = state.references
        self.watermark = -math.inf if state.clock.watermark is None else state.clock.watermark
        self._next, self._counts = state.clock.next, state.clock.counts
        self._late_counts = dict(state.clock.late)


def _hazard(key: str, messages: Iterable[Tracked]) -> str:
    """Return the hazard of a key; of a place's key, the one that most of its messages name."""
    named = key.partition("/")[0]
    if named != ANY:
        return named
    counts = Counter(hazard for tracked in messages for hazard in tracked.hazards if hazard != OTHER)
    return min(counts, key=lambda hazard: (-counts[hazard], hazard), default=OTHER)
