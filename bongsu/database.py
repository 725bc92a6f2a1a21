"""SQLite as every store of Bongsu uses it: private files, whole transactions, errors in one line."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bongsu.errors import WorkspaceError
from bongsu.files import disk_errors

IN_MEMORY = Path(":memory:")
_BUSY_SECONDS = 5


def connect(path: Path, check: Callable[[sqlite3.Connection], None], *settings: str) -> sqlite3.Connection:
    """Return a connection that several threads may use; a new file is readable by its owner alone (mode 0600).

    A commit waits for the disk, others may read meanwhile, and what is deleted is overwritten.

    Args:
        check: raises an error for a file that is not to be used; until then nothing is written to it.
        settings: more PRAGMAs, such as "auto_vacuum=INCREMENTAL", set before the usual ones.
    """
    if path != IN_MEMORY and not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_BUSY_SECONDS)
    try:
        check(connection)
        for setting in (*settings, "journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
            connection.execute(f"PRAGMA {setting}")
    except BaseException:
        connection.close()
        raise
    return connection


def run_script(connection: sqlite3.Connection, script: str) -> None:
    """Run statements within the transaction at hand, which `executescript` would commit."""
    for statement in filter(str.strip, script.split(";")):
        connection.execute(statement)


def table_names(connection: sqlite3.Connection) -> set[str]:
    """Return the names of the tables."""
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what the block does, or none of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def database_errors(path: Path, messages: Mapping[str, str]) -> Iterator[None]:
    """Turn SQLite's errors into one clear line.

    Args:
        messages: what to say of an error, by the beginning of SQLite's name for it, such as "SQLITE_FULL"; "{error}" stands for
            SQLite's own words.

    Raises:
        WorkspaceError: naming the file.
    """
    try:
        with disk_errors(path):
            yield
    except sqlite3.DatabaseError as error:
        name = getattr(error, "sqlite_errorname", "")
        message = next((text for start, text in messages.items() if name.startswith(start)), "cannot be used ({error}).")
        raise WorkspaceError(f"{path}: {message.format(error=error)}") from None
