"""HTTP connections with a deadline for everything a client may delay, and a bound on their number."""

from __future__ import annotations

import asyncio
import resource
from typing import Any

import h11
import orjson
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from bongsu.serving.limits import Limits

_KEPT = 75
"""Seconds that an idle connection is kept: longer than proxies do, or a request of theirs would meet a closed connection."""
_ACCEPTED = 16
"""Connections accepted in one turn of the event loop; a connection that is refused is closed some turns later."""
_OTHER_FILES = 64 + 8 * _ACCEPTED
"""Files that the process needs besides the connections it keeps."""
_AHEAD = 2**20
"""Bytes of requests that a client may send before it has the answer to the one before."""


class BoundedConfig(uvicorn.Config):
    """Uvicorn with one parser (h11, which bounds the size of headers), one event loop, and our bounds."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        super().__init__(
            app,
            http=BoundedProtocol,
            ws="none",
            loop="asyncio",
            access_log=False,
            server_header=False,
            log_config=None,
            timeout_keep_alive=_KEPT,
            backlog=_ACCEPTED,
        )
        self.limits = limits
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.connections = limits.connections if files < 0 else max(1, min(limits.connections, files - _OTHER_FILES))


class BoundedProtocol(H11Protocol):
    """One connection.

    It is closed when the header of a request is not complete in time, when the client does not read what it is sent, goes on
    with a body after it was answered, or sends ever more requests without waiting for answers. When
    there are too many connections, the one that has waited longest for a request makes room for the new one; when all are at
    work, the new one is answered with 503.
    """

    config: BoundedConfig

    def __init__(self, config: BoundedConfig, **state: Any) -> None:
        super().__init__(config, **state)
        self._header_deadline: asyncio.TimerHandle | None = None
        self._reading_deadline: asyncio.TimerHandle | None = None
        self._rest_deadline: asyncio.TimerHandle | None = None
        self._idle_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._idle_since = self.loop.time()
        if len(self.connections) > self.config.connections and not self._made_room():
            self._refuse()
        else:
            self._expect_header()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.DONE and len(self.conn.trailing_data[0]) > _AHEAD:
            self.transport.abort()
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._expect_header()
        elif self._header_deadline is not None:
            self._header_deadline.cancel()
            self._header_deadline = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reading_deadline = self.loop.call_later(self.config.limits.seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._reading_deadline is not None:
            self._reading_deadline.cancel()

    def on_response_complete(self) -> None:
        self._idle_since = self.loop.time()
        if self.conn.their_state is h11.SEND_BODY and self._rest_deadline is None:  # answered before its body has come
            self._rest_deadline = self.loop.call_later(self.config.limits.header_seconds, self._give_up_rest)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        for deadline in (self._header_deadline, self._reading_deadline, self._rest_deadline):
            if deadline is not None:
                deadline.cancel()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    @property
    def _is_idle(self) -> bool:
        return self.cycle is None or bool(self.cycle.response_complete)

    def _expect_header(self) -> None:
        if self._header_deadline is None:
            self._header_deadline = self.loop.call_later(self.config.limits.header_seconds, self.transport.close)

    def _give_up_rest(self) -> None:
        """Close the connection unless the body that was not wanted has ended: its client has had time to read the answer."""
        self._rest_deadline = None
        if self.conn.their_state is h11.SEND_BODY and self._is_idle:
            self.transport.close()

    def _made_room(self) -> bool:
        """Return whether there is room for this connection, for which an idle one may be closed."""
        others = [one for one in self.connections if one is not self and isinstance(one, BoundedProtocol)]
        alive = [one for one in others if not one.transport.is_closing()]
        if len(alive) < self.config.connections:
            return True
        idle = [one for one in alive if one._is_idle]
        if idle:
            min(idle, key=lambda one: one._idle_since).transport.abort()
        return bool(idle)

    def _refuse(self) -> None:
        body = orjson.dumps({"error": "The server has too many connections; try again in a moment."})
        head = f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"Retry-After: 1\r\nConnection: close\r\n\r\n" + body)
        self.transport.close()
