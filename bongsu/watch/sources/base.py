"""What all sources have in common."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

from bongsu.errors import BongsuError, DataError
from bongsu.printable import printable
from bongsu.watch.messages import Arrival

_LONGEST_PAUSE = 60.0


class SourceError(BongsuError):
    """A source that fails now and may work later: it is tried again."""


class SourceEndedError(DataError):
    """A source that will not work however often it is tried."""


@dataclass
class Tally:
    """What became of a source's records: all that were read are items, garbage or ignored."""

    read: int = 0
    garbage: int = 0
    """Records that should hold a message and do not."""
    ignored: int = 0
    """Records of kinds that are no messages."""
    sample: str = ""
    """The beginning of the first garbage."""

    def note(self, useful: bool, raw: bytes | str) -> None:
        """Count a record."""
        self.read += 1
        if not useful:
            self.garbage += 1
            if not self.sample:
                self.sample = printable(raw[:400].decode("utf-8", "replace") if isinstance(raw, bytes) else raw[:400], 100)


class Source(Protocol):
    """A stream of messages."""

    name: str
    """Under which its cursor is kept; without user, password and query."""
    tally: Tally

    @property
    def live(self) -> bool:
        """Whether it has nothing older to hand over than what happens now."""

    def arrivals(self, cursor: Any) -> AsyncIterator[Arrival]:
        """Yield what comes after `cursor` (None: from the start, or from now); end when the source does.

        Raises:
            SourceError, OSError and other errors: it may be tried again from the last cursor.
            DataError: it is not to be tried again.
        """


def pause(attempt: int) -> float:
    """Return the seconds to wait after so many failed attempts: exponential with full jitter (Brooker 2015)."""
    return random.uniform(0, min(_LONGEST_PAUSE, 2.0 ** min(attempt, 6)))


async def bounded(name: str, chunks: AsyncIterator[bytes], most: int) -> bytes:
    """Return all that comes, if it is no more than `most` bytes.

    Raises:
        SourceError: when it is more.
    """
    parts, size = list[bytes](), 0
    async for chunk in chunks:
        size += len(chunk)
        if size > most:
            raise SourceError(f"{name}: the answer is larger than {most >> 20} MB.")
        parts.append(chunk)
    return b"".join(parts)


def check_status(name: str, status: int) -> None:
    """Say what an HTTP status means for a source.

    Raises:
        SourceEndedError: for a status that trying again will not change.
        SourceError: for any other that is no success.
    """
    if 400 <= status < 500 and status not in (408, 425, 429):
        raise SourceEndedError(f"{name}: answered {status}; is the address right, is a token needed?")
    if not 200 <= status < 300:
        raise SourceError(f"{name}: answered {status}")
