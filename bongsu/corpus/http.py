"""A file of a web server as a stream: one request, continued where the connection breaks if the server can."""

from __future__ import annotations

import base64
import http.client
import io
import urllib.error
import urllib.request
from typing import Protocol, cast
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from bongsu.errors import DataError
from bongsu.files import redacted, redacted_text

_SECONDS = 60  # without a byte, until a connection counts as broken
_ATTEMPTS = 3  # to resume after a broken connection, each time without a new byte


class _Response(Protocol):
    """The part of `http.client.HTTPResponse` that is used."""

    status: int
    headers: http.client.HTTPMessage

    def readinto(self, buffer: memoryview) -> int: ...

    def close(self) -> None: ...


def is_web(protocol: str) -> bool:
    """Return whether a protocol is http or https."""
    return protocol.lower() in ("http", "https")


class WebFile(io.RawIOBase):
    """The bytes at a URL, front to back.

    Reading raises EOFError where the connection breaks for good before the length that the server gave.
    """

    def __init__(self, url: str) -> None:
        """Open the URL.

        Raises:
            DataError: when the server cannot be reached, answers with an error, or sends an encoding other than gzip.
        """
        self._url, self._place, self._failures = url, 0, 0
        self._response = self._request()
        headers = self._response.headers
        coding = (headers.get("Content-Encoding") or "identity").strip().lower()
        if coding not in ("identity", "gzip", "x-gzip"):
            raise DataError(f"{redacted(url)}: the server sends Content-Encoding {coding[:40]!r}, which is not read.")
        self.encoded = coding != "identity"
        """Whether the server has compressed the bytes with gzip."""
        length = headers.get("Content-Length", "")
        self._length = int(length) if length.isdecimal() and "Transfer-Encoding" not in headers else None
        tag = headers.get("ETag", "W/")
        self._mark = headers.get("Last-Modified") if tag.startswith("W/") else tag  # a weak tag does not stand for the bytes

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while True:
            try:
                count = self._response.readinto(buffer)
            except (OSError, http.client.HTTPException):
                count = 0
                if self._length is None:
                    raise EOFError("the connection broke") from None
            if count or self._length is None or self._place >= self._length:
                self._place += count
                self._failures = 0 if count else self._failures
                return count
            self._resume()

    def close(self) -> None:
        if not self.closed:
            self._response.close()
        super().close()

    def _resume(self) -> None:
        """Request the rest of the file.

        Raises:
            EOFError: when the server cannot send it, or the file is another one now.
        """
        self._failures += 1
        broken = EOFError(f"the connection broke after {self._place:,} of {self._length:,} bytes")
        if self._mark is None or self._failures > _ATTEMPTS:
            raise broken
        self._response.close()
        try:
            self._response = self._request({"Range": f"bytes={self._place}-", "If-Range": self._mark})
        except DataError:
            raise broken from None
        if self._response.status != http.client.PARTIAL_CONTENT:
            raise broken

    def _request(self, headers: dict[str, str] | None = None) -> _Response:
        try:
            request = _request(self._url)
            for name, value in {"Accept-Encoding": "identity", **(headers or {})}.items():
                request.add_header(name, value)
            return cast(_Response, _opener().open(request, timeout=_SECONDS))
        except urllib.error.HTTPError as error:
            error.close()
            raise DataError(f"{redacted(self._url)}: the server answers {error.code} {error.reason}.") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise DataError(f"{redacted(self._url)}: cannot be opened ({redacted_text(str(reason))}).") from None


def _request(url: str) -> urllib.request.Request:
    """Return a request with an encoded URL; user name and password are sent to this server alone."""
    parts = urlsplit(url)
    host = (parts.hostname or "").encode("idna").decode()
    host = f"[{host}]" if ":" in host else host
    place = host if parts.port is None else f"{host}:{parts.port}"
    path, query = quote(parts.path, safe="%/:=&~+!$,;'@()*"), quote(parts.query, safe="%/:=&?~+!$,;'@()*[]")
    request = urllib.request.Request(urlunsplit((parts.scheme, place, path, query, "")))
    request.add_header("User-Agent", "bongsu")
    if parts.username is not None:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(secret).decode())
    return request


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener for http and https alone, so that no redirect leads to a local file."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    return opener
