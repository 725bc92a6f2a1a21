"""A predictor whose answers are known beforehand, and a clock that jumps instead of waiting."""

from __future__ import annotations

import asyncio
import hashlib
import selectors
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np

from bongsu.errors import DataError
from bongsu.inference.explain import Word
from bongsu.recipe import Classification
from bongsu.serving.app import create_app
from bongsu.serving.limits import Limits
from bongsu.serving.server import listen, server_in_thread
from bongsu.serving.service import Service
from bongsu.tasks.classification import ClassificationTask, Prediction
from bongsu.tasks.task import Schema

ATTACK = "<img src=x onerror=\"document.title='attacked'\">"


def share(text: str) -> float:
    """A probability that follows from the text alone."""
    return hashlib.sha256(text.encode()).digest()[0] / 255


class FakePredictor:
    """Answers with `share`; remembers the batches it was given."""

    task = ClassificationTask(Classification(train="x", names={"0": "other", "1": "disaster"}), Schema(["0", "1"]))
    threshold, engine, fills_masks = 0.5, "float32", True
    bundle = SimpleNamespace(has=lambda name: False)

    def __init__(self, version: str = "one", gate: threading.Event | None = None) -> None:
        self.version = version
        self.batches: list[list[str]] = []
        self.entered = False
        self._gate = gate

    def predict(self, texts: Sequence[str], context: Sequence[Sequence[str]] | None = None) -> list[Prediction]:
        if self._gate is not None:
            self.entered = True
            self._gate.wait()
        self.batches.append(list(texts))
        if "poison" in texts:
            raise ValueError("this text breaks the predictor")
        fronts = context or [()] * len(texts)
        messages = [text if isinstance(text, str) else text[0] for text in texts]
        return [self.decide(share(" ".join([*front, text]))) for text, front in zip(messages, fronts, strict=True)]

    def decide(self, probability: float) -> Prediction:
        positive = int(probability >= self.threshold)
        table = dict(zip(self.task.names, (1.0 - probability, probability), strict=True))
        return Prediction(self.task.names[positive], probability, self.task.schema.labels[positive], table)

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        positive = np.array([answer.probability for answer in self.predict(texts)])
        return np.stack([1.0 - positive, positive], axis=1)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([[share(text), 1.0] for text in texts])

    def explain(self, text: str, context: Sequence[str] = ()) -> list[Word]:
        return [Word(word, share(word) - 0.5) for word in text.split()]

    def fill_mask(self, text: str, top_k: int = 5) -> list[list[tuple[str, float]]]:
        if "[MASK]" not in text:
            raise DataError("Put [MASK] where a word is to be guessed.")
        return [[(f" guess{rank}", 0.5**rank) for rank in range(1, top_k + 1)]] * text.count("[MASK]")


def fake_service(load: Callable[[], Any] = FakePredictor, limits: Limits | None = None, **settings: Any) -> Service:
    return Service(load, limits or Limits(), **settings)


@asynccontextmanager
async def client_of(service: Service, **headers: str):  # type: ignore[no-untyped-def]
    """A client of the service's application, in this process, between its start and its end."""
    app = create_app(service)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    client = httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers)
    async with app.router.lifespan_context(app), client:
        yield client


def running(service: Service) -> AbstractContextManager[str]:
    """A real server in a thread, on a port of this machine; yields its address."""
    return server_in_thread(service, listen("127.0.0.1", 0))


class _Jump(selectors.SelectSelector):
    """Where a selector would wait, its clock goes on by that time."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout:
            self.now += timeout
        return ready


def run_in_virtual_time(main: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine on a loop in which an hour of sleep takes no time, and everything happens in the same order always."""
    selector = _Jump()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now  # type: ignore[method-assign]
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main)


def alert_of(number: int, state: str = "opened", **values: Any) -> Any:
    now = datetime.now(UTC)
    before = [(now - timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z") for minutes in (30, 20, 5)]
    evidence = [
        {"id": "a", "source": "s", "author": "x", "text": ATTACK, "time": before[0], "url": "https://example.org/a?b=c"},
        {"id": "b", "source": "s", "author": "y", "text": "no link", "time": before[0], "url": "javascript:alert(1)"},
    ]
    return {
        "type": "alert", "id": str(number), "state": state, "title": "fire: Busan", "hazard": "fire", "places": ["Busan"],
        "first_message": before[0], "raised": before[1], "latest_message": before[2], "closed": None, "acknowledged": None,
        "messages": 7, "authors": 6, "copies": 0, "evidence": evidence, "references": [], **values,
    }  # fmt: skip


def message_of(number: int, **values: Any) -> Any:
    return {"type": "message", "id": str(number), "source": "s", "author": "a", "text": "t", **values}


def status_of(**values: Any) -> Any:
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return {"type": "status", "time": now, "rate": 12.5, "lag": 0.1, "share": 0.25, "dropped": 3, "running": [], **values}
