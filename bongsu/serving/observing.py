"""Every request counted, timed and logged as one line of JSON; what the messages say is left out unless asked for."""

from __future__ import annotations

import logging
import re
import sys
import time
import uuid
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bongsu.serving.metrics import Metrics

logger = logging.getLogger("bongsu.serving")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")  # what a client may name its request: nothing that could forge a line


class JsonLines(logging.Formatter):
    """A record as one line of JSON: time, level, logger, message, and the fields given as `extra={"fields": ...}`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def log_to_stderr() -> None:
    """Sends what the service and uvicorn log to standard error, as lines of JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("bongsu.serving", "uvicorn"):
        named = logging.getLogger(name)
        named.handlers, named.propagate = [handler], False
        named.setLevel(logging.INFO)


class Observe:
    """ASGI middleware: counts, times and logs each request, and gives it an id that is sent back as X-Request-ID.

    Clients that keep their connection are told when it is to be closed, so that they send nothing more on it.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Collection[str], draining: Callable[[], bool]) -> None:
        """Args:
        paths: those that are counted by name; a made-up path must not make a figure of its own.
        draining: whether the server is shutting down.
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
        fields: dict[str, Any] = {}  # what the handlers add to the line
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
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._metrics.requests.labels(path, status).inc()
            self._metrics.latency.labels(path).observe(seconds)
            told = {"id": request_id, "method": scope["method"], "path": path, "status": status, "ms": round(seconds * 1000, 2)}
            logger.info("request", extra={"fields": {**told, **fields}})


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(given := value.decode("latin-1")):
            return str(given)
    return uuid.uuid4().hex
