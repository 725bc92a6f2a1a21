"""Crises of the past in a stream of everyday messages: how soon an alert comes, which crises get none, which alerts are false.

    python -m benchmarks.replay BUNDLE GENERAL CRISIS... [--rate 1] [--hours 24]

GENERAL is a text file (also .gz, .zst) of messages without times, one a line; they come at random, RATE a second on average.
Each CRISIS is a CSV file in the form of CrisisLexT6 and T26: columns event, id, text, and label (on-topic) or informativeness
(Related ...). The time of a tweet is in its id.

Of each event the hours before and after its first moment are replayed: when the fifth message on it within 15 minutes came,
since before that no watch with the usual settings could tell. An alert is the event's if at least half of its evidence is on
the event, else it is false.
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
from bongsu.serving.predictor import Predictor
from bongsu.serving.watch.alerts import iso
from bongsu.serving.watch.events import WINDOWS, Events
from bongsu.serving.watch.messages import Message, read_time, tidy
from bongsu.serving.watch.tracking import Settings

SETTINGS = Settings()
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
        least, window = SETTINGS.min_messages, max(WINDOWS) * SETTINGS.bin_seconds
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


def probabilities(detector: Predictor, texts: Sequence[str]) -> dict[str, float]:
    """Each distinct text is read once."""
    distinct, found = list(dict.fromkeys(texts)), dict[str, float]()
    with progress.bar("classifying", len(distinct), "messages") as bar:
        for start in range(0, len(distinct), _CHUNK):
            part = distinct[start : start + _CHUNK]
            found.update(zip(part, detector.probabilities(part)[:, -1].tolist(), strict=True))
            bar.advance(len(part))
    return found


def everyday(texts: Sequence[str], begin: float, end: float, rate: float, draw: np.random.Generator) -> list[Message]:
    """Messages at random times."""
    times = np.sort(draw.uniform(begin, end, draw.poisson(rate * (end - begin))))
    first = int(draw.integers(len(texts)))
    return [Message(f"g{number}", texts[(first + number) % len(texts)], time) for number, time in enumerate(times.tolist())]


def alerts(messages: Sequence[Message], scores: dict[str, float], threshold: float) -> list[dict[str, Any]]:
    """What a watch tells of a stream."""
    events, told = Events(SETTINGS), []
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


def main() -> None:
    """Parses, classifies, replays, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("general", type=Path)
    parser.add_argument("crises", type=Path, nargs="+")
    parser.add_argument("--rate", type=float, default=1.0, help="everyday messages a second")
    parser.add_argument("--hours", type=float, default=24.0, help="replayed before and after an event's first moment")
    given = parser.parse_args()
    with open_bytes(str(given.general)) as lines:
        general = [text for line in lines.read().decode("utf-8", "replace").splitlines() if (text := tidy(line))]
    crises = [crisis for path in given.crises for crisis in read_crises(path)]
    windows = [(crisis, moment, crisis.between(moment, 3600 * given.hours)) for crisis in crises if (moment := crisis.moment())]
    detector = Predictor.load(given.bundle)
    scores = probabilities(detector, [*general, *(message.text for *_, own in windows for message in own)])
    threshold, draw = detector.threshold, np.random.default_rng(0)
    rows: list[list[object]] = []
    waits, missed, false, days = list[float](), 0, list[dict[str, Any]](), 0.0
    with progress.bar("replaying", len(windows), "events") as bar:
        for crisis, moment, own in windows:
            bar.advance(note=crisis.name)
            begin, end = moment - 3600 * given.hours, moment + 3600 * given.hours
            told = alerts([*own, *everyday(general, begin, end, given.rate, draw)], scores, threshold)
            hits, wrong = judged(told, crisis.on_topic)
            on = [message for message in own if message.id in crisis.on_topic]
            passing = sum(scores[message.text] >= threshold for message in on) / len(on)
            row = [crisis.name, (iso(moment) or "")[:16].replace("T", " "), len(on), f"{passing:.0%}"]
            if hits:
                raised = min(hits, key=lambda body: str(body["raised"]))
                waits.append((read_time(raised["raised"]) or 0.0) - moment)
                row.append(f"{waits[-1] / 60:.0f} min: {raised['title']}")
            else:
                missed += 1
                row.append("none")
            rows.append(row)
            print(row, [body["title"] for body in wrong], file=sys.stderr, flush=True)
            false += wrong
            days += (end - begin) / 86400
    for name in (crisis.name for crisis in crises if crisis.moment() is None):
        rows.append([name, "", "", "", "never five in 15 minutes"])
    print(markdown(["event", "first moment (UTC)", "messages on it", "of which pass", "alert"], rows))
    passing = sum(scores[text] >= threshold for text in general) / len(general)
    print(
        f"\n{len(waits)} of {len(waits) + missed} events told of, after {statistics.median(waits) / 60:.0f} minutes (median; "
        f"longest {max(waits) / 60:.0f}); {missed} missed; {len(false)} false alerts in {days:.0f} days: "
        f"{len(false) / days:.2f} a day. {given.rate:g} everyday messages a second, of which {passing:.1%} pass. False ones: "
        + "; ".join(str(body["title"]) for body in false[:20])
    )


if __name__ == "__main__":
    main()
