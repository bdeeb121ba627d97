"""Bring a database to the schema this version knows: create, upgrade, or refuse.

Flow:    SqlLedger.open, before anything else. Alembic is loaded only when there is something to do.
Imports: errors, and database of the ledger.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from hybrid_memory.errors import LedgerError
from hybrid_memory.ledger import migrations
from hybrid_memory.ledger.database import Database

__all__ = ["HEAD", "prepare"]

HEAD = "0010"
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
        if found != HEAD:
            _upgrade(connection, found, database.name)
        if found is None and created is not None:
            created(connection)


def _revision(connection: Connection, path: str) -> str | None:
    names = inspect(connection).get_table_names()
    if "alembic_version" in names:
        return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())
    if names:
        raise LedgerError(
            f"{path} is a database of another program (its tables: {', '.join(names[:5])}); give another path"
        )
    return None


def _upgrade(connection: Connection, found: str | None, path: str) -> None:
    from alembic import command  # 0.2 s, and only the first opening needs it
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__path__[0])).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    if found is not None and found not in known:
        raise LedgerError(
            f"{path} has schema {found}, written by a newer version of this package (this one knows up to {HEAD}); "
            "upgrade with `pip install -U hybrid-memory-sdk`"
        )
    command.upgrade(config, "head")
