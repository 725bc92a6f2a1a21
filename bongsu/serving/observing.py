"""Every request counted, timed and logged as one line of JSON; the texts of messages are left out unless asked for."""

from __future__ import annotations

import logging
import re
import sys
import time
import uuid
from collections.abc import Callable, Collection

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bongsu.json_log import JsonLines
from bongsu.serving.access import route_path
from bongsu.serving.metrics import Metrics

logger = logging.getLogger("bongsu.serving")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")  # of clients' own ids: nothing that could forge a line


def log_to_stderr() -> None:
    """Send everything that is logged in this process, warnings of Python included, to standard error as lines of JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for name in ("bongsu.serving", "uvicorn"):
        named = logging.getLogger(name)
        named.handlers, named.propagate = [], True
        named.setLevel(logging.INFO)


class Observe:
    """ASGI middleware that counts, times and logs each request, and gives it an id that is sent back as X-Request-ID.

    While the server shuts down, answers carry `Connection: close`, so that clients send nothing more on a connection they keep.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Collection[str], draining: Callable[[], bool]) -> None:
        """
        Args:
            paths: those that are counted by name; a made-up path must not make a figure of its own.
            draining: returns whether the server is shutting down.
        """
        self._app = app
        self._metrics = metrics
        self._paths = paths
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        fields: dict[str, object] = {}  # added by the handlers
        scope.setdefault("state", {})["fields"] = fields
        request_id = _request_id(scope)
        status = 500

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
                if self._draining():
                    headers["Connection"] = "close"
            await send(message)

        try:
            await self._app(scope, receive, observed)
        finally:
            seconds = time.perf_counter() - started
            path = route_path(scope) if route_path(scope) in self._paths else "other"
            self._metrics.requests.labels(path, status).inc()
            self._metrics.latency.labels(path).observe(seconds)
            about = {
                "id": request_id,
                "client": client_of(scope),
                "method": scope["method"],
                "path": path,
                "status": status,
                "ms": round(seconds * 1000, 2),
            }
            logger.info("request", extra={"fields": {**about, **fields}})


def client_of(scope: Scope) -> str:
    """Return the address a request came from, "" where it is unknown; behind a trusted proxy the one the proxy names."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(given := value.decode("latin-1")):
            return str(given)
    return uuid.uuid4().hex
