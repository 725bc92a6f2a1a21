"""A made stream, a detector that knows it, and a watch over it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from bongsu.live_events import AlertEvent
from bongsu.watch.events import Events
from bongsu.watch.messages import Message
from bongsu.watch.sinks import Sink
from bongsu.watch.sources.base import Source
from bongsu.watch.store import Store
from bongsu.watch.stream import Watch
from bongsu.watch.tracking import Settings

START = 1_700_000_000.0
_WORDS = ["road", "school", "house", "water", "street", "people", "night", "rain", "car", "market", "bridge", "hill", "shop"]
_QUIET = ["Fire in Paris", "Fire in Oslo", "flood near Cairo", "flood near Delhi", "crash on the road", "stay safe"]


def say(draw: random.Random, about: str) -> str:
    return f"{about} {' '.join(draw.choice(_WORDS) for _ in range(8))}"


def made_stream(seed: int, hours: float = 3.0, quiet: int = 240) -> list[Message]:
    """Quiet reports spread evenly; at half time an explosion in Boston, a little later a flood in Manila; and chatter."""
    draw = random.Random(seed)
    span = hours * 3600
    sent = [(START + draw.random() * span, say(draw, draw.choice(_QUIET))) for _ in range(quiet)]
    sent += [(START + draw.random() * span, say(draw, "lovely morning")) for _ in range(quiet)]
    boston = ["Explosion at the Boston Marathon", "Explosion in Boston", "bomb #boston"]
    sent += [(START + span / 2 + draw.expovariate(1 / 300), say(draw, draw.choice(boston))) for _ in range(60)]
    sent += [(START + span / 2 + 600 + draw.expovariate(1 / 300), say(draw, "Flood in Manila")) for _ in range(40)]
    sent = sorted(pair for pair in sent if pair[0] < START + span)
    return [Message(f"m{number}", text, round(time, 3)) for number, (time, text) in enumerate(sent)]


class Fake:
    """A detector: chatter is no disaster."""

    threshold = 0.5

    def probabilities(self, texts: list[str]) -> Any:
        return np.array([[0.9, 0.1] if "lovely" in text else [0.1, 0.9] for text in texts])


def find(messages: Sequence[Message], settings: Settings | None = None) -> list[AlertEvent]:
    events, told = Events(settings or Settings()), []
    for message in messages:
        if "lovely" not in message.text:
            events.add(message, 0.9)
        told += events.advance(message.time)
    return told + events.finish()


def write(path: Path, messages: Sequence[Message]) -> Path:
    path.write_bytes(b"".join(orjson.dumps({"id": m.id, "text": m.text, "time": m.time}) + b"\n" for m in messages))
    return path


class Kept:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.name, self.bodies = "kept", list[AlertEvent]()

    async def send(self, seq: int, alert: AlertEvent) -> None:
        self.keep(seq, alert)

    def keep(self, seq: int, alert: AlertEvent) -> None:
        self.bodies.append(alert)


def run(sources: Sequence[Source], store: Store, sinks: Sequence[Sink], **options: Any) -> Watch:
    watch = Watch(Fake(), sources, Events(Settings()), store, sinks, **options)
    asyncio.run(watch.run())
    return watch
