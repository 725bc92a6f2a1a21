"""What a watch knows, in SQLite: messages that pass, alerts, where each source stands, what each sink was told.

A batch is one transaction. What is told to the sinks is written there first (an outbox) and ticked off when a sink has it:
after a kill at any moment every alert is still there, and at most the one that was being handed over is handed over again.
Cursors are saved only together with the state that they belong to.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from bongsu.errors import WorkspaceError
from bongsu.files import disk_errors
from bongsu.watch.messages import Deletion, Message

_FORMAT = 2
"""Of the state: what an earlier Bongsu wrote cannot be gone on from."""
_TABLES = """
CREATE TABLE IF NOT EXISTS messages (
  id TEXT PRIMARY KEY, time REAL NOT NULL, text TEXT NOT NULL, probability REAL NOT NULL, author TEXT NOT NULL,
  source TEXT NOT NULL, joined TEXT);
CREATE INDEX IF NOT EXISTS messages_author ON messages (author);
CREATE TABLE IF NOT EXISTS alerts (id TEXT PRIMARY KEY, state TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS delivered (sink TEXT PRIMARY KEY, seq INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS cursors (source TEXT PRIMARY KEY, cursor TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS state (one INTEGER PRIMARY KEY CHECK (one = 1), body TEXT NOT NULL);
"""


class Store:
    """A watch's memory; without a path it lives as long as the process and keeps no messages."""

    def __init__(self, path: Path | None) -> None:
        """Raises: WorkspaceError: when the file is not a store, or another watch has it open."""
        self._keeps_messages = path is not None
        self.connection = sqlite3.connect(path or ":memory:", isolation_level=None)
        try:
            # Exclusive: two watches in one store would each undo the other's cursor.
            for setting in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
                self.connection.execute(f"PRAGMA {setting}")
            self.connection.executescript(_TABLES)
        except sqlite3.OperationalError as error:
            raise WorkspaceError(f"{path}: cannot be opened ({error}). Does another watch use it?") from None
        except sqlite3.DatabaseError:
            raise WorkspaceError(f"{path}: not a store of `bongsu watch`; name a new file.") from None
        self._path = path or Path(":memory:")
        if self.state() is not None and self.connection.execute("PRAGMA user_version").fetchone() != (_FORMAT,):
            raise WorkspaceError(f"{path}: another version of Bongsu wrote it; this one cannot go on from it. Name a new file.")
        self.connection.execute(f"PRAGMA user_version={_FORMAT}")

    def close(self) -> None:
        """Gives the file back."""
        self.connection.close()

    def state(self) -> Any:
        """What `save` was last given as state; None for a new store."""
        row = self.connection.execute("SELECT body FROM state").fetchone()
        return orjson.loads(row[0]) if row else None

    def cursors(self) -> dict[str, Any]:
        """Where each source stands."""
        return {
            source: orjson.loads(cursor) for source, cursor in self.connection.execute("SELECT source, cursor FROM cursors")
        }

    def save(
        self,
        passed: Iterable[tuple[Message, float]] = (),
        joined: Iterable[tuple[str, str]] = (),
        deletions: Iterable[Deletion] = (),
        told: Iterable[dict[str, Any]] = (),
        resume: tuple[Any, dict[str, Any]] | None = None,
    ) -> None:
        """Writes a batch, whole or not at all.

        Args:
            passed: messages and their probabilities.
            joined: near-duplicates and the messages they were joined to.
            told: what the sinks are to be told, in order.
            resume: the state and the cursors that belong to it.
        """
        run = self.connection.execute
        with disk_errors(self._path):
            run("BEGIN IMMEDIATE")
            try:
                if self._keeps_messages:
                    rows = [(one.id, one.time, one.text, probability, one.author, one.source) for one, probability in passed]
                    insert = (
                        "INSERT OR IGNORE INTO messages (id, time, text, probability, author, source) VALUES (?, ?, ?, ?, ?, ?)"
                    )
                    self.connection.executemany(insert, rows)
                    self.connection.executemany("UPDATE messages SET joined = ?2 WHERE id = ?1", joined)
                for body in told:
                    run("INSERT INTO outbox (body) VALUES (?)", (orjson.dumps(body).decode(),))
                    run(
                        "INSERT OR REPLACE INTO alerts VALUES (?, ?, ?)",
                        (body["id"], body["state"], orjson.dumps(body).decode()),
                    )
                for deletion in deletions:
                    self._forget(deletion)
                if resume is not None:
                    state, cursors = resume
                    run(
                        "INSERT OR REPLACE INTO state VALUES (1, ?)",
                        (orjson.dumps(state, option=orjson.OPT_NON_STR_KEYS).decode(),),
                    )
                    rows_of_cursors = [(source, orjson.dumps(cursor).decode()) for source, cursor in cursors.items()]
                    self.connection.executemany("INSERT OR REPLACE INTO cursors VALUES (?, ?)", rows_of_cursors)
                run("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    run("ROLLBACK")
                raise

    def _forget(self, deletion: Deletion) -> None:
        """Takes messages away, also from what was or will be told of alerts."""
        where, value = ("author = ?", deletion.author) if deletion.author else ("id = ?", deletion.id)
        gone = {name for (name,) in self.connection.execute(f"DELETE FROM messages WHERE {where} RETURNING id", (value,))}
        for table, column in (("alerts", "id"), ("outbox", "seq")) if gone else ():
            for key, text in self.connection.execute(f"SELECT {column}, body FROM {table}").fetchall():
                body = orjson.loads(text)
                kept = [item for item in body["evidence"] if item["id"] not in gone]
                if len(kept) < len(body["evidence"]):
                    body["evidence"] = kept
                    self.connection.execute(
                        f"UPDATE {table} SET body = ? WHERE {column} = ?", (orjson.dumps(body).decode(), key)
                    )

    def undelivered(self, sink: str) -> list[tuple[int, dict[str, Any]]]:
        """What a sink has not been told yet, in order, at most 100."""
        told = "(SELECT ifnull(max(seq), 0) FROM delivered WHERE sink = ?)"
        query = f"SELECT seq, body FROM outbox WHERE seq > {told} ORDER BY seq LIMIT 100"
        return [(seq, orjson.loads(body)) for seq, body in self.connection.execute(query, (sink,))]

    def tick_off(self, sink: str, seq: int) -> None:
        """A sink has been told everything up to `seq`."""
        with disk_errors(self._path):
            self.connection.execute("INSERT OR REPLACE INTO delivered VALUES (?, ?)", (sink, seq))

    def tidy(self, sinks: Iterable[str]) -> None:
        """Takes out of the outbox what all sinks have."""
        seqs = [self.connection.execute("SELECT seq FROM delivered WHERE sink = ?", (sink,)).fetchone() for sink in sinks]
        if seqs and all(seqs):
            self.connection.execute("DELETE FROM outbox WHERE seq <= ?", (min(row[0] for row in seqs),))
