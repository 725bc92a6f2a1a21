"""Who is sent alerts. Standard output is here, a webhook in its own file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Protocol

from bongsu.files import disk_errors
from bongsu.live_events import AlertEvent
from bongsu.printable import printable
from bongsu.watch.payloads import Payload, as_json


class Sink(Protocol):
    """Someone who is sent alerts, in order."""

    name: str
    """Under which the store keeps what was delivered."""

    async def send(self, seq: int, alert: AlertEvent) -> None:
        """Deliver one change; return when it is delivered, or given up and kept elsewhere."""

    def keep(self, seq: int, alert: AlertEvent) -> None:
        """Take at once what was not delivered when the watch was stopped, and what no store remembers."""


class Stdout:
    """One line each on standard output."""

    name = "stdout"

    def __init__(self, payload: Payload = as_json) -> None:
        self._payload = payload

    async def send(self, seq: int, alert: AlertEvent) -> None:
        """See `Sink`."""
        self.keep(seq, alert)

    def keep(self, seq: int, alert: AlertEvent) -> None:
        """See `Sink`."""
        print_line(self._payload(alert)[0])


def print_line(line: bytes) -> None:
    """Write a line of JSON or XML to standard output; to a terminal without strangers' control characters.

    Raises:
        WorkspaceError: when the disk is full.
    """
    with disk_errors(Path("standard output")):
        if sys.stdout.isatty():
            print(printable(line.decode()), flush=True)
        else:
            sys.stdout.buffer.write(line.replace(b"\n", b" ") + b"\n")
            sys.stdout.buffer.flush()
