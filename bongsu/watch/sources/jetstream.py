"""A WebSocket in the format of Bluesky's Jetstream (github.com/bluesky-social/jetstream)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import orjson
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI, PayloadTooBig
from websockets.frames import CloseCode

from bongsu.watch.addresses import redacted
from bongsu.watch.messages import Arrival, Deletion, Item, Message, tidy, tidy_id, web_address
from bongsu.watch.sources.base import SourceEndedError, SourceError, Tally, check_status
from bongsu.watch.times import read_time

_POST = "app.bsky.feed.post"
_OVERLAP = 5_000_000
"""Microseconds to go back after a reconnect, as Jetstream's readme advises: what comes twice is known by its id."""
_LARGEST = 4 << 20
"""Bytes of an event."""
_BEHIND = 10.0
"""Seconds: a younger event is live, an older one is caught up on."""


def item_of(event: dict[str, Any], source: str) -> Item | None:
    """Return the post, or the deletion of a post or an account, in an event; None for any other."""
    did, kind = str(event.get("did", "")), event.get("kind")
    author = tidy_id(did)
    if kind == "account":
        account = event.get("account")
        gone = (
            isinstance(account, dict) and account.get("active") is False and account.get("status") in ("deleted", "takendown")
        )
        return Deletion(author=author, source=source) if gone and author else None
    commit = event.get("commit")
    if kind != "commit" or not isinstance(commit, dict) or commit.get("collection") != _POST:
        return None
    identity = tidy_id(f"at://{did}/{_POST}/{commit.get('rkey', '')}")
    if commit.get("operation") == "delete":
        return Deletion(identity, source=source)
    record = commit.get("record")
    text = record.get("text") if isinstance(record, dict) else None
    if commit.get("operation") != "create" or not isinstance(text, str) or not tidy(text):
        return None
    url = web_address(f"https://bsky.app/profile/{quote(did, ':')}/post/{quote(str(commit.get('rkey', '')), '')}")
    moment = read_time(event["time_us"])
    return None if moment is None else Message(identity, tidy(text), moment, author, source, url)


class Jetstream:
    """Posts as they are written. The cursor is `time_us`, which is a message's time too: nobody can forge it."""

    def __init__(self, url: str) -> None:
        """Args: url: such as wss://jetstream2.us-east.bsky.network/subscribe; only posts are asked for."""
        self.name, self.tally, self.live = redacted(url), Tally(), False
        self._url = url
        self._step = 0
        """Microseconds to go on beyond an event that cannot be read."""

    async def arrivals(self, cursor: Any) -> AsyncIterator[Arrival]:
        """See `Source`."""
        latest: int | None = cursor
        begun = latest
        try:
            async with connect(self._address(latest), max_size=_LARGEST) as socket:
                async for frame in socket:
                    event = _event(frame)
                    if event is None:
                        self.tally.note(False, frame)
                        continue
                    latest, self._step = max(latest or 0, event["time_us"]), 0
                    self.live = time.time() - event["time_us"] / 1e6 < _BEHIND
                    item = item_of(event, self.name)
                    self.tally.note(True, b"")
                    self.tally.ignored += item is None
                    yield Arrival(item, latest, patient=not self.live)
            raise SourceError(f"{self.name}: the server closed the connection.")
        except InvalidURI:
            raise SourceEndedError(f"{self.name}: not the address of a WebSocket (wss://host/subscribe).") from None
        except InvalidStatus as error:
            check_status(self.name, error.response.status_code)
            raise SourceError(f"{self.name}: answered {error.response.status_code}, which is no WebSocket.") from None
        except PayloadTooBig:
            raise self._poisoned(begun, latest) from None
        except ConnectionClosed as error:
            if error.sent is not None and error.sent.code == CloseCode.MESSAGE_TOO_BIG:
                raise self._poisoned(begun, latest) from None
            raise SourceError(f"{self.name}: the connection was lost ({error}).") from None
        except (InvalidHandshake, TimeoutError, ValueError) as error:
            raise SourceError(f"{self.name}: {type(error).__name__}: {error}") from None
        finally:
            self.live = False

    def _poisoned(self, begun: int | None, latest: int | None) -> SourceError:
        """Step over an event that is too large: its time is not known, so by a second, then two, then four."""
        self._step = 1_000_000 if latest != begun or not self._step else 2 * self._step
        return SourceError(f"{self.name}: an event is larger than {_LARGEST >> 20} MB; it is stepped over.")

    def _address(self, latest: int | None) -> str:
        parts = urlsplit(self._url)
        query = dict(parse_qsl(parts.query))
        query.setdefault("wantedCollections", _POST)
        if self._step:
            query["cursor"] = str((latest if latest is not None else int(time.time() * 1e6)) + self._step)
        elif latest is not None:
            query["cursor"] = str(latest - _OVERLAP)
        return urlunsplit(parts._replace(query=urlencode(query)))


def _event(frame: str | bytes) -> dict[str, Any] | None:
    try:
        event = orjson.loads(frame)
    except orjson.JSONDecodeError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("time_us"), int) else None
