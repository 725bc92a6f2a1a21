"""Mastodon's streaming API: server-sent events over HTTP (docs.joinmastodon.org/methods/streaming)."""

from __future__ import annotations

import codecs
import html
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
from httpx_sse import EventSource, SSEError

from bongsu.errors import DataError
from bongsu.watch.addresses import redacted
from bongsu.watch.messages import Arrival, Deletion, Item, Message, tidy, tidy_id, web_address
from bongsu.watch.sources.base import SourceEndedError, SourceError, Tally, check_status
from bongsu.watch.times import read_time

# No tag holds another `<`: so each character is looked at once, however many tags are never closed.
_BREAK = re.compile(r"<br\b[^<>]*>|</?(?:p|li|ul|ol|div|h[1-6]|blockquote|pre|tr)\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")
_BLANK_LINES = re.compile(r"\s*\n\s*")
_REDIRECTS = 5
_EVENT_END = re.compile(r"\n\n|\r\n\r\n|\r\r")
_LARGEST = 4 << 20


def plain(content: str) -> str:
    """Return the text of a status, which comes as HTML."""
    return _BLANK_LINES.sub("\n", tidy(html.unescape(_TAG.sub("", _BREAK.sub("\n", content)))))


def item_of(name: str, data: str, source: str) -> Item | None:
    """Return the item in one server-sent event; None for kinds without a message and for garbage."""
    if name == "delete":
        return Deletion(tidy_id(data), source=source)
    if name != "update":
        return None
    try:
        status = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(status, dict) or not isinstance(status.get("content"), str) or not isinstance(status.get("id"), str):
        return None
    warning = status.get("spoiler_text")
    text = plain(status["content"])
    if isinstance(warning, str) and warning.strip():
        text = tidy(f"{warning.strip()}\n{text}")
    account = status.get("account")
    author = tidy_id(str(account.get("acct", ""))) if isinstance(account, dict) else ""
    moment = read_time(status.get("created_at"))
    if not text:
        return None
    sent = time.time() if moment is None else moment
    url = web_address(status.get("url")) or web_address(status.get("uri"))
    return Message(tidy_id(status["id"]), text, sent, author, source, url)


class _Bounded:
    """An answer of which no event is larger than reasonable: what reads it holds an event until its end."""

    def __init__(self, name: str, response: httpx.Response) -> None:
        self.headers, self._name, self._response = response.headers, name, response

    async def aiter_text(self) -> AsyncIterator[str]:
        """Yield the text as it comes; as nothing was to be packed, nothing is unpacked."""
        size, decoder = 0, codecs.getincrementaldecoder("utf-8")("replace")
        async for chunk in self._response.aiter_raw():
            text = decoder.decode(chunk)
            ended = _EVENT_END.search(text)
            size = len(text) if ended else size + len(text)
            if size > _LARGEST:
                raise SourceError(f"{self._name}: an event is larger than {_LARGEST >> 20} MB.")
            yield text


class Mastodon:
    """A public timeline. The API keeps no past: what is sent while the connection is down is lost."""

    def __init__(self, url: str, token: str = "") -> None:
        """Args: url: such as https://mastodon.social/api/v1/streaming/public. token: where the server asks for one."""
        self.name, self.tally, self.live = redacted(url), Tally(), False
        try:
            self._url = httpx.URL(url)
        except (httpx.InvalidURL, ValueError):
            raise DataError(f"{redacted(url)}: not the address of a web server.") from None
        self._token = token

    async def arrivals(self, cursor: Any) -> AsyncIterator[Arrival]:
        """See `Source`."""
        try:
            async with httpx.AsyncClient(timeout=httpx.Timeout(30, read=90)) as client:
                url = self._url
                for _ in range(_REDIRECTS):
                    async with client.stream("GET", url, headers=self._headers(url)) as response:
                        if response.is_redirect and response.headers.get("Location"):
                            url = self._redirected(url, response.headers["Location"])
                            continue
                        check_status(self.name, response.status_code)
                        async for arrival in self._events(response):
                            yield arrival
                        raise SourceError(f"{self.name}: the server closed the connection.")
                raise SourceEndedError(f"{self.name}: redirected more than {_REDIRECTS} times.")
        except httpx.HTTPError as error:
            raise SourceError(f"{self.name}: {type(error).__name__}: {error}") from None
        finally:
            self.live = False

    async def _events(self, response: httpx.Response) -> AsyncIterator[Arrival]:
        try:
            async for event in EventSource(_Bounded(self.name, response)).aiter_sse():  # type: ignore[arg-type]
                self.live = True
                item = item_of(event.event, event.data, self.name)
                useful = item is not None or event.event not in ("update", "delete")
                self.tally.note(useful, event.data)
                self.tally.ignored += useful and item is None
                if item:
                    yield Arrival(item, patient=False)
        except SSEError:
            kind = response.headers.get("Content-Type", "nothing it names")
            raise SourceError(
                f"{self.name}: answers with {kind}, not with a stream of events; is it the streaming API?"
            ) from None

    def _redirected(self, url: httpx.URL, location: str) -> httpx.URL:
        target = url.join(location)
        if target.scheme not in ("http", "https") or (url.scheme == "https" and target.scheme == "http"):
            raise SourceEndedError(f"{self.name}: redirects to {redacted(str(target))}, which is not encrypted.")
        return target

    def _headers(self, url: httpx.URL) -> dict[str, str]:
        """The token goes to the server it is for, and to servers below it (streaming.mastodon.social), not to others."""
        own = url.host == self._url.host or url.host.endswith("." + self._url.host)
        token = {"Authorization": f"Bearer {self._token}"} if self._token and own else {}
        return {"Accept": "text/event-stream", "Accept-Encoding": "identity", "Cache-Control": "no-store", **token}
