"""A WebSocket in the format of Bluesky's Jetstream (github.com/bluesky-social/jetstream)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import orjson
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from bongsu.errors import DataError
from bongsu.watch.messages import Arrival, Deletion, Item, Message, tidy
from bongsu.watch.sources.base import pause

_POST = "app.bsky.feed.post"
_OVERLAP = 5_000_000
"""Microseconds to go back after a reconnect, as Jetstream's readme advises: what comes twice is known by its id."""
_BEHIND = 10.0
"""Seconds: a younger event is live, an older one is caught up on."""


def item_of(event: dict[str, Any], source: str) -> Item | None:
    """The post, or the deletion of a post or an account, in an event; None for any other."""
    author, kind = str(event.get("did", "")), event.get("kind")
    if kind == "account":
        account = event.get("account")
        gone = (
            isinstance(account, dict) and account.get("active") is False and account.get("status") in ("deleted", "takendown")
        )
        return Deletion(author=author) if gone and author else None
    commit = event.get("commit")
    if kind != "commit" or not isinstance(commit, dict) or commit.get("collection") != _POST:
        return None
    identity = f"at://{author}/{_POST}/{commit.get('rkey', '')}"
    if commit.get("operation") == "delete":
        return Deletion(identity)
    record = commit.get("record")
    text = record.get("text") if isinstance(record, dict) else None
    if commit.get("operation") != "create" or not isinstance(text, str) or not tidy(text):
        return None
    return Message(identity, tidy(text), event["time_us"] / 1e6, author, source)


class Jetstream:
    """Posts as they are written. The cursor is `time_us`, which is a message's time too: nobody can forge it."""

    def __init__(self, url: str) -> None:
        """Args: url: such as wss://jetstream2.us-east.bsky.network/subscribe; only posts are asked for."""
        self.name, self.garbage, self.live = url, 0, False
        self.connects = 0
        self._url = url

    async def arrivals(self, cursor: Any) -> AsyncIterator[Arrival]:
        """See `Source`; a lost connection is taken up again where it broke."""
        latest, failed = cursor, 0
        while True:
            try:
                async with connect(self._address(latest), max_size=1 << 20) as socket:
                    self.connects += 1
                    async for frame in socket:
                        failed = 0
                        event = _event(frame)
                        if event is None:
                            self.garbage += 1
                            continue
                        latest = max(latest or 0, event["time_us"])
                        self.live = time.time() - event["time_us"] / 1e6 < _BEHIND
                        yield Arrival(item_of(event, self.name), latest, patient=not self.live)
            except InvalidURI:
                raise DataError(f"{self._url}: not the address of a WebSocket (wss://host/subscribe).") from None
            except (OSError, ConnectionClosed, InvalidHandshake, TimeoutError):
                pass
            self.live = False
            await asyncio.sleep(pause(failed))
            failed += 1

    def _address(self, latest: int | None) -> str:
        parts = urlsplit(self._url)
        query = dict(parse_qsl(parts.query))
        query.setdefault("wantedCollections", _POST)
        if latest is not None:
            query["cursor"] = str(latest - _OVERLAP)
        return urlunsplit(parts._replace(query=urlencode(query)))


def _event(frame: str | bytes) -> dict[str, Any] | None:
    try:
        event = orjson.loads(frame)
    except orjson.JSONDecodeError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("time_us"), int) else None
