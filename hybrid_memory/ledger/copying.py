"""Copy a whole ledger: into one SQLite file (backup, export), or from one into a new database (moving).

Flow:    SqlLedger.backup, SqlLedger.open.
Imports: errors, and database, dialects, schema, sqlite, tables of the ledger.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from sqlalchemy import Connection, insert, select

from hybrid_memory.errors import LedgerError
from hybrid_memory.ledger import sqlite
from hybrid_memory.ledger.database import Database
from hybrid_memory.ledger.dialects import dialect_of
from hybrid_memory.ledger.schema import prepare
from hybrid_memory.ledger.tables import metadata

__all__ = ["backup", "begin"]

_ROWS = 1000
"""Rows read and written at a time."""


def backup(database: Database, path: Path) -> None:
    """Write a consistent copy of a ledger to `path` as a SQLite file, aside first; others go on meanwhile."""
    if database.file is not None:
        with database.maintaining() as driver:
            sqlite.copy_to(driver, path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".backup-") as aside:
        copy = Database(f"sqlite:///{aside}/ledger.sqlite", lock_path=Path(aside) / "lock", lock_timeout_s=1)
        try:
            prepare(copy)
            with database.reading() as source, copy.writing() as target:
                _fill(target, source)
            with copy.maintaining() as driver:
                sqlite.copy_to(driver, path)
        finally:
            copy.close()


def begin(connection: Connection, name: str, *, former: Path | None, adapters: Path | None) -> None:
    """Let a ledger whose tables have just been made take over what a former one holds.

    Args:
        connection: inside the transaction that made the tables.
        name: what messages call the new ledger.
        former: SQLite file of the ledger that it replaces; None, or no such file: it begins empty.
        adapters: folder of adapter versions. Beside an empty ledger they are refused: it knows none of them, and
            upkeep would sweep them away.

    Raises:
        LedgerError: there are adapters, and no former ledger that knows them.
    """
    if former is not None and former.is_file() and former.stat().st_size:
        source = Database(f"sqlite:///{former}", lock_path=former.with_name("writer.lock"), lock_timeout_s=1)
        try:
            prepare(source)
            with source.reading() as rows:
                _fill(connection, rows)
        finally:
            source.close()
    elif adapters is not None and adapters.is_dir() and any(path.name[0] != "." for path in adapters.iterdir()):
        raise LedgerError(
            f"the ledger {name} is missing or empty, but {adapters} holds adapters that another ledger knows; bring "
            "that ledger back, restore an export into a new folder (HybridMemory.restore), or move the adapters away "
            "to begin anew"
        )


def _fill(target: Connection, source: Connection) -> None:
    """Copy every row into empty tables, ids included."""
    for table in metadata.sorted_tables:
        rows = source.execution_options(yield_per=_ROWS).execute(select(table)).mappings()
        for part in rows.partitions(_ROWS):
            target.execute(insert(table), [dict(row) for row in part])
    dialect_of(target).number_on(target)
