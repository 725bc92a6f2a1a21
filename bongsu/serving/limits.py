"""What the service takes: sizes, counts and times, and the refusal of what is beyond them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bongsu.serving.refusals import Refusal


@dataclass(frozen=True)
class Limits:
    """Every bound of the service; the defaults suit tweets on two cores."""

    body_bytes: int = 2**20
    """The largest body of a request, in bytes."""
    items: int = 256
    """Messages in one request."""
    characters: int = 10_000
    """Characters in one message. (The model reads the first tokens only; the rest costs memory and cleaning.)"""
    explanations: int = 16
    """Messages of one request that are explained; each costs as many predictions as it has words."""
    seconds: float = 30.0
    """Time for a request: to arrive, and then to be answered."""
    queue_items: int = 4096
    """Messages that may wait."""
    queue_seconds: float = 2.0
    """The longest wait a request is accepted into, by the rate measured so far."""
    batch_items: int = 64
    """Messages joined into one batch."""
    batch_seconds: float = 0.003
    """How long the first message of a batch waits for company."""
    sessions: int = 2
    """Batches computed at the same time, one thread each."""
    streams: int = 64
    """Listeners to the live stream."""


class BodyLimit:
    """ASGI middleware that reads the whole body before the application sees the request.

    A body that is too large is answered with 413, one that does not arrive in time with 408.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._limits.seconds):
                body = await self._read(receive)
        except TimeoutError:
            refusal = Refusal(408, f"The request did not arrive within {self._limits.seconds:g} seconds.")
            await refusal.response()(scope, receive, send)
        except Refusal as refusal:
            await refusal.response()(scope, receive, send)
        else:
            if body is not None:
                await self._app(scope, _replay(body, receive), send)

    async def _read(self, receive: Receive) -> bytes | None:
        """The body, or None when the client has gone."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            size += len(message.get("body", b""))
            if size > self._limits.body_bytes:
                raise Refusal(413, f"The request is larger than {self._limits.body_bytes:,} bytes; send the messages in parts.")
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Gives the body once, then whatever the client does next."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
