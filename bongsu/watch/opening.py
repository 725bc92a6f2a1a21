"""The source that an address names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from bongsu.errors import DataError
from bongsu.watch.addresses import redacted
from bongsu.watch.sources.base import Source
from bongsu.watch.sources.records import Reading

_KINDS = "-, a file, wss://, https://, kafka:// and safetydata"
KEY, TOKEN = "SAFETYDATA_KEY", "MASTODON_TOKEN"


def open_source(
    address: str, follow: bool = False, reading: Reading | None = None, report: Callable[[str], None] = lambda text: None
) -> Source:
    """Return the source that an address names.

    It is `-`, a file, `wss://` (Jetstream), `https://` (Mastodon), `kafka://` or `safetydata`.

    Keys come from the environment, so that they stand in no shell history and no process list.

    Raises:
        DataError: when there is none.
    """
    from bongsu.watch.sources.lines import File, Stdin

    if address == "-":
        return Stdin(reading)
    scheme = address.partition("://")[0] if "://" in address else ""
    if scheme in ("ws", "wss"):
        from bongsu.watch.sources.jetstream import Jetstream

        return Jetstream(address)
    if scheme in ("http", "https"):
        from bongsu.watch.sources.mastodon import Mastodon

        return Mastodon(address, os.environ.get(TOKEN, ""))
    if scheme == "kafka":
        from bongsu.watch.sources.kafka import Kafka

        return Kafka(address, reading, report)
    if address == "safetydata":
        from bongsu.watch.sources.safety import SafetyData

        if not os.environ.get(KEY):
            raise DataError(f"safetydata: set {KEY} to the service key that safetydata.go.kr gives you.")
        return SafetyData(os.environ[KEY])
    if scheme:
        raise DataError(f"{redacted(address)}: no such kind of source; there are {_KINDS}.")
    return File(Path(address), follow, reading=reading)
