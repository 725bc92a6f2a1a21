"""Log records as lines of JSON, for the server and for a watch without a terminal."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

import orjson


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
        try:
            return orjson.dumps(line, default=str).decode()
        except (TypeError, ValueError):  # half of a surrogate pair in somebody's text, which UTF-8 cannot hold
            return json.dumps(line, default=str)
