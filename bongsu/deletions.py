"""Messages that were taken back, in the events that a watch publishes."""

from __future__ import annotations

from typing import Any


def takes_back(deletion: dict[str, Any], message: dict[str, Any]) -> bool:
    """Return whether a `deletion` event takes back a message: the one of its id, or all of its author's, of its source."""
    name = "author" if deletion["author"] else "id"
    return bool(message.get("source", "") == deletion["source"] and message.get(name) == deletion[name])
