"""Sizes, counts and times that the service keeps to, and the refusal of bodies beyond them."""

from __future__ import annotations

import asyncio
import codecs
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bongsu.serving.api_errors import ApiError

_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "Zstandard", b"BZh": "bzip2", b"PK\x03\x04": "ZIP"}


@dataclass(frozen=True)
class Limits:
    """Every bound of the service; the defaults suit tweets on two cores."""

    body_bytes: int = 2**20
    """The largest body of a request, in bytes."""
    bodies_bytes: int = 2**26
    """Bytes of the bodies of all requests at a time."""
    items: int = 256
    """Messages in one request."""
    characters: int = 10_000
    """Characters in one message. (The model reads the first tokens only; the rest costs memory and cleaning.)"""
    explained_cost: int = 1024
    """Cost of the explanations of one request, in short messages."""
    explanations: int = 16
    """Messages of one request that are explained; each costs as many predictions as it has words."""
    seconds: float = 30.0
    """Time for a request: for its body to arrive, then to be answered; and for a client to read what it is sent."""
    header_seconds: float = 10.0
    """Time for a connection's first bytes and for the header of a request."""
    connections: int = 1000
    """Open connections; fewer where the process may not open so many files."""
    queue_items: int = 4096
    """Cost of what may wait before a request, in short messages; smaller requests go first."""
    queue_seconds: float = 2.0
    """The longest wait a request is accepted into, by the rate measured so far."""
    batch_items: int = 64
    """Cost of one batch, in short messages."""
    batch_seconds: float = 0.003
    """How long the first message of a batch waits for others."""
    sessions: int = 2
    """Batches computed at the same time, one thread each."""
    streams: int = 64
    """Listeners to the live stream."""
    streams_per_client: int = 8
    """Listeners from one address."""


class BodyLimit:
    """ASGI middleware that reads the whole body before the application sees the request.

    A body that is too large is answered with 413, one that does not arrive in time with 408, one that is compressed or in
    another encoding than UTF-8 with 415, and one for which there is no room now with 503.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        parts: list[bytes] = []
        try:
            try:
                async with asyncio.timeout(self._limits.seconds):
                    complete = await self._read(receive, parts)
                body = b"".join(parts)
                _check_encoding(Headers(scope=scope), body)
            except TimeoutError:
                raise ApiError(408, f"The request did not arrive within {self._limits.seconds:g} seconds.") from None
        except ApiError as error:
            await error.response()(scope, receive, send)
        else:
            if complete:
                await self._app(scope, _replay(body, receive), send)
        finally:
            self._held -= sum(map(len, parts))

    async def _read(self, receive: Receive, parts: list[bytes]) -> bool:
        """Append the body's parts to `parts`; return whether it is complete (else the client has gone)."""
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            part = message.get("body", b"")
            size += len(part)
            if size > self._limits.body_bytes:
                raise ApiError(
                    413, f"The request is larger than {self._limits.body_bytes:,} bytes; send the messages in parts."
                )
            if self._held + len(part) > self._limits.bodies_bytes:
                raise ApiError(503, "The server is receiving too many large requests; try again in a moment.", 1)
            parts.append(part)
            self._held += len(part)
            if not message.get("more_body", False):
                return True


def _check_encoding(headers: Headers, body: bytes) -> None:
    """
    Raises:
        ApiError: 415 naming the cause when the body is compressed or is not in UTF-8.
    """
    coding = headers.get("content-encoding", "identity").strip().lower()
    packed = next((name for magic, name in _PACKED.items() if body.startswith(magic)), None)
    if packed or coding not in ("", "identity"):
        raise ApiError(415, f"The body is compressed ({packed or _shown(coding)}); send it as plain JSON.")
    kind = headers.get("content-type", "")
    charset = kind.lower().partition("charset=")[2].partition(";")[0].strip("\"' ")
    if charset and not _is_utf8(charset):
        raise ApiError(415, f"The body is said to be in {_shown(charset)}; send JSON in UTF-8.")
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ApiError(415, "The body is in UTF-16; send JSON in UTF-8.")
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        likely = " It looks like Korean in EUC-KR (CP949)." if _is_korean(body) else ""
        raise ApiError(415, f"The body is not UTF-8 (byte {error.start + 1:,}); send JSON in UTF-8.{likely}") from None


def _shown(value: str) -> str:
    return ascii(value[:40])


def _is_utf8(charset: str) -> bool:
    try:
        return codecs.lookup(charset).name in ("utf-8", "utf-8-sig", "ascii")
    except (LookupError, ValueError):
        return False


def _is_korean(body: bytes) -> bool:
    """Return whether the bytes are CP949 and hold Hangul."""
    try:
        return any("가" <= character <= "힣" for character in body.decode("cp949"))
    except UnicodeDecodeError:
        return False


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body once, then whatever the client does next."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
