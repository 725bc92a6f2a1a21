"""Alerts sent to a web address: tried again, signed, and kept in a file when they cannot be delivered.

A request carries the headers of the Standard Webhooks specification (standardwebhooks.com): `webhook-id`, which is the same
for every attempt, `webhook-timestamp`, and with a secret `webhook-signature`.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict, cast

import httpx
import orjson
from filelock import FileLock

from bongsu.errors import BongsuError, DataError
from bongsu.files import disk_errors
from bongsu.json_log import json_bytes
from bongsu.live_events import AlertEvent
from bongsu.printable import printable
from bongsu.watch.addresses import ForbiddenAddressError, http_url, public_addresses
from bongsu.watch.payloads import Payload, payload_for
from bongsu.watch.sources.base import pause

_ATTEMPTS = 8
_SECONDS = 10.0
"""For a whole request: the name resolved, the connection made, the answer's head received."""
_LONGEST_WAIT = 60.0
_REASON_BYTES = 300
Report = Callable[[str], None]


class _Refused(Exception):
    """An answer after which it is no use to try again."""


class _Failed(Exception):
    """An answer after which it may work later, after so many seconds if the server says."""

    def __init__(self, reason: str, wait: float) -> None:
        super().__init__(reason)
        self.wait = wait


class Letter(TypedDict):
    """A line of the dead-letter file."""

    reason: str
    host: str
    sink: str
    key: str
    """The change's `message_id`."""
    body: AlertEvent


class Webhook:
    """POST each change. Whatever happens, a change is either delivered or in the dead-letter file."""

    def __init__(
        self,
        url: str,
        dead_letters: Path,
        allow_private: bool = False,
        *,
        payload: Payload | None = None,
        secret: str = "",
        report: Report = lambda text: None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """
        Args:
            payload: what is sent; by default what the host takes (Slack, Discord), else the alert as JSON.
            secret: signs every request; `whsec_` and base64, or any text.
            report: called with one line when something is not delivered.
            transport: takes the place of the network, in tests.

        Raises:
            DataError: when the address or the secret cannot be used.
        """
        self._url = http_url(url, "--webhook")
        self.host = self._url.host
        self.name = f"webhook:{hashlib.sha256(url.encode()).hexdigest()[:16]}"
        """Under which the store keeps what was delivered; the address may be a secret."""
        self.delivered = self.dead = 0
        self._payload, self._key = payload or payload_for(self.host), _key(secret)
        self._dead_letters, self._allow_private, self._report, self._sleep = dead_letters, allow_private, report, sleep
        self._transport = transport

    async def send(self, seq: int, alert: AlertEvent) -> None:
        """See `Sink`."""
        await self._send(message_id(alert, seq), alert)

    def keep(self, seq: int, alert: AlertEvent) -> None:
        """See `Sink`: it goes to the dead letters, from which `resend` delivers it."""
        self._dead_letter(message_id(alert, seq), alert, "the watch was stopped")

    async def _send(self, identity: str, alert: AlertEvent) -> bool:
        try:
            content, kind = self._payload(alert)
            reason = await self._deliver(identity, content, kind)
        except Exception as error:  # none may end the watch, or stop it again at every start
            reason = f"{type(error).__name__}: {error}"
        if reason:
            self._dead_letter(identity, alert, reason)
        else:
            self.delivered += 1
        return not reason

    async def _deliver(self, identity: str, content: bytes, kind: str) -> str:
        """Return "" when it was taken, else why not."""
        reason, wait = "", 0.0
        for attempt in range(_ATTEMPTS):
            if attempt:
                await self._sleep(max(wait, pause(attempt)))
            try:
                async with asyncio.timeout(_SECONDS):
                    await self._post_somewhere(identity, content, kind)
            except (ForbiddenAddressError, _Refused) as error:
                return str(error)
            except _Failed as failed:
                reason, wait = str(failed), failed.wait
            except TimeoutError:
                reason, wait = f"no answer within {_SECONDS:g} seconds", 0.0
            except (httpx.TransportError, OSError) as error:
                reason, wait = f"{type(error).__name__}: {error}", 0.0
            else:
                return ""
        return reason

    async def _post_somewhere(self, identity: str, content: bytes, kind: str) -> None:
        """Post to the first address of the host that can be connected to."""
        port = self._url.port or (443 if self._url.scheme == "https" else 80)
        addresses = await public_addresses(self.host, port, self._allow_private)
        for address in addresses[:-1]:
            try:
                async with asyncio.timeout(_SECONDS / len(addresses)):
                    return await self._post(address, identity, content, kind)
            except (httpx.ConnectError, httpx.ConnectTimeout, TimeoutError):
                continue
        return await self._post(addresses[-1], identity, content, kind)

    async def _post(self, address: str, identity: str, content: bytes, kind: str) -> None:
        headers = {
            "Host": self._url.netloc.decode("ascii"),
            "Content-Type": kind,
            "Accept-Encoding": "identity",
            "Idempotency-Key": identity,
            **signed_headers(identity, content, self._key),
        }
        # No proxy from the environment and no redirect: both would lead past the check of the address.
        async with (
            httpx.AsyncClient(timeout=_SECONDS, trust_env=False, follow_redirects=False, transport=self._transport) as client,
            client.stream(
                "POST",
                self._url.copy_with(host=address),
                content=content,
                headers=headers,
                extensions={"sni_hostname": self._url.raw_host.decode("ascii")},
            ) as response,
        ):
            if response.is_success:
                return  # the body is not read
            reason = f"HTTP {response.status_code}"
            if response.is_redirect:
                raise _Refused(f"{reason}: redirects are not followed; give the address where it leads")
            if response.status_code < 500 and response.status_code not in (408, 425, 429):
                raise _Refused(reason + await _words(response))
            raise _Failed(reason, _retry_after(response.headers.get("Retry-After", "")))

    def _dead_letter(self, identity: str, alert: AlertEvent, reason: str) -> None:
        """Append to the dead-letter file what could not be delivered, and report it."""
        self.dead += 1
        reason = printable(reason, 300)
        letter = Letter(reason=reason, host=self.host, sink=self.name, key=identity, body=alert)
        with _locked(self._dead_letters):
            descriptor = os.open(self._dead_letters, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with open(descriptor, "ab") as file:
                file.write(json_bytes(letter) + b"\n")
                file.flush()
                os.fsync(file.fileno())
        self._report(f"webhook {self.host}: not delivered ({reason}); it is kept in {self._dead_letters}")

    async def resend(self) -> tuple[int, int]:
        """Deliver what is in the dead-letter file; what fails again stays there.

        Returns:
            How many were delivered, and how many were not.

        Raises:
            DataError: when there is nothing to deliver.
        """
        taken = self._dead_letters.with_name(self._dead_letters.name + ".resending")
        with _locked(self._dead_letters):
            if not taken.exists():  # else an earlier attempt was interrupted
                if not self._dead_letters.exists():
                    raise DataError(f"{self._dead_letters}: no such file; nothing waits to be sent again.")
                os.replace(self._dead_letters, taken)
        sent = failed = 0
        for letter in _letters(taken):
            if await self._send(letter["key"], letter["body"]):
                sent += 1
            else:
                failed += 1
        taken.unlink()
        return sent, failed


def message_id(alert: AlertEvent, seq: int) -> str:
    """Return the name of a change: ASCII, and the same for every attempt."""
    return hashlib.sha256(f"{alert['id']}\0{seq}".encode("utf-8", "replace")).hexdigest()[:32]


def signed_headers(identity: str, content: bytes, key: bytes, now: float | None = None) -> dict[str, str]:
    """Return the headers of Standard Webhooks; the signature only with a key."""
    moment = str(int(time.time() if now is None else now))
    headers = {"webhook-id": identity, "webhook-timestamp": moment}
    if key:
        digest = hmac.new(key, f"{identity}.{moment}.".encode() + content, hashlib.sha256).digest()
        headers["webhook-signature"] = "v1," + base64.b64encode(digest).decode()
    return headers


def _key(secret: str) -> bytes:
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise DataError("The webhook's secret begins with whsec_, but what follows is not base64.") from None


def _letters(path: Path) -> Iterator[Letter]:
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                letter = orjson.loads(line)
                if not isinstance(letter["body"]["id"], str) or not isinstance(letter["key"], str):
                    raise TypeError
            except (orjson.JSONDecodeError, KeyError, TypeError):
                raise DataError(f"{path}:{number}: not a dead letter; take the line out and run the command again.") from None
            yield cast(Letter, letter)


def _retry_after(value: str) -> float:
    return min(_LONGEST_WAIT, float(value)) if value.isdecimal() else 0.0


async def _words(response: httpx.Response) -> str:
    """Return the beginning of a refusal, as it came: nothing is unpacked, so nothing can grow."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        return ""
    async for chunk in response.aiter_raw(_REASON_BYTES):
        return f": {chunk[:_REASON_BYTES].decode('utf-8', 'replace')}"
    return ""


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the dead-letter file: a watch appends to it while another command sends it again."""
    if not path.parent.is_dir():
        raise BongsuError(f"{path.parent}: no such folder.")
    with disk_errors(path), FileLock(path.with_name(path.name + ".lock"), mode=0o600):
        yield
