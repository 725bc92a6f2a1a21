"""Mastodon's streaming API: server-sent events over HTTP (docs.joinmastodon.org/methods/streaming)."""

from __future__ import annotations

import asyncio
import html
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson

from bongsu.errors import DataError
from bongsu.watch.messages import Arrival, Deletion, Item, Message, read_time, tidy
from bongsu.watch.sources.base import pause

_TAG = re.compile(r"<[^>]*>")
_BREAK = re.compile(r"<br\s*/?>|</p>")


def plain(content: str) -> str:
    """The text of a status, which comes as HTML."""
    return tidy(html.unescape(_TAG.sub("", _BREAK.sub("\n", content))))


def item_of(name: str, data: str, source: str) -> Item | None:
    """The item in one server-sent event; None for kinds without a message and for garbage."""
    if name == "delete":
        return Deletion(data.strip())
    if name != "update":
        return None
    try:
        status = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(status, dict) or not isinstance(status.get("content"), str) or not isinstance(status.get("id"), str):
        return None
    moment, text = read_time(status.get("created_at")), plain(status["content"])
    account = status.get("account")
    author = str(account.get("acct", "")) if isinstance(account, dict) else ""
    return Message(status["id"], text, time.time() if moment is None else moment, author, source) if text else None


class Mastodon:
    """A public timeline. The API keeps no past: what is sent while the connection is down is lost, and counted as a gap."""

    def __init__(self, url: str, token: str = "", client: httpx.AsyncClient | None = None) -> None:
        """Args: url: such as https://mastodon.social/api/v1/streaming/public. token: where the server asks for one."""
        self.name, self.garbage, self.live, self.gaps = url, 0, False, 0
        self._url, self._client = url, client
        self._headers = {"Accept": "text/event-stream", **({"Authorization": f"Bearer {token}"} if token else {})}

    async def arrivals(self, cursor: Any) -> AsyncIterator[Arrival]:
        """See `Source`."""
        failed = 0
        async with self._client or httpx.AsyncClient(timeout=httpx.Timeout(30, read=90)) as client:
            while True:
                try:
                    async with client.stream("GET", self._url, headers=self._headers) as response:
                        if 400 <= response.status_code < 500 and response.status_code != 429:
                            raise DataError(
                                f"{self._url}: answered {response.status_code}; is the address right, is a token needed?"
                            )
                        response.raise_for_status()
                        self.live = True
                        async for name, data in _events(response.aiter_lines()):
                            failed = 0
                            item = item_of(name, data, self.name)
                            self.garbage += item is None and name == "update"
                            if item:
                                yield Arrival(item, patient=False)
                except httpx.HTTPError:
                    pass
                self.live = False
                self.gaps += 1
                await asyncio.sleep(pause(failed))
                failed += 1


async def _events(lines: AsyncIterator[str]) -> AsyncIterator[tuple[str, str]]:
    """Names and data of server-sent events (WHATWG HTML, section 9.2.6)."""
    name, data = "", list[str]()
    async for line in lines:
        if not line:
            if data:
                yield name, "\n".join(data)
            name, data = "", []
        elif line.startswith("event:"):
            name = line[6:].strip()
        elif line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
