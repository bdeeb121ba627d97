"""What only SQLite understands: pragmas, triggers, checks and backup.

Flow:    see dialects.py; postgresql.py is the counterpart.
Imports: nothing of the ledger.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event

__all__ = [
    "GUARDS",
    "NO_FULL_TEXT",
    "READING",
    "SCHEMA",
    "WRITES",
    "copy_to",
    "damage",
    "engine",
    "has_statistics",
    "is_busy",
    "lock_writers",
    "mend",
    "number_on",
    "size_bytes",
    "wipe",
]

READING: Mapping[str, Any] = {}  # a deferred transaction sees one snapshot by itself

GUARDS: tuple[str, ...] = (
    """CREATE TRIGGER events_keep_update BEFORE UPDATE ON events
         BEGIN SELECT RAISE(ABORT, 'events are append-only'); END""",
    """CREATE TRIGGER events_keep_delete BEFORE DELETE ON events
         BEGIN SELECT RAISE(ABORT, 'events are append-only'); END""",
)
"""What tables.py cannot describe. Never edited either: migration 0001 runs it too."""

SCHEMA: tuple[str, ...] = (
    # External content: the words are indexed here, the text itself stays in `passages` only.
    """CREATE VIRTUAL TABLE passages_fts USING fts5(
         text, content='passages', content_rowid='id', tokenize='porter unicode61')""",
    *GUARDS,
)
"""What migration 0001 runs. Never edited: a change is a later migration's own list."""

NO_FULL_TEXT: tuple[str, ...] = ("DROP TABLE passages_fts",)
"""What migration 0005 runs."""


WRITES = "hybrid_memory_writes"
"""Execution option of a connection that is going to write."""


def engine(url: URL, *, lock_timeout_s: float) -> Engine:
    """Return a pool of connections, each durable, checked, and leaving nothing behind of what is deleted."""
    made = create_engine(
        url,
        max_overflow=-1,  # a reader never waits for another reader to give its connection back
        json_serializer=json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode,
    )

    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # see `begin`
        for pragma in (
            f"busy_timeout={int(lock_timeout_s * 1000)}",
            "journal_mode=WAL",
            "synchronous=FULL",  # NORMAL could lose acknowledged writes on power loss (sqlite.org/pragma.html)
            "foreign_keys=ON",
            "secure_delete=ON",  # deleted text is overwritten with zeros, not just unlinked
        ):
            connection.execute(f"PRAGMA {pragma}")
        connection.create_function("casefold", 1, _casefold, deterministic=True)

    def begin(connection: Connection) -> None:
        # Python's driver would begin on its own, late and deferred: a write that upgrades a read fails at once
        # with "database is locked". `prepare` switches that off, so the transaction begins here.
        writes = connection.get_execution_options().get(WRITES, False)
        driver: Any = connection.connection.driver_connection
        driver.execute("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(made, "connect", prepare)
    event.listen(made, "begin", begin)
    return made


def lock_writers(connection: Connection, *, lock_timeout_s: float) -> None:
    """Do nothing: the lock file and BEGIN IMMEDIATE have done it."""


def has_statistics(connection: Connection) -> bool:  # noqa: ARG001 - PostgreSQL needs it
    """Do nothing: tests count the steps that SQLite takes without any."""
    return True


def is_busy(error: BaseException) -> bool:
    """Tell whether another program kept SQLite's own lock for longer than the time-out."""
    return isinstance(error, sqlite3.OperationalError) and ("locked" in str(error) or "busy" in str(error))


def mend(message: str) -> str:
    """Return what a user can do about an error message of SQLite, in one sentence."""
    if "full" in message or "No space" in message:
        return "The disk is full and nothing was stored; free some space and try again"
    if "readonly" in message or "unable to open" in message or "Permission" in message:
        return "Check that the folder exists and that this user may write to it"
    if "append-only" in message:
        return "History is never rewritten; add an event instead"
    return (
        "The database may be damaged: run `hybrid-memory doctor`, and if it reports damage restore from an export "
        "(HybridMemory.restore)"
    )


def _casefold(value: str | float | bytes | None) -> str | float | bytes | None:
    return value.casefold() if isinstance(value, str) else value


# ---------------------------------------------------------------- keeping


def number_on(connection: Connection) -> None:
    """Do nothing: AUTOINCREMENT goes on from the greatest number there is."""


def damage(connection: Connection) -> list[str]:
    """Return what SQLite itself finds wrong, one sentence each."""
    found = [
        f"the database is damaged: {row[0]}"
        for row in connection.exec_driver_sql("PRAGMA integrity_check")
        if row[0] != "ok"
    ]
    for table, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        found.append(f"row {row} of table {table} refers to a missing row of table {parent}")
    return found


def size_bytes(connection: Connection) -> int:
    """Return the size of the database file, in bytes."""
    pages = int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())
    return pages * int(connection.exec_driver_sql("PRAGMA page_size").scalar_one())


def wipe(connection: sqlite3.Connection, *, patience_s: float) -> bool:
    """Move what was written into the database file and empty the journal, so that old pages of text go.

    Returns:
        False when a reader still needed the journal after `patience_s` seconds, or the disk is full: it is all there.
    """
    waits = connection.execute("PRAGMA busy_timeout").fetchone()[0]
    connection.execute(f"PRAGMA busy_timeout={int(patience_s * 1000)}")
    try:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError:  # nothing is lost by it, and what was to be written is written
        return False
    finally:
        connection.execute(f"PRAGMA busy_timeout={waits}")
    return not busy


def copy_to(connection: sqlite3.Connection, path: Path) -> None:
    """Write a consistent copy of the database to `path`: aside, flushed to disk, renamed into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.part")
    aside.unlink(missing_ok=True)
    target = sqlite3.connect(aside)
    try:
        connection.backup(target)
        target.execute("PRAGMA journal_mode=DELETE")  # one file, without -wal and -shm beside it
    finally:
        target.close()
    with aside.open("rb") as copied:
        os.fsync(copied.fileno())
    aside.replace(path)
