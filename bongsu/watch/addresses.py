"""Addresses of the network: which may be connected to, and how they are shown without their secrets."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import re
import socket
from urllib.parse import urlsplit, urlunsplit

import httpx

from bongsu.errors import BongsuError, DataError
from bongsu.printable import printable

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All that is given out of IPv6. What lies outside, such as NAT64 (64:ff9b::/96, 64:ff9b:1::/48), leads elsewhere."""
_TUNNELS = (ipaddress.IPv6Network("2002::/16"), ipaddress.IPv6Network("2001::/32"))
"""6to4 and Teredo: an IPv4 address is hidden in them."""
_ISATAP = (0x00005EFE, 0x02005EFE)
_LABEL = re.compile("[A-Za-z0-9_-]{1,63}")
_SPECIAL = tuple(map(ipaddress.IPv4Network, ("192.0.0.0/24", "192.88.99.0/24", "240.0.0.0/4")))


class ForbiddenAddressError(BongsuError):
    """A webhook that leads into a private network."""


def is_public(address: IPAddress) -> bool:
    """Return whether an address is of the public internet, however a private one is written into it."""
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast and not any(address in network for network in _SPECIAL)
    if address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    tunnelled = any(address in network for network in _TUNNELS) or (int(address) >> 32) & 0xFFFFFFFF in _ISATAP
    return address in _UNICAST and address.is_global and not tunnelled


async def public_addresses(host: str, port: int, allow_private: bool) -> list[str]:
    """Return the addresses of a name, in the order to try them: resolved once, so that what is checked is connected to.

    Raises:
        ForbiddenAddressError: when any of them is private, link-local, loopback, or otherwise not public.
        OSError: when the name has no address.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(info[4][0]).partition("%")[0] for info in found))
    for address in [] if allow_private else addresses:
        if not is_public(ipaddress.ip_address(address)):
            raise ForbiddenAddressError(
                f"{host} leads to {address}, which is not a public address (--allow-private allows it)."
            )
    return addresses


def http_url(text: str, option: str) -> httpx.URL:
    """Return the address of an HTTP server.

    Raises:
        DataError: when it is none. The message does not repeat its path and query, which may be secret.
    """
    form = f"{option}: write it as https://host/path"
    try:
        url = httpx.URL(text)
        labels = url.raw_host.decode("ascii").rstrip(".").split(".")
        port = urlsplit(text).port
    except (httpx.InvalidURL, ValueError, UnicodeError) as error:
        raise DataError(f"{form} ({printable(str(error), 80)}).") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise DataError(f"{form}.")
    if port == 0:
        raise DataError(f"{form}; port 0 is none.")
    if ":" not in url.host and (not all(map(_LABEL.fullmatch, labels)) or sum(map(len, labels)) > 250):
        raise DataError(f"{form}; {printable(url.host, 80)} is no name of a host.")
    return url


def redacted(address: str) -> str:
    """Return a source's address without user, password, query and fragment.

    Where something was left out, eight digits of a hash follow, so that two addresses stay two names.
    """
    if "://" not in address:
        return address
    parts = urlsplit(address)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))
    return bare if bare == address else f"{bare}#{hashlib.sha256(address.encode()).hexdigest()[:8]}"
