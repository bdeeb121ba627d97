"""What the ledger asks of a database that SQL alone does not cover, and which module answers for which database.

Flow:    database.py, copying.py, keeping.py and the migrations ask `dialect_of`.
Imports: errors, types, and sqlite, postgresql of the ledger.

`sqlite.py` and `postgresql.py` have the same functions; SQL expressions that differ are in `expressions.py`.
Everything else is plain SQLAlchemy Core.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from sqlalchemy import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError

from hybrid_memory.errors import LedgerError
from hybrid_memory.ledger import postgresql, sqlite
from hybrid_memory.types import quoted

__all__ = ["Dialect", "dialect_of", "dialect_of_url"]


class Dialect(Protocol):
    """A module that answers for one database."""

    GUARDS: tuple[str, ...]
    """What tables.py cannot describe; a new ledger gets it."""
    SCHEMA: tuple[str, ...]
    """What migration 0001 runs."""
    NO_FULL_TEXT: tuple[str, ...]
    """What migration 0005 runs."""
    READING: Mapping[str, Any]
    """Execution options that give a reader one snapshot for all its statements."""

    def engine(self, url: URL, *, lock_timeout_s: float) -> Engine:
        """Return a pool of connections, each of which is durable and safe to share between threads."""
        ...

    def lock_writers(self, connection: Connection, *, lock_timeout_s: float) -> None:
        """Keep every other writer out until the transaction ends, where the lock file cannot do it."""
        ...

    def has_statistics(self, connection: Connection) -> bool:
        """Tell whether the database can plan its queries, inside a write; gather what it needs when there is enough.

        Once it is so, nobody needs to ask again.
        """
        ...

    def is_busy(self, error: BaseException) -> bool:
        """Tell whether an error of the driver says that somebody else was writing for too long."""
        ...

    def mend(self, message: str) -> str:
        """Return what a user can do about an error message of the driver, in one sentence."""
        ...

    def number_on(self, connection: Connection) -> None:
        """Let new rows be numbered after those that were copied in with their numbers."""
        ...

    def damage(self, connection: Connection) -> list[str]:
        """Return what the database itself finds wrong, one sentence each."""
        ...

    def size_bytes(self, connection: Connection) -> int:
        """Return how much room the ledger takes, in bytes."""
        ...

    def wipe(self, driver: Any, *, patience_s: float) -> bool:
        """Let deleted text go from the database's files, outside any transaction; False when it is to be tried again.

        Whoever still reads old pages is waited for, at most `patience_s` seconds.
        """
        ...


_BY_NAME: Mapping[str, Dialect] = {"sqlite": sqlite, "postgresql": postgresql}


def dialect_of(connection: Connection) -> Dialect:
    """Return the module for the database behind a connection."""
    return _BY_NAME[connection.dialect.name]


def dialect_of_url(url: str) -> tuple[URL, Dialect]:
    """Read a database URL and return it with its module.

    Raises:
        LedgerError: it is no URL, or one of a database that the ledger does not know.
    """
    accepted = "give one like sqlite:////folder/ledger.sqlite or postgresql://user:password@host/database"
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise LedgerError(f"{quoted(url)} is not a database URL; {accepted}") from error
    kind = parsed.drivername.partition("+")[0]
    if kind not in _BY_NAME:
        raise LedgerError(
            f"the ledger lies in SQLite or PostgreSQL, got {quoted(parsed.render_as_string())}; {accepted}"
        )
    if kind == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise LedgerError(f"the ledger needs a file, got {quoted(parsed.render_as_string())}; {accepted}")
    return parsed, _BY_NAME[kind]
