"""Whom alerts are told to: standard output, a webhook."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx
import orjson

from bongsu.errors import BongsuError, DataError
from bongsu.files import disk_errors
from bongsu.watch.sources.base import pause

_ATTEMPTS = 8


class Sink(Protocol):
    """Someone who is told of alerts, in order."""

    name: str

    async def send(self, seq: int, body: dict[str, Any]) -> None:
        """Tells of one change; returns when it is told, or given up and kept elsewhere."""


class Stdout:
    """JSON Lines on standard output."""

    name = "stdout"

    async def send(self, seq: int, body: dict[str, Any]) -> None:
        """See `Sink`."""
        sys.stdout.buffer.write(orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE))
        sys.stdout.buffer.flush()


class ForbiddenAddressError(BongsuError):
    """A webhook that leads into a private network."""


async def public_address(host: str, port: int, allow_private: bool) -> str:
    """The address to connect to: the name is resolved once, here, so that what was checked is what is connected to.

    Raises:
        ForbiddenAddressError: when any address of the name is private, link-local, loopback or otherwise not global.
        OSError: when the name has no address.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(info[4][0]).partition("%")[0] for info in found]
    if not allow_private:
        for address in map(ipaddress.ip_address, addresses):
            inner = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None) or address
            if not inner.is_global or inner.is_multicast:
                raise ForbiddenAddressError(
                    f"{host} leads to {address}, which is not a public address (--allow-private allows it)."
                )
    return addresses[0]


class Webhook:
    """POSTs each change as JSON. Tries again with jitter; what cannot be delivered goes to the dead-letter file."""

    def __init__(
        self,
        url: str,
        dead_letters: Path,
        allow_private: bool = False,
        client: httpx.AsyncClient | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise DataError(f"--webhook {url}: write it as https://host/path")
        self.name = f"webhook:{url}"
        self.dead = 0
        self._url, self._dead_letters, self._allow_private, self._sleep = httpx.URL(url), dead_letters, allow_private, sleep
        # No proxy from the environment and no redirect: both would lead past the check of the address.
        self._client = client or httpx.AsyncClient(timeout=10, trust_env=False, follow_redirects=False)

    async def send(self, seq: int, body: dict[str, Any]) -> None:
        """See `Sink`. The header Idempotency-Key is the same for every attempt."""
        reason = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                await self._sleep(pause(attempt))
            try:
                response = await self._post(seq, body)
            except ForbiddenAddressError as error:
                reason = str(error)
                break
            except (httpx.HTTPError, OSError) as error:
                reason = f"{type(error).__name__}: {error}"
                continue
            if response.is_success:
                return
            reason = f"HTTP {response.status_code}"
            if response.status_code < 500 and response.status_code not in (408, 425, 429):
                break
        self._bury(body, reason)

    async def _post(self, seq: int, body: dict[str, Any]) -> httpx.Response:
        host, port = self._url.host, self._url.port or (443 if self._url.scheme == "https" else 80)
        address = await public_address(host, port, self._allow_private)
        return await self._client.post(
            self._url.copy_with(host=address),
            content=orjson.dumps(body),
            headers={
                "Host": self._url.netloc.decode(),
                "Content-Type": "application/json",
                "Idempotency-Key": f"{body['id']}:{seq}",
            },
            extensions={"sni_hostname": host},
        )

    def _bury(self, body: dict[str, Any], reason: str) -> None:
        self.dead += 1
        with disk_errors(self._dead_letters), open(self._dead_letters, "ab") as file:
            file.write(orjson.dumps({"reason": reason, "url": str(self._url), "body": body}, option=orjson.OPT_APPEND_NEWLINE))
            file.flush()
            os.fsync(file.fileno())
