"""Bad places in the input: counted, shown, and too many of them an error."""

from __future__ import annotations

from bongsu.errors import DataError
from bongsu.progress import escape, warn

_SHOWN = 3
_KEPT = 20


class Problems:
    """Counts what had to be passed over in a source, up to `limit`."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0
        self.examples: list[str] = []
        self.last = ""

    def skip(self, place: str, why: str) -> None:
        """Passes over a bad place (`file:line`, `file:row`, or a file).

        Raises:
            DataError: when there are more than `limit` of them.
        """
        self.count += 1
        self.last = f"{place}: {why}".encode(errors="replace").decode()  # file names may hold what cannot be printed
        if len(self.examples) < _KEPT:
            self.examples.append(self.last)
        if self.count > self.limit:
            raise DataError(
                f"{self.last}. That is bad place number {self.count:,}, and max_bad = {self.limit:,}: mend the file, or set "
                "max_bad higher."
            )
        if self.count <= _SHOWN:
            warn(f"{escape(self.last)}; passed over")

    def summary(self) -> str:
        """For the end of an error message."""
        return f" ({self.count:,} bad places; the first is {self.examples[0]})" if self.examples else ""


class Unreported(Problems):
    """The bad places of one piece of a source, to be told later by whoever counts those of all pieces."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.places: list[tuple[str, str]] = []

    def skip(self, place: str, why: str) -> None:
        """Remembers a bad place.

        Raises:
            DataError: when there are more than `limit` of them in this piece alone.
        """
        self.count += 1
        self.last = f"{place}: {why}"
        self.places.append((place, why))
        if self.count > self.limit:
            raise DataError(self.last)
