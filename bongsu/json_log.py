"""JSON of whatever text, and log records as lines of it, for the server and for a watch without a terminal."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

import orjson


def json_bytes(value: object) -> bytes:
    """Return a value as JSON; half of a surrogate pair in somebody's text, which UTF-8 cannot hold, as a question mark."""
    try:
        return orjson.dumps(value, default=str)
    except (TypeError, ValueError):
        return json.dumps(value, default=str, ensure_ascii=False).encode("utf-8", "replace")


class JsonLines(logging.Formatter):
    """Format a record as one line of JSON: time, level, logger, message, and the fields given as `extra={"fields": ...}`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json_bytes(line).decode()
