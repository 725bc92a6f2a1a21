"""Crises of the past in a stream of everyday messages: how soon an alert comes, which crises get none, which alerts are false.

    python -m benchmarks.replay BUNDLE GENERAL CRISIS... [--rate 1] [--hours 24] [--days 30] [--places TAGGER]

GENERAL is a text file (also .gz, .zst) of messages without times, one a line. They come at random, RATE a second on average:
more by day than by night (1.6 to 0.4 times), and ten minutes are busier or calmer than ten others (a Gamma factor of standard
deviation 0.3). Each CRISIS is a CSV file in the form of CrisisLexT6 and T26: columns event, id, text, and label (on-topic) or
informativeness (Related ...). The time of a tweet is in its id.

Of each event the hours before and after its first moment are replayed: when the fifth message on it within 15 minutes came,
since before that no watch with the usual settings could tell. An alert is the event's if at least half of its evidence is on
the event, else it is false. DAYS of everyday messages alone follow, whose every alert is false.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import markdown
from bongsu import progress
from bongsu.corpus.streams import open_bytes
from bongsu.inference.onnx import BundlePredictor
from bongsu.watch.alerts import iso
from bongsu.watch.events import Events
from bongsu.watch.hazards import places_in
from bongsu.watch.messages import Message, tidy
from bongsu.watch.places import TaggedPlaces
from bongsu.watch.times import read_time
from bongsu.watch.tracking import FindPlaces, Settings

SETTINGS = Settings()
CHOSEN_ON = (
    *("2012_Sandy_Hurricane", "2013_Alberta_Floods", "2013_Boston_Bombings", "2013_Oklahoma_Tornado"),
    *("2012_Colorado_wildfires", "2012_Guatemala_earthquake", "2012_Philipinnes_floods", "2012_Venezuela_refinery"),
    *("2013_Bohol_earthquake", "2013_Brazil_nightclub_fire", "2013_LA_airport_shootings", "2013_Manila_floods"),
    *("2013_Sardinia_floods", "2013_Spain_train_crash"),
)
"""The events that the watch's test and its words were chosen on. The others were looked at afterwards."""
_MOMENT = 5, 900.0
"""Messages, and the seconds within which they come."""
_CELL = 600.0
_TWITTER_EPOCH = 1288834974657  # milliseconds: tweet ids since November 2010 count from here in their upper 42 bits
_CHUNK = 512


@dataclass
class Crisis:
    """An event and the tweets that were collected on it."""

    name: str
    messages: list[Message] = field(default_factory=list)
    on_topic: set[str] = field(default_factory=set)

    def between(self, moment: float, seconds: float) -> list[Message]:
        """Its messages from so long before the moment to so long after it."""
        return [message for message in self.messages if -seconds <= message.time - moment < seconds]

    def moment(self) -> float | None:
        """When there were first as many messages on it as an alert needs; None if there never are."""
        times = sorted(message.time for message in self.messages if message.id in self.on_topic)
        least, window = _MOMENT
        return next((last for first, last in zip(times, times[least - 1 :], strict=False) if last - first < window), None)


def read_crises(path: Path) -> list[Crisis]:
    """The events of a file; rows without a tweet's id are left out."""
    crises: dict[str, Crisis] = {}
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            identity, text = (row["id"] or "").strip("' "), tidy(row["text"] or "")
            if not identity.isdecimal() or not text:
                continue
            time = read_time(((int(identity) >> 22) + _TWITTER_EPOCH) / 1000)
            crisis = crises.setdefault(row["event"], Crisis(row["event"]))
            crisis.messages.append(Message(identity, text, time or 0.0))
            if row.get("label") == "on-topic" or (row.get("informativeness") or "").startswith("Related"):
                crisis.on_topic.add(identity)
    return list(crises.values())


def probabilities(detector: BundlePredictor, texts: Sequence[str]) -> dict[str, float]:
    """Each distinct text is read once."""
    distinct, found = list(dict.fromkeys(texts)), dict[str, float]()
    with progress.bar("classifying", len(distinct), "messages") as bar:
        for start in range(0, len(distinct), _CHUNK):
            part = distinct[start : start + _CHUNK]
            found.update(zip(part, detector.probabilities(part)[:, -1].tolist(), strict=True))
            bar.advance(len(part))
    return found


def everyday(texts: Sequence[str], begin: float, end: float, rate: float, draw: np.random.Generator) -> list[Message]:
    """Messages at random times, at a rate that swings with the hour and from one ten minutes to the next."""
    cells = np.arange(begin, end, _CELL)
    daily = 1 + 0.6 * np.sin(2 * np.pi * cells / 86400)
    noise = draw.gamma(1 / 0.3**2, 0.3**2, len(cells))
    counts = draw.poisson(rate * _CELL * daily * noise)
    times = np.sort(np.repeat(cells, counts) + draw.uniform(0, _CELL, counts.sum()))
    first = int(draw.integers(len(texts)))
    return [Message(f"g{number}", texts[(first + number) % len(texts)], time) for number, time in enumerate(times.tolist())]


def alerts(messages: Sequence[Message], scores: dict[str, float], threshold: float, places: FindPlaces) -> list[dict[str, Any]]:
    """What a watch tells of a stream."""
    events, told = Events(SETTINGS, places), []
    for message in sorted(messages, key=lambda one: one.time):
        if scores[message.text] >= threshold:
            events.add(message, scores[message.text])
            told += events.advance(message.time)
    return told + events.finish()


def judged(told: Sequence[dict[str, Any]], on_topic: set[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The alerts of the event as they were opened, and those that never were its."""
    states = defaultdict(list)
    for body in told:
        states[body["id"]].append(body)
    true = {name for name, bodies in states.items() if any(_of(body, on_topic) for body in bodies)}
    opened = [bodies[0] for bodies in states.values()]
    hits = [body for body in opened if _of(body, on_topic)]
    return hits, [body for body in opened if body["id"] not in true]


def _of(body: dict[str, Any], on_topic: set[str]) -> bool:
    return 2 * sum(item["id"] in on_topic for item in body["evidence"]) >= max(1, len(body["evidence"]))


@dataclass(frozen=True)
class Outcome:
    """What a watch made of an event."""

    wait: float | None
    """Seconds from the first moment to the first alert; None when there was none."""
    title: str
    before: float
    """The share of the event's messages, of those replayed, that came before the alert."""
    false: tuple[str, ...]
    days: float

    @classmethod
    def of(cls, told: Sequence[dict[str, Any]], crisis: Crisis, own: Sequence[Message], moment: float, days: float) -> Outcome:
        hits, wrong = judged(told, crisis.on_topic)
        false = tuple(str(body["title"]) for body in wrong)
        if not hits:
            return cls(None, "", 1.0, false, days)
        first = min(hits, key=lambda body: str(body["raised"]))
        raised = read_time(first["raised"]) or 0.0
        times = [message.time for message in own if message.id in crisis.on_topic]
        return cls(raised - moment, str(first["title"]), sum(time < raised for time in times) / len(times), false, days)

    def told(self) -> str:
        return "none" if self.wait is None else f"{self.wait / 60:.0f} min ({self.before:.0%}): {self.title}"


def summary(outcomes: Sequence[Outcome]) -> str:
    """One sentence."""
    found = [outcome for outcome in outcomes if outcome.wait is not None]
    if found:
        waits = [(outcome.wait or 0.0) / 60 for outcome in found]
        before = statistics.median(outcome.before for outcome in found)
        when = f" after {statistics.median(waits):.0f} minutes (median; from {min(waits):.0f} to {max(waits):.0f}), "
        when += f"{before:.0%} of the event's messages before (median);"
    else:
        when = ""
    false, days = [title for outcome in outcomes for title in outcome.false], sum(outcome.days for outcome in outcomes)
    return (
        f"{len(found)} of {len(outcomes)} events told of;{when} "
        f"{len(false)} false alerts in {days:.0f} days: {'; '.join(false[:20]) or 'none'}"
    )


def main() -> None:
    """Parses, classifies, replays, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("general", type=Path)
    parser.add_argument("crises", type=Path, nargs="+")
    parser.add_argument("--rate", type=float, default=1.0, help="everyday messages a second")
    parser.add_argument("--hours", type=float, default=24.0, help="replayed before and after an event's first moment")
    parser.add_argument("--days", type=int, default=30, help="of everyday messages alone")
    parser.add_argument("--places", type=Path, help="a bundle of a tagger that finds the places, as in `bongsu watch`")
    given = parser.parse_args()
    with open_bytes(str(given.general)) as lines:
        general = [text for line in lines.read().decode("utf-8", "replace").splitlines() if (text := tidy(line))]
    crises = [crisis for path in given.crises for crisis in read_crises(path)]
    windows = [(crisis, moment, crisis.between(moment, 3600 * given.hours)) for crisis in crises if (moment := crisis.moment())]
    detector = BundlePredictor.load(given.bundle)
    places = TaggedPlaces(BundlePredictor.load(given.places)) if given.places else places_in
    scores = probabilities(detector, [*general, *(message.text for *_, own in windows for message in own)])
    threshold, draw = detector.threshold, np.random.default_rng(0)
    rows: list[list[object]] = []
    outcomes: dict[str, list[Outcome]] = {"chosen on": [], "not looked at": []}
    with progress.bar("replaying", len(windows), "events") as bar:
        for crisis, moment, own in windows:
            bar.advance(note=crisis.name)
            begin, end = moment - 3600 * given.hours, moment + 3600 * given.hours
            told = alerts([*own, *everyday(general, begin, end, given.rate, draw)], scores, threshold, places)
            outcome = Outcome.of(told, crisis, own, moment, (end - begin) / 86400)
            half = "chosen on" if crisis.name in CHOSEN_ON else "not looked at"
            outcomes[half].append(outcome)
            on = [message for message in own if message.id in crisis.on_topic]
            passing = sum(scores[message.text] >= threshold for message in on) / len(on)
            rows.append(
                [crisis.name, half, (iso(moment) or "")[:16].replace("T", " "), len(on), f"{passing:.0%}", outcome.told()]
            )
            print(rows[-1], outcome.false, file=sys.stderr, flush=True)
    rows += [[crisis.name, "", "", "", "", "never five in 15 minutes"] for crisis in crises if crisis.moment() is None]
    print(
        markdown(
            ["event", "settings", "first moment (UTC)", "messages on it", "of which pass", "alert (its messages before)"], rows
        )
    )
    outcomes["all"] = [outcome for half in outcomes.values() for outcome in half]
    for name, some in outcomes.items():
        print(f"\n{name}: {summary(some)}")
    passing = sum(scores[text] >= threshold for text in general) / len(general)
    print(f"\n{given.rate:g} everyday messages a second, of which {passing:.1%} pass.")
    alone = everyday(general, 0.0 + 86400 * 10_000, 86400.0 * (10_000 + given.days), given.rate, draw) if given.days else []
    false = [body["title"] for body in alerts(alone, scores, threshold, places) if body["state"] == "opened"]
    print(f"Alone: {len(false)} alerts in {given.days} days. {'; '.join(false[:20])}")


if __name__ == "__main__":
    main()
