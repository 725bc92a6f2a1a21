"""What a watch knows, in SQLite: messages that pass, alerts, labels, where each source stands, what each sink was sent.

A batch is one transaction. What is to be sent is written there first (an outbox) and marked when a sink has it: after a kill at
any moment every alert is still there, and at most the one that was being handed over is handed over again. Cursors are saved
only together with the state that they belong to. The texts of messages stand in one table alone, so that a deletion is quick
and whole. Others may read while a watch runs; a lock file keeps a second watch away.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias, TypedDict, final

import orjson
from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from bongsu.database import IN_MEMORY, connect, database_errors, run_script, table_names, transaction
from bongsu.errors import WorkspaceError
from bongsu.files import disk_errors
from bongsu.labelling.store import create_tables, forget_labels
from bongsu.live_events import AlertEvent
from bongsu.watch.addresses import redacted
from bongsu.watch.alerts import Silence
from bongsu.watch.events import EventsState
from bongsu.watch.messages import Cursor, Deletion, Message, unique

_VERSION = 4
_FORGOTTEN_AT_ONCE = 2000
_LARGEST_SEQ = 2**63 - 1
_MESSAGES = """
CREATE TABLE IF NOT EXISTS messages (
  source TEXT NOT NULL, id TEXT NOT NULL, time REAL NOT NULL, text TEXT NOT NULL, probability REAL NOT NULL,
  author TEXT NOT NULL, joined TEXT, url TEXT NOT NULL DEFAULT '', PRIMARY KEY (source, id));
CREATE INDEX IF NOT EXISTS messages_author ON messages (source, author);
CREATE INDEX IF NOT EXISTS messages_time ON messages (time);
"""
_TABLES = f"""
{_MESSAGES}
CREATE TABLE IF NOT EXISTS alerts (id TEXT PRIMARY KEY, state TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS delivered (sink TEXT PRIMARY KEY, seq INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS cursors (source TEXT PRIMARY KEY, cursor TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS parts (name TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS orders (number INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL);
"""


_ERRORS = {
    "SQLITE_FULL": "the disk is full. Free some space and run the same command again: it goes on where it stopped.",
    "SQLITE_NOTADB": "not a store of `bongsu watch`. Name one, or a new file.",
    "SQLITE_READONLY": "cannot be written ({error}).",
    "SQLITE_CANTOPEN": "cannot be written ({error}).",
    "SQLITE_PERM": "cannot be written ({error}).",
}


@dataclass(frozen=True)
class WatchState:
    """What a watch goes on from, its cursors apart."""

    events: EventsState
    silences: list[Silence] = field(default_factory=list)


_STATE = TypeAdapter(WatchState)


@final
class AcknowledgeOrder(TypedDict):
    """An order: this alert is in hand, and only its end is to be reported."""

    acknowledge: str


@final
class SilenceOrder(TypedDict):
    """An order: report nothing on what a `Silence` names, until a time in seconds since 1970."""

    silence: str
    until: float


Order: TypeAlias = AcknowledgeOrder | SilenceOrder


class Store:
    """A watch's memory; without a path it lives as long as the process and keeps no messages."""

    def __init__(self, path: Path | None) -> None:
        """Raises: WorkspaceError: when the file is not a store, or another watch has it open."""
        self.lasting = path is not None
        self._path = path or IN_MEMORY
        self._lock = None if path is None else _locked(path)
        with ExitStack() as opened:
            if self._lock is not None:
                opened.callback(self._lock.release)
            with _errors(self._path):
                self.connection = connect(self._path, self._check, "auto_vacuum=INCREMENTAL")
                opened.callback(self.connection.close)
                self._migrate()
                self._file = _file_id(self._path)
            opened.pop_all()

    def _check(self, connection: sqlite3.Connection) -> None:
        """Refuse what is no store, or one that cannot be brought to this version's form."""
        [version] = connection.execute("PRAGMA user_version").fetchone()
        tables = table_names(connection)
        if tables and not ({"messages", "outbox"} <= tables or "label_form" in tables):
            raise WorkspaceError(f"{self._path}: not a store of `bongsu watch`. Name one, or a new file.")
        if version not in (0, 2, 3, _VERSION) or (version == 0 and "state" in tables):
            raise WorkspaceError(
                f"{self._path}: another version of Bongsu wrote it; this one cannot go on from it. Name a new file."
            )

    def _migrate(self) -> None:
        """Bring a store that an earlier version wrote to this one's form."""
        [version] = self.connection.execute("PRAGMA user_version").fetchone()
        with self._transaction():
            if version == 2:
                self._from_2()
            elif version == 3:
                self.connection.execute("ALTER TABLE messages ADD COLUMN url TEXT NOT NULL DEFAULT ''")
            run_script(self.connection, _TABLES)
            create_tables(self.connection)
            self.connection.execute(f"PRAGMA user_version={_VERSION}")

    def _from_2(self) -> None:
        """Version 2 had ids without sources, addresses with their secrets, and the texts of messages in its state."""
        run = self.connection.execute
        run("ALTER TABLE messages RENAME TO old_messages")
        run("DROP INDEX IF EXISTS messages_author")
        run_script(self.connection, _MESSAGES)
        kept = "source, id, time, text, probability, author, joined"
        run(f"INSERT OR IGNORE INTO messages ({kept}) SELECT {kept} FROM old_messages")
        run("DROP TABLE old_messages")
        for (source,) in run("SELECT DISTINCT source FROM messages").fetchall():
            run("UPDATE OR IGNORE messages SET source = ? WHERE source = ?", (redacted(source), source))
        for (source,) in run("SELECT source FROM cursors").fetchall():
            run("UPDATE OR REPLACE cursors SET source = ? WHERE source = ?", (redacted(source), source))
        for (sink,) in run("SELECT sink FROM delivered WHERE sink LIKE 'webhook:%'").fetchall():
            name = f"webhook:{sha256(sink.removeprefix('webhook:').encode()).hexdigest()[:16]}"
            run("UPDATE OR REPLACE delivered SET sink = ? WHERE sink = ?", (name, sink))
        row = run("SELECT body FROM state").fetchone()
        run("DROP TABLE state")
        if row is None:
            return
        run("CREATE TABLE parts (name TEXT PRIMARY KEY, body TEXT NOT NULL)")
        self._write_parts(_parts_from_2(orjson.loads(row[0])))

    def close(self) -> None:
        """Give the file back."""
        self.connection.close()
        if self._lock is not None:
            self._lock.release()

    def state(self) -> WatchState | None:
        """Return what `save` was last given as state; None for a new store.

        Raises:
            WorkspaceError: when it is damaged.
        """
        with _errors(self._path):
            parts = {name: orjson.loads(body) for name, body in self.connection.execute("SELECT name, body FROM parts")}
        if not parts:
            return None
        try:
            return _STATE.validate_python({"events": parts, "silences": parts.get("silences", [])})
        except ValidationError as error:
            where = ".".join(str(place) for place in error.errors()[0]["loc"])
            raise WorkspaceError(f"{self._path}: damaged at {where}; a watch cannot go on from it. Name a new file.") from None

    def message(self, uid: str) -> Message | None:
        """Return a message by its uid; None when it was deleted."""
        source, _, identity = uid.partition("\n")
        query = "SELECT id, text, time, author, source, url FROM messages WHERE source = ? AND id = ?"
        row = self.connection.execute(query, (source, identity)).fetchone()
        return Message(*row) if row else None

    def latest(self, most: int) -> list[tuple[Message, float]]:
        """Return the latest messages and their probabilities, the oldest of them first."""
        query = "SELECT id, text, time, author, source, url, probability FROM messages ORDER BY time DESC, id LIMIT ?"
        with _errors(self._path):
            rows = self.connection.execute(query, (most,)).fetchall()
        return [(Message(*fields), probability) for *fields, probability in reversed(rows)]

    def cursors(self) -> dict[str, Cursor]:
        """Return where each source stands."""
        with _errors(self._path):
            rows = self.connection.execute("SELECT source, cursor FROM cursors").fetchall()
        return {source: orjson.loads(cursor) for source, cursor in rows}

    def save(
        self,
        passed: Iterable[tuple[Message, float]] = (),
        joined: Iterable[tuple[str, str]] = (),
        deletions: Iterable[Deletion] = (),
        changed: Iterable[AlertEvent] = (),
        state: WatchState | None = None,
        cursors: Mapping[str, Cursor] = MappingProxyType({}),
    ) -> None:
        """Write a batch, whole or not at all.

        Args:
            passed: messages and their probabilities.
            joined: uids of near-duplicates and of the messages they were joined to.
            changed: alerts as they are reported, in order; those that are `silenced` are kept and sent to nobody.
            state: to go on from.
            cursors: where each source stood in this state.

        Raises:
            WorkspaceError: when the disk is full, or the file damaged, removed or replaced.
        """
        run, many = self.connection.execute, self.connection.executemany
        self._check_place()
        with _errors(self._path), self._transaction():
            if self.lasting:
                rows = [
                    (one.source, one.id, one.time, one.text, probability, one.author, one.url) for one, probability in passed
                ]
                columns = "source, id, time, text, probability, author, url"
                many(f"INSERT OR IGNORE INTO messages ({columns}) VALUES (?,?,?,?,?,?,?)", rows)
                pairs = [(*uid.split("\n", 1), first.partition("\n")[2]) for uid, first in joined]
                many("UPDATE messages SET joined = ?3 WHERE source = ?1 AND id = ?2", pairs)
            for alert in changed:
                text = orjson.dumps(alert).decode()
                if not alert["silenced"]:
                    run("INSERT INTO outbox (body) VALUES (?)", (text,))
                run("INSERT OR REPLACE INTO alerts VALUES (?, ?, ?)", (alert["id"], alert["state"], text))
            for deletion in deletions:
                self._forget(deletion)
            if state is not None:
                self._write_parts({**vars(state.events), "silences": state.silences})
            positions = [(source, orjson.dumps(cursor).decode()) for source, cursor in cursors.items()]
            many("INSERT OR REPLACE INTO cursors VALUES (?, ?)", positions)

    def _check_place(self) -> None:
        """Raise an error when the file was taken away or replaced: SQLite would write on into what nobody finds again."""
        if self.lasting and _file_id(self._path) != self._file:
            raise WorkspaceError(f"{self._path}: was removed or replaced while a watch used it. Put it back, or start anew.")

    def _write_parts(self, parts: Mapping[str, object]) -> None:
        rows = [(name, orjson.dumps(part, option=orjson.OPT_NON_STR_KEYS).decode()) for name, part in parts.items()]
        self.connection.executemany("INSERT OR REPLACE INTO parts VALUES (?, ?)", rows)

    def _forget(self, deletion: Deletion) -> None:
        """Take messages away, also from alerts that were or will be sent."""
        column, value = ("author", deletion.author) if deletion.author else ("id", deletion.id)
        forget_labels(self.connection, deletion.source, "author" if deletion.author else "id", value)
        query = f"DELETE FROM messages WHERE source = ? AND {column} = ? RETURNING id"
        gone = {name for (name,) in self.connection.execute(query, (deletion.source, value)).fetchall()}
        if not gone and not self.lasting:
            gone = {value}
        if not gone:
            return
        for table, key in (("alerts", "id"), ("outbox", "seq")):
            for name, text in self.connection.execute(f"SELECT {key}, body FROM {table}").fetchall():
                body = orjson.loads(text)
                if _without(body, deletion, gone):
                    changed = orjson.dumps(body).decode()
                    self.connection.execute(f"UPDATE {table} SET body = ? WHERE {key} = ?", (changed, name))
        row = self.connection.execute("SELECT body FROM parts WHERE name = 'alerts'").fetchone()
        alerts = orjson.loads(row[0]) if row else []
        if [alert for alert in alerts if _without(alert, deletion, gone)]:
            self._write_parts({"alerts": alerts})

    def undelivered(self, sink: str) -> list[tuple[int, AlertEvent]]:
        """Return what a sink was not sent yet, in order, at most 100."""
        delivered = "(SELECT ifnull(max(seq), 0) FROM delivered WHERE sink = ?)"
        query = f"SELECT seq, body FROM outbox WHERE seq > {delivered} ORDER BY seq LIMIT 100"
        with _errors(self._path):
            return [(seq, orjson.loads(body)) for seq, body in self.connection.execute(query, (sink,)).fetchall()]

    def mark_delivered(self, sink: str, seq: int) -> None:
        """Note that a sink has everything up to `seq`."""
        with _errors(self._path):
            self.connection.execute("INSERT OR REPLACE INTO delivered VALUES (?, ?)", (sink, seq))

    def tidy(self, sinks: Iterable[str]) -> None:
        """Take out of the outbox what all sinks have; without a sink, everything."""
        with _errors(self._path):
            seqs = [self.connection.execute("SELECT seq FROM delivered WHERE sink = ?", (sink,)).fetchone() for sink in sinks]
            if all(seqs):
                most = min((row[0] for row in seqs), default=_LARGEST_SEQ)
                self.connection.execute("DELETE FROM outbox WHERE seq <= ?", (most,))

    def forget_before(self, time: float) -> int:
        """Delete messages sent before a time, and alerts closed before it, some thousands at once; return how many."""
        old = f"SELECT rowid FROM messages WHERE time < ? LIMIT {_FORGOTTEN_AT_ONCE}"
        closed = "state = 'closed' AND CAST(strftime('%s', json_extract(body, '$.closed')) AS INTEGER) < ?"
        with _errors(self._path), self._transaction():
            gone = self.connection.execute(f"DELETE FROM messages WHERE rowid IN ({old})", (time,)).rowcount
            gone += self.connection.execute(f"DELETE FROM alerts WHERE {closed}", (time,)).rowcount
        if gone:
            with _errors(self._path):
                self.connection.execute("PRAGMA incremental_vacuum(1000)").fetchall()
        return gone

    def take_orders(self) -> list[Order]:
        """Return what `bongsu alerts` asks of the watch, and take it off the list."""
        with _errors(self._path):
            return [orjson.loads(body) for (body,) in self.connection.execute("DELETE FROM orders RETURNING body").fetchall()]

    def _transaction(self) -> AbstractContextManager[None]:
        return transaction(self.connection)


class Reader:
    """A store as another process sees it while a watch runs."""

    def __init__(self, path: Path) -> None:
        """Raises: WorkspaceError: when there is no store of this version."""
        self._path = path
        if not path.is_file():
            what = "a folder" if path.is_dir() else "no such file"
            raise WorkspaceError(f"{path}: {what}; name the file that `bongsu watch --store` writes.")
        with _errors(path), closing(self._connect()) as connection:
            if connection.execute("PRAGMA user_version").fetchone() != (_VERSION,):
                raise WorkspaceError(f"{path}: not a store of this version of Bongsu; start `bongsu watch` on it first.")

    def alerts(self, closed: bool = False) -> list[AlertEvent]:
        """Return the open alerts, oldest first; the closed ones as well if asked."""
        where = "" if closed else "WHERE state != 'closed'"
        with _errors(self._path), closing(self._connect()) as connection:
            rows = connection.execute(f"SELECT body FROM alerts {where} ORDER BY json_extract(body, '$.raised')").fetchall()
        return [orjson.loads(body) for (body,) in rows]

    def order(self, order: Order) -> None:
        """Ask something of the watch: it looks about once a second."""
        with _errors(self._path), closing(self._connect()) as connection:
            connection.execute("INSERT INTO orders (body) VALUES (?)", (orjson.dumps(order).decode(),))

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, isolation_level=None, timeout=5)


def _locked(path: Path) -> FileLock:
    if not path.parent.is_dir():
        raise WorkspaceError(f"{path}: there is no folder {path.parent}; make it first.")
    lock = FileLock(path.with_name(path.name + ".lock"), timeout=0, mode=0o600)
    try:
        with disk_errors(path):
            lock.acquire()
    except Timeout:
        raise WorkspaceError(f"{path}: another watch uses it.") from None
    return lock


def _file_id(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from any other; None where there is none."""
    with suppress(FileNotFoundError):
        status = path.stat()
        return status.st_dev, status.st_ino
    return None


def _errors(path: Path) -> AbstractContextManager[None]:
    return database_errors(path, _ERRORS)


def _without(body: dict[str, Any], deletion: Deletion, gone: set[str]) -> bool:
    """Take messages out of an alert's evidence; return whether any was in it."""
    by_author = deletion.author and not deletion.id
    kept = [
        item
        for item in body["evidence"]
        if item.get("source", "") != deletion.source
        or not (item["id"] in gone or (by_author and item["author"] == deletion.author))
    ]
    found = len(kept) < len(body["evidence"])
    body["evidence"] = kept
    return found


def _parts_from_2(old: dict[str, Any]) -> dict[str, Any]:
    def uid(message: dict[str, Any]) -> str:
        return unique(redacted(message["source"]), message["id"])

    alerts = old["open"]
    for alert in alerts:
        alert["reported"], alert["authors"] = alert.pop("told", 0), alert["messages"]
    messages = [
        (uid(message), probability, bin, free, free, alert)
        for message, probability, bin, free, alert in old["recent"]["messages"]
    ]
    return {
        "baseline": old["baseline"],
        "alerts": alerts,
        "waiting": [(uid(message), probability) for message, probability in old["waiting"]],
        "recent": {"messages": messages, "free": old["recent"]["free"], "voices": []},
        "references": old["references"],
        "clock": {"watermark": old["watermark"], "next": old["next"], "counts": {}},
    }
