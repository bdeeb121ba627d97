"""Bring a database to the schema this version knows: create, upgrade, or refuse.

Flow:    SqlLedger.open, before anything else. Alembic is loaded only for a ledger of an earlier version.
Imports: errors, and database, dialects, tables of the ledger.

A new ledger is made from tables.py, an older one is brought there by migrations; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from hybrid_memory.errors import LedgerError
from hybrid_memory.ledger import migrations
from hybrid_memory.ledger.database import Database
from hybrid_memory.ledger.dialects import dialect_of
from hybrid_memory.ledger.tables import metadata

__all__ = ["HEAD", "prepare"]

HEAD = "0012"
"""The newest revision in migrations/versions; a test compares the two."""


def prepare(database: Database, *, created: Callable[[Connection], None] | None = None) -> None:
    """Create or upgrade the tables when that is needed.

    Args:
        database: where they lie, or will.
        created: called once the tables are made for the first time, in the same transaction.

    Raises:
        LedgerError: the database is another program's, or was written by a newer version of this package.
    """
    with database.reading() as connection:
        if _revision(connection, database.name) == HEAD:
            return
    with database.writing() as connection:
        found = _revision(connection, database.name)  # another process may have been faster
        if found is None:
            _create(connection)
            if created is not None:
                created(connection)
        elif found != HEAD:
            _upgrade(connection, found, database.name)


def _revision(connection: Connection, path: str) -> str | None:
    names = inspect(connection).get_table_names()
    if "alembic_version" in names:
        return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())
    if names:
        raise LedgerError(
            f"{path} is a database of another program (its tables: {', '.join(names[:5])}); give another path"
        )
    return None


def _create(connection: Connection) -> None:
    """Make everything at once, and note the revision as Alembic does."""
    metadata.create_all(connection, checkfirst=False)
    for statement in dialect_of(connection).GUARDS:
        connection.execute(text(statement))
    version = "version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)"
    connection.execute(text(f"CREATE TABLE alembic_version ({version})"))
    connection.execute(text("INSERT INTO alembic_version (version_num) VALUES (:head)"), {"head": HEAD})


def _upgrade(connection: Connection, found: str, path: str) -> None:
    from alembic import command  # 0.2 s, and only a ledger of an earlier version needs it
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__path__[0])).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    if found not in known:
        raise LedgerError(
            f"{path} has schema {found}, written by a newer version of this package (this one knows up to {HEAD}); "
            "upgrade with `pip install -U hybrid-memory-sdk`"
        )
    command.upgrade(config, "head")
