"""Labels and versions in SQLite: in a watch's own store, or in a file by themselves.

Each label is one transaction, and so is a version with the decision to use it: after a kill at any moment both are there whole
or not at all. Nothing is overwritten: what is undone keeps its row with the time it was undone, and what answered when can
be read off `uses`. Several processes may have the file open: `bongsu label` writes labels while a watch learns from them.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal

from bongsu.database import IN_MEMORY, connect, database_errors, run_script, table_names, transaction
from bongsu.errors import WorkspaceError
from bongsu.live_events import VersionEvent

Drawn = Literal["doubtful", "random", "chosen"]
"""Why a message was asked about: the model was in doubt, at random, or somebody chose it, as in a file of labels."""
Why = Literal["few", "worse_than_bundle", "worse_than_used", "not_worse"]
_FORM = 2
_MESSAGES = {"SQLITE_FULL": "the disk is full; nothing was changed."}
_MESSAGE = "source TEXT NOT NULL, id TEXT NOT NULL, author TEXT NOT NULL, text TEXT NOT NULL, time REAL NOT NULL"
TABLES = f"""
CREATE TABLE IF NOT EXISTS labels (
  number INTEGER PRIMARY KEY AUTOINCREMENT, {_MESSAGE}, label INTEGER, by TEXT NOT NULL, at REAL NOT NULL,
  drawn TEXT NOT NULL, version TEXT NOT NULL, probability REAL, base REAL, newest REAL, undone REAL);
CREATE INDEX IF NOT EXISTS labels_message ON labels (source, id);
CREATE TABLE IF NOT EXISTS asked (
  {_MESSAGE}, drawn TEXT NOT NULL, version TEXT NOT NULL, probability REAL, base REAL, newest REAL, PRIMARY KEY (source, id));
CREATE TABLE IF NOT EXISTS versions (
  number INTEGER PRIMARY KEY AUTOINCREMENT, bundle TEXT NOT NULL, made REAL NOT NULL, labels INTEGER NOT NULL,
  why TEXT NOT NULL, judged INTEGER NOT NULL, difference REAL NOT NULL, weights BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS uses (
  number INTEGER PRIMARY KEY AUTOINCREMENT, bundle TEXT NOT NULL, version INTEGER NOT NULL, at REAL NOT NULL,
  by TEXT NOT NULL, labels INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS label_form (form INTEGER NOT NULL);
"""
"""`asked` is the queue as other processes see it. A use of version 0 is one of the bundle as it was exported."""


@dataclass(frozen=True)
class Asked:
    """A message that waits for a label, with what each version says of it."""

    source: str
    id: str
    author: str
    text: str
    time: float
    """When it was sent, seconds since 1970."""
    drawn: Drawn
    version: str = ""
    """The detector in use when it was asked about."""
    probability: float | None = None
    """By the detector in use, before anything was learned from the label."""
    base: float | None = None
    """By the bundle as it was exported."""
    newest: float | None = None
    """By the newest version, in use or not; None before there was one."""

    @property
    def uid(self) -> tuple[str, str]:
        """What names it among the messages of all sources."""
        return self.source, self.id


@dataclass(frozen=True)
class Candidate:
    """A message that may be asked about."""

    source: str
    id: str
    author: str
    text: str
    time: float
    probability: float

    def asked(self, drawn: Drawn) -> Asked:
        """Return it as a message that is asked about."""
        return Asked(self.source, self.id, self.author, self.text, self.time, drawn, probability=self.probability)


@dataclass(frozen=True)
class Label:
    """An answer of somebody."""

    number: int
    asked: Asked
    label: int | None
    """1 for the positive class, 0 for the other; None for a message that was skipped."""
    by: str
    at: float


@dataclass(frozen=True)
class Verdict:
    """Whether what was learned is taken into use, and why."""

    why: Why
    judged: int
    """Labels drawn at random that it was judged by."""
    difference: float = 0.0
    """Its mean log loss on them, less that of what it was compared with: the version in use, or the bundle."""

    @property
    def taken(self) -> bool:
        """Whether it is taken into use by itself."""
        return self.why == "not_worse"

    def __str__(self) -> str:
        if self.why == "few":
            return f"not judged yet: only {self.judged} random labels came after the version before it"
        found = {"worse_than_bundle": "worse than", "worse_than_used": "worse than", "not_worse": "not worse than"}[self.why]
        other = "the version in use" if self.why == "worse_than_used" else "the bundle"
        return f"{found} {other} on {self.judged} random labels (log loss {self.difference:+.3f})"


@dataclass(frozen=True)
class Version:
    """What was learned at some moment."""

    number: int
    bundle: str
    """The version of the bundle that it corrects."""
    made: float
    labels: int
    """How many it learned from."""
    verdict: Verdict

    @property
    def name(self) -> str:
        """What answers are signed with."""
        return version_name(self.bundle, self.number)

    def event(self) -> VersionEvent:
        """Return it as an event of the live stream."""
        verdict = self.verdict
        return {
            "type": "version",
            "number": self.number,
            "bundle": self.bundle,
            "name": self.name,
            "made": self.made,
            "labels": self.labels,
            "verdict": {
                "taken": verdict.taken,
                "why": verdict.why,
                "judged": verdict.judged,
                "difference": verdict.difference,
            },
            "reason": str(verdict),
        }


_COLUMNS = ", ".join(field.name for field in fields(Asked))


class LabelStore:
    """Labels and versions; without a path they live as long as the process. Several threads may use it."""

    def __init__(self, path: Path | None) -> None:
        """
        Raises:
            WorkspaceError: when the file is something else, or of another version of Bongsu.
        """
        self.path = path
        self._shown = path or IN_MEMORY
        self._lock = threading.RLock()
        if path is not None and not path.parent.is_dir():
            raise WorkspaceError(f"{path}: there is no folder {path.parent}; make it first.")
        with self._errors():
            self._connection = connect(self._shown, self._check)
        try:
            with self._errors(), self._transaction():
                create_tables(self._connection)
        except BaseException:
            self.close()
            raise

    def _check(self, connection: sqlite3.Connection) -> None:
        """Refuse what is no store, or whose labels another version wrote."""
        tables = table_names(connection)
        if tables and not tables & {"label_form", "outbox"}:
            raise WorkspaceError(f"{self._shown}: not a store of labels or of `bongsu watch`; name a new file.")
        forms = connection.execute("SELECT form FROM label_form").fetchall() if "label_form" in tables else []
        if forms not in ([], [(_FORM,)]):
            raise WorkspaceError(f"{self._shown}: another version of Bongsu wrote its labels; name a new file.")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    # Labels

    def add(self, asked: Asked, label: int | None, by: str, at: float) -> Label:
        """Keep an answer; an earlier one to the same message is undone."""
        marks = ", ".join("?" * (len(fields(Asked)) + 3))
        with self._errors(), self._transaction() as run:
            run.execute("UPDATE labels SET undone = ? WHERE source = ? AND id = ? AND undone IS NULL", (at, *asked.uid))
            query = f"INSERT INTO labels ({_COLUMNS}, label, by, at) VALUES ({marks})"
            number = run.execute(query, (*astuple(asked), label, by, at)).lastrowid
            run.execute("DELETE FROM asked WHERE source = ? AND id = ?", asked.uid)
        assert number is not None
        return Label(number, asked, label, by, at)

    def undo(self, by: str, at: float) -> Label | None:
        """Take back the latest answer of somebody; return it, or None when there is none."""
        with self._errors(), self._transaction() as run:
            query = f"SELECT number, label, by, at, {_COLUMNS} FROM labels WHERE by = ? AND undone IS NULL ORDER BY number DESC"
            row = run.execute(f"{query} LIMIT 1", (by,)).fetchone()
            if row is None:
                return None
            run.execute("UPDATE labels SET undone = ? WHERE number = ?", (at, row[0]))
        return _label(row)

    def labels(self) -> list[Label]:
        """Return the answers that stand, in the order they were given; skips too."""
        query = f"SELECT number, label, by, at, {_COLUMNS} FROM labels WHERE undone IS NULL ORDER BY number"
        return [_label(row) for row in self._all(query)]

    def uids(self) -> set[tuple[str, str]]:
        """Return what names the messages whose answer stands."""
        return set(self._all("SELECT source, id FROM labels WHERE undone IS NULL"))

    def answered(self) -> int:
        """Return how many answers stand that are no skips."""
        [(count,)] = self._all("SELECT count(*) FROM labels WHERE undone IS NULL AND label IS NOT NULL")
        return int(count)

    def forget(self, source: str, column: Literal["id", "author"], value: str) -> None:
        """Delete what a message or an author said, from the queue and from the labels."""
        with self._errors(), self._transaction() as run:
            forget_labels(run, source, column, value)

    # The queue

    def show(self, queue: Sequence[Asked]) -> None:
        """Let other processes see the queue."""
        marks = ", ".join("?" * len(fields(Asked)))
        with self._errors(), self._transaction() as run:
            run.execute("DELETE FROM asked")
            run.executemany(f"INSERT OR IGNORE INTO asked ({_COLUMNS}) VALUES ({marks})", map(astuple, queue))

    def asked(self) -> list[Asked]:
        """Return what waits for a label, in order."""
        return [Asked(*row) for row in self._all(f"SELECT {_COLUMNS} FROM asked ORDER BY rowid")]

    # Versions

    def add_version(self, bundle: str, made: float, labels: int, verdict: Verdict, weights: bytes) -> Version:
        """Keep what was learned, and when it is taken, use it from now on."""
        with self._errors(), self._transaction() as run:
            query = "INSERT INTO versions (bundle, made, labels, why, judged, difference, weights) VALUES (?, ?, ?, ?, ?, ?, ?)"
            number = run.execute(query, (bundle, made, labels, *astuple(verdict), weights)).lastrowid
            assert number is not None
            if verdict.taken:
                self._use(run, bundle, number, "", made)
        return Version(number, bundle, made, labels, verdict)

    def bundles(self) -> list[str]:
        """Return the bundles that a version was learned for, the latest last."""
        return [name for (name,) in self._all("SELECT bundle FROM versions GROUP BY bundle ORDER BY max(number)")]

    def versions(self, bundle: str) -> list[Version]:
        """Return the versions of a bundle, the oldest first."""
        query = "SELECT number, bundle, made, labels, why, judged, difference FROM versions WHERE bundle = ? ORDER BY number"
        rows = self._all(query, (bundle,))
        return [Version(number, of, made, labels, Verdict(*verdict)) for number, of, made, labels, *verdict in rows]

    def learned(self, bundle: str) -> int:
        """Return how many labels the newest version of a bundle learned from."""
        found = self._all("SELECT labels FROM versions WHERE bundle = ? ORDER BY number DESC LIMIT 1", (bundle,))
        return int(found[0][0]) if found else 0

    def weights(self, number: int) -> bytes:
        """Return the weights of a version."""
        [(content,)] = self._all("SELECT weights FROM versions WHERE number = ?", (number,))
        return bytes(content)

    def use(self, bundle: str, number: int, by: str, at: float) -> None:
        """Use a version from now on, since somebody says so; 0 is the bundle as it was exported."""
        with self._errors(), self._transaction() as run:
            self._use(run, bundle, number, by, at)

    def in_use(self, bundle: str) -> tuple[int, int]:
        """Return the version of a bundle that is in use, and the number of the last label before somebody chose one."""
        last = self._all("SELECT version FROM uses WHERE bundle = ? ORDER BY number DESC LIMIT 1", (bundle,))
        chosen = self._all("SELECT labels FROM uses WHERE bundle = ? AND by != '' ORDER BY number DESC LIMIT 1", (bundle,))
        return (last[0][0] if last else 0), (chosen[0][0] if chosen else 0)

    def _use(self, run: sqlite3.Connection, bundle: str, number: int, by: str, at: float) -> None:
        query = "INSERT INTO uses (bundle, version, at, by, labels) SELECT ?, ?, ?, ?, ifnull(max(number), 0) FROM labels"
        run.execute(query, (bundle, number, at, by))

    # SQLite

    def _all(self, query: str, values: Sequence[object] = ()) -> list[tuple]:  # type: ignore[type-arg]
        with self._lock, self._errors():
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, transaction(self._connection):
            yield self._connection

    def _errors(self) -> AbstractContextManager[None]:
        return database_errors(self._shown, _MESSAGES)


def version_name(bundle: str, number: int) -> str:
    """Return what answers of a version are signed with: the bundle's version, and for what was learned its number."""
    return f"{bundle}+{number}" if number else bundle


def create_tables(connection: sqlite3.Connection) -> None:
    """Create what is missing, within a transaction."""
    run_script(connection, TABLES)
    connection.execute("INSERT INTO label_form SELECT ? WHERE NOT EXISTS (SELECT 1 FROM label_form)", (_FORM,))


def forget_labels(connection: sqlite3.Connection, source: str, column: Literal["id", "author"], value: str) -> None:
    """Delete what a message or an author said, within a transaction."""
    for table in ("labels", "asked"):
        connection.execute(f"DELETE FROM {table} WHERE source = ? AND {column} = ?", (source, value))


def _label(row: tuple) -> Label:  # type: ignore[type-arg]
    number, label, by, at, *asked = row
    return Label(number, Asked(*asked), label, by, at)
