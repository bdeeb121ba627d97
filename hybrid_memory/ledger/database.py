"""Connections to the ledger's database: many readers, one writer, errors that say what to do.

Flow:    `SqlLedger` asks for `reading()` or `writing()`; the other modules get the connection.
Imports: errors, types, and dialects of the ledger.

In SQLite a write takes the lock file first (so writers of several processes queue up politely, and a time-out can
name the file), then BEGIN IMMEDIATE; in PostgreSQL it takes the server's advisory lock, since writers may sit on
several machines. Readers take no lock: each sees the snapshot of the moment it began.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from hybrid_memory.errors import InputError, LedgerError, LockedError
from hybrid_memory.ledger.dialects import dialect_of_url
from hybrid_memory.ledger.sqlite import WRITES
from hybrid_memory.types import quoted

__all__ = ["Database"]


class Database:
    """One database, its writers' lock, and a pool of connections."""

    def __init__(self, url: str, *, lock_path: Path, lock_timeout_s: float) -> None:
        """Prepare an engine; nothing is opened yet, except that missing folders are made.

        Args:
            url: SQLAlchemy URL, such as "sqlite:////var/lib/acme/ledger.sqlite" or "postgresql://host/database".
            lock_path: the lock file of SQLite's writers, next to the database.
            lock_timeout_s: how long a write waits for another process's write, in seconds.

        Raises:
            LedgerError: the URL names no SQLite file and no PostgreSQL database.
            MissingExtraError: PostgreSQL needs a package that is not installed.
        """
        parsed, self._dialect = dialect_of_url(url)
        self.file = Path(str(parsed.database)) if parsed.get_backend_name() == "sqlite" else None
        """The database file; None when it lies on a server."""
        self.name = str(self.file or parsed.render_as_string())
        """What messages call it; without a password."""
        self._lock_timeout_s = lock_timeout_s
        self._engine = self._dialect.engine(parsed, lock_timeout_s=lock_timeout_s)
        self._lock: FileLock | None = None
        if self.file is not None:
            with self._named_errors():
                self.file.parent.mkdir(parents=True, exist_ok=True)
                lock_path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(lock_path, timeout=lock_timeout_s, poll_interval=0.005)
        self._shared = threading.local()
        self._planned = False
        self._place: tuple[int, int] | None = None
        """Device and inode of the file that the connections have open."""
        self.wipe_due = False
        """Whether deleted text may still be in the journal; every write tries to change that, and so does closing."""

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that sees one snapshot of the database; never waits for a writer.

        Inside another one of the same thread it is that one: what is read there is read from the same snapshot.
        """
        shared: Connection | None = getattr(self._shared, "connection", None)
        if shared is not None:
            yield shared
            return
        with self._named_errors(), self._engine.connect() as connection:
            self._place = self._place or self._found()
            self._shared.connection = connection.execution_options(**self._dialect.READING)
            connection.begin()  # closing ends it; SQLAlchemy would begin with the first statement that it sees
            try:
                yield self._shared.connection
            finally:
                self._shared.connection = None

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection inside one write transaction; it is durable when the block ends without an error.

        Raises:
            LockedError: another process has been writing for longer than the time-out.
            LedgerError: the disk is full, the file or the server is gone, or the database is damaged.
        """
        self._stay()
        with self._named_errors(), self._locked():
            with self._engine.connect() as connection:
                self._place = self._place or self._found()
                connection = connection.execution_options(**{WRITES: True})
                with connection.begin():
                    self._dialect.lock_writers(connection, lock_timeout_s=self._lock_timeout_s)
                    yield connection
                    self._planned = self._planned or self._dialect.has_statistics(connection)
            if self.wipe_due:
                self.wipe()

    @contextmanager
    def maintaining(self) -> Iterator[Any]:
        """Give the driver's own connection, outside any transaction (backup, clearing up)."""
        with self._named_errors():
            raw = self._engine.raw_connection()
            try:
                yield raw.driver_connection
            finally:
                raw.close()

    def wipe(self, *, patience_s: float = 0.0) -> bool:
        """Let deleted text go from the database's files, as far as the database can; tell whether it has gone.

        Writers are kept out meanwhile. Those who write or read old pages are waited for, each at most `patience_s`
        seconds; `wipe_due` remembers what could not be done.
        """
        self.wipe_due = True
        try:
            held = nullcontext() if self._lock is None else self._lock.acquire(timeout=patience_s)
        except Timeout:
            return False
        with held, self.maintaining() as driver:
            self.wipe_due = not self._dialect.wipe(driver, patience_s=patience_s)
        return not self.wipe_due

    def close(self) -> None:
        """Close every connection and give the lock back."""
        if self.wipe_due:
            with suppress(LedgerError):  # the folder may be gone; whoever opens the ledger next tries again
                self.wipe()
        self._engine.dispose()
        if self._lock is not None:
            self._lock.release(force=True)

    def _stay(self) -> None:
        """Refuse to write where the file was moved, deleted or replaced: SQLite would go on in the one it has open."""
        if self._place not in (None, self._found()):
            raise LedgerError(
                f"{self.name} is not the file that was opened: it was moved, deleted or replaced since, and nothing "
                "was stored. Where it is missing bring it back; then close and open the memory again"
            )

    def _found(self) -> tuple[int, int] | None:
        """Return device and inode of the file that lies there now; None for none, and on a server."""
        try:
            here = None if self.file is None else os.stat(self.file)
        except OSError:  # the folder may be missing as well
            return None
        return here and (here.st_dev, here.st_ino)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            held = nullcontext() if self._lock is None else self._lock.acquire()
        except Timeout as error:
            raise self._busy() from error
        with held:
            yield

    def _busy(self) -> LockedError:
        message = f"another process has been writing to this memory for more than {self._lock_timeout_s:g} s "
        advice = "; try again, raise ledger.lock_timeout_s, or stop that process"
        if self._lock is None:
            return LockedError(f"{message}({self.name}){advice}")
        return LockedError(
            f"{message}(lock file {self._lock.lock_file}){advice}. "
            "The lock goes with its process, so there is no need to delete the file"
        )

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Turn the driver's errors into ours, with the database's name and the mend."""
        try:
            yield
        except DBAPIError as error:
            raise self._translated(error.orig or error) from error
        except (self._engine.dialect.loaded_dbapi.Error, OSError) as error:
            raise self._translated(error) from error
        except UnicodeEncodeError as error:
            raise InputError(
                f"{quoted(error.object)} has a lone surrogate in it, which is not Unicode; "
                "decode it with the right encoding"
            ) from error

    def _translated(self, error: BaseException) -> LedgerError | LockedError:
        if self._dialect.is_busy(error):
            return self._busy()
        message = str(error).strip()
        return LedgerError(f"{self.name}: {message}. {self._place_mend(error) or self._dialect.mend(message)}")

    def _place_mend(self, error: BaseException) -> str | None:
        """Return how to mend the folder; None when it is there and the trouble lies elsewhere."""
        if self.file is None or getattr(error, "errno", None) == errno.ENOSPC:
            return None
        folder = self.file.absolute().parent
        if not os.path.isdir(folder):
            return f"There is no folder {folder}: make it, bring it back from a backup, or name another in ledger.url"
        if isinstance(error, OSError) or not os.access(folder, os.W_OK | os.X_OK):
            return f"This user must be able to write to the folder {folder}: change its rights, or name another"
        return None
