"""Connections to the ledger's database: many readers, one writer, errors that say what to do.

Flow:    `SqlLedger` asks for `reading()` or `writing()`; the other modules get the connection.
Imports: errors, sqlite (the dialect).

A write takes the lock file first (so writers of several processes queue up politely, and a
time-out can name the file), then BEGIN IMMEDIATE. Readers take no lock: WAL gives each of them
the snapshot of the moment it began.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from hybrid_memory.errors import LedgerError, LockedError
from hybrid_memory.ledger import sqlite

__all__ = ["Database"]

_WRITES = "hybrid_memory_writes"


class Database:
    """One database file, its lock file, and a pool of connections."""

    def __init__(self, url: str, *, lock_path: Path, lock_timeout_s: float) -> None:
        """Prepare an engine; nothing is opened yet, except that missing folders are made.

        Args:
            url: SQLAlchemy URL of a SQLite file, such as "sqlite:////var/lib/acme/ledger.sqlite".
            lock_path: the writer's lock file, next to the database.
            lock_timeout_s: how long a write waits for another process's write, in seconds.

        Raises:
            LedgerError: the URL is not one of a SQLite file.
        """
        self.path = _sqlite_file(url)
        self._lock_path = lock_path
        self._lock_timeout_s = lock_timeout_s
        with self._named_errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock_path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(lock_path, timeout=lock_timeout_s, poll_interval=0.005)
        self._engine = _engine(url, busy_timeout_s=lock_timeout_s)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that sees one snapshot of the database; never waits for a writer."""
        with self._named_errors(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection inside one write transaction; it is durable when the block ends without an error.

        Raises:
            LockedError: another process has been writing for longer than the time-out.
            LedgerError: the disk is full, or the database is damaged.
        """
        with self._named_errors(), self._locked(), self._engine.connect() as connection:
            connection = connection.execution_options(**{_WRITES: True})
            with connection.begin():
                yield connection

    @contextmanager
    def maintaining(self) -> Iterator[sqlite3.Connection]:
        """Give the driver's own connection, outside any transaction (backup, checkpoint)."""
        with self._named_errors():
            raw = self._engine.raw_connection()
            try:
                driver = raw.driver_connection
                assert isinstance(driver, sqlite3.Connection)
                yield driver
            finally:
                raw.close()

    def close(self) -> None:
        """Close every connection and give the lock back."""
        self._engine.dispose()
        self._lock.release(force=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._lock.acquire()
        except Timeout as error:
            raise self._busy() from error
        try:
            yield
        finally:
            self._lock.release()

    def _busy(self) -> LockedError:
        return LockedError(
            f"another process has been writing to this memory for more than {self._lock_timeout_s:g} s "
            f"(lock file {self._lock_path}); try again, raise ledger.lock_timeout_s, or stop that process. "
            "The lock goes with its process, so there is no need to delete the file"
        )

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Turn the driver's errors into ours, with the file's name and the mend."""
        try:
            yield
        except DBAPIError as error:
            raise self._translated(str(error.orig)) from error
        except (sqlite3.Error, OSError) as error:
            raise self._translated(str(error)) from error

    def _translated(self, message: str) -> LedgerError | LockedError:
        if "locked" in message or "busy" in message:
            return self._busy()
        return LedgerError(f"{self.path}: {message}. {sqlite.mend(message)}")


def _sqlite_file(url: str) -> Path:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise LedgerError(f"{url!r} is not a database URL; give one like sqlite:////folder/ledger.sqlite") from error
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        raise LedgerError(
            f"the ledger keeps its data in a SQLite file, got {parsed.render_as_string()!r}; "
            "give a URL like sqlite:////folder/ledger.sqlite"
        )
    return Path(parsed.database)


def _engine(url: str, *, busy_timeout_s: float) -> Engine:
    engine = create_engine(
        url,
        max_overflow=-1,  # a reader never waits for another reader to give its connection back
        json_serializer=lambda value: json.dumps(value, ensure_ascii=False, allow_nan=False),
    )

    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        sqlite.prepare(connection, busy_timeout_s=busy_timeout_s)

    def begin(connection: Connection) -> None:
        # Python's driver would begin on its own, late and deferred: a write that upgrades a read fails at once
        # with "database is locked". `prepare` switches that off, so the transaction begins here.
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine
