"""Counts of the rows of a source: every row is used or counted under a named reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypedDict

from bongsu.errors import DataError
from bongsu.progress import escape, note, warn

_SHOWN = 3
_KEPT = 20
_SUBSETS = 1000  # names remembered for the message; The Pile has 22


class Place(NamedTuple):
    """The place of a row."""

    path: str
    """As it may be shown: see `bongsu.files.redacted`."""
    line: int
    """Of the file, from 1; of a table without lines (Parquet, a workbook) the row."""
    row: int
    """The file's own number of the row, from 0, headers not counted: blank rows and bad rows have one too."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


class BadPlace(NamedTuple):
    """A row that could not be read, or, where `is_row` is false, a file that is damaged from there on."""

    place: str
    reason: str
    detail: str
    is_row: bool


class Summary(TypedDict):
    """`ReadStats` as plain values, for a JSON file."""

    rows: int
    used: int
    dropped: dict[str, int]
    bad: int
    bad_examples: list[str]
    assumed: dict[str, str]
    files: int
    files_left_out: dict[str, int]


@dataclass
class ReadStats:
    """Counts of a source that is being read: `rows` = `used` + all of `dropped`."""

    limit: int = 1000
    """How many bad places there may be before reading stops with an error."""
    quiet: bool = False
    """Keep bad places for `add`, without a message or an error, where a source is read in pieces."""
    rows: int = 0
    """Rows there were, blank and bad ones included."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Rows that were not used, by reason."""
    bad: list[BadPlace] = field(default_factory=list)
    """All bad places when `quiet`, otherwise the first ones."""
    count: int = 0
    """Bad places, some of which are rows."""
    assumed: dict[str, str] = field(default_factory=dict)
    """Detected properties that are unusual, by file: the encoding, the delimiter, quoting."""
    files: int = 0
    files_left_out: Counter[str] = field(default_factory=Counter)
    """Files of a folder that were not read, by reason."""
    subsets: set[str] = field(default_factory=set)
    """The Pile's, as far as they were seen."""

    @property
    def used(self) -> int:
        """Rows that were yielded."""
        return self.rows - self.dropped.total()

    @property
    def examples(self) -> list[str]:
        """The first bad places as text."""
        return [_text(bad) for bad in self.bad[:_KEPT]]

    @property
    def last(self) -> str:
        """The last bad place as text, while fewer than 20 were seen."""
        return _text(self.bad[-1])

    def skip(self, place: Place | str, reason: str, detail: str = "") -> None:
        """Count a row that cannot be read, or that its reader cannot use, under a reason.

        Raises:
            DataError: when there are more than `limit` bad places.
        """
        self.dropped[reason] += 1
        self._add(BadPlace(str(place), reason, detail, True))

    def damage(self, place: Place | str, what: str) -> None:
        """Count a file that is damaged from a place on.

        Raises:
            DataError: when there are more than `limit` bad places.
        """
        self._add(BadPlace(str(place), what, "", False))

    def drop(self, reason: str, count: int = 1) -> None:
        """Count rows that are valid but not wanted, such as blank ones."""
        self.dropped[reason] += count

    def assume(self, path: str, what: str) -> None:
        """Note an assumption about a file, once, and keep it; of several all are kept."""
        before = self.assumed.get(path, "")
        if what in before:
            return
        if not self.quiet:
            note(escape(f"{path}: {what}"))
        self.assumed[path] = f"{before}, {what}" if before else what

    def see_subset(self, name: str) -> None:
        """Remember the name of a subset of The Pile."""
        if len(self.subsets) < _SUBSETS:
            self.subsets.add(name)

    def add(self, other: ReadStats) -> None:
        """Add the counts of another piece of the same source.

        Raises:
            DataError: when there are more than `limit` bad places; what comes before the last of them is added.
        """
        self.rows += other.rows
        self.dropped += other.dropped
        self.files += other.files
        self.files_left_out += other.files_left_out
        self.subsets |= other.subsets
        for path, what in other.assumed.items():
            self.assume(path, what)
        for bad in other.bad:
            self._add(bad)

    def take(self) -> ReadStats:
        """Return the counts so far, and start anew."""
        taken = replace(self)
        self.__init__(self.limit, self.quiet)  # type: ignore[misc]
        return taken

    def summary(self) -> str:
        """Return the counts as text for the end of an error message."""
        counts = _counts(self.dropped)
        first = f"the first bad place is {self.examples[0]}" if self.bad else ""
        return f" ({'; '.join(filter(None, [counts, first]))})" if counts or first else ""

    def report(self, name: str) -> None:
        """Print in a line how many rows were not used, if any."""
        if self.dropped:
            note(escape(f"{name}: {self.rows:,} rows, {self.used:,} used; not used: {_counts(self.dropped)}"))
        if self.files_left_out:
            note(escape(f"{name}: {self.files:,} files read; not read: {_counts(self.files_left_out)}"))

    def as_dict(self) -> Summary:
        """Return the counts as plain values."""
        return {
            "rows": self.rows,
            "used": self.used,
            "dropped": dict(self.dropped),
            "bad": self.count,
            "bad_examples": self.examples,
            "assumed": self.assumed,
            "files": self.files,
            "files_left_out": dict(self.files_left_out),
        }

    def _add(self, bad: BadPlace) -> None:
        self.count += 1
        if self.quiet or len(self.bad) < _KEPT:
            self.bad.append(bad)
        if self.count > self.limit:
            raise DataError(
                f"{_text(bad)}. That is bad place number {self.count:,}, and max_bad = {self.limit:,}: mend the file, or set "
                "max_bad higher."
            )
        if self.count <= _SHOWN and not self.quiet:
            warn(f"{escape(_text(bad))}; passed over")


def _text(bad: BadPlace) -> str:
    text = f"{bad.place}: {bad.reason}{bad.detail}"
    return text.encode(errors="replace").decode()  # file names may hold what cannot be printed


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in counts.most_common())
