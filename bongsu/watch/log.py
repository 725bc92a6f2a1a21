"""What a watch without a terminal says: one JSON object a line on standard error."""

from __future__ import annotations

import logging
import sys
import time

from bongsu.json_log import JsonLines
from bongsu.live_events import Event

logger = logging.getLogger("bongsu.watch")
_EVERY = 60.0


def log_to_stderr() -> None:
    """Send what a watch logs to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)


class StatusLog:
    """Listens to a watch: logs its state once a minute, and every change of an alert."""

    def __init__(self) -> None:
        self._logged = 0.0

    def hear(self, event: Event) -> None:
        """Take in what the watch publishes."""
        if event["type"] == "status" and time.monotonic() - self._logged >= _EVERY:
            self._logged = time.monotonic()
            fields = {key: value for key, value in event.items() if key not in ("type", "time", "running")}
            logger.info("status", extra={"fields": fields})
        elif event["type"] == "alert":
            fields = {key: event[key] for key in ("state", "title", "messages", "silenced")}
            logger.info("alert", extra={"fields": {"alert": event["id"], **fields}})
