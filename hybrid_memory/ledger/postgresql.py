"""What only PostgreSQL understands: the writers' lock, triggers, sizes.

Flow:    see dialects.py; sqlite.py is the counterpart.
Imports: errors, and tables of the ledger. psycopg is loaded with the first PostgreSQL URL.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text

from hybrid_memory.errors import MissingExtraError
from hybrid_memory.ledger.tables import metadata

__all__ = [
    "GUARDS",
    "NO_FULL_TEXT",
    "READING",
    "SCHEMA",
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

READING: Mapping[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}

GUARDS: tuple[str, ...] = (
    """CREATE FUNCTION hybrid_memory_keep_events() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN RAISE EXCEPTION 'events are append-only'; END $$""",
    """CREATE TRIGGER events_keep BEFORE UPDATE OR DELETE OR TRUNCATE ON events
         FOR EACH STATEMENT EXECUTE FUNCTION hybrid_memory_keep_events()""",
)
"""What tables.py cannot describe. Never edited either: migration 0001 runs it too."""

SCHEMA: tuple[str, ...] = (
    # English endings are folded and no word is left out, as SQLite's "porter" does: BM25 weighs common words itself.
    "CREATE TEXT SEARCH DICTIONARY hybrid_memory_stem (TEMPLATE = pg_catalog.snowball, LANGUAGE = english)",
    "CREATE TEXT SEARCH CONFIGURATION hybrid_memory (COPY = pg_catalog.simple)",
    """ALTER TEXT SEARCH CONFIGURATION hybrid_memory
         ALTER MAPPING FOR asciiword, word, numword WITH hybrid_memory_stem""",
    """CREATE TABLE passages_fts (
         passage_id bigint PRIMARY KEY REFERENCES passages (id), words tsvector NOT NULL, length integer NOT NULL)""",
    "CREATE INDEX ix_passages_fts_words ON passages_fts USING gin (words)",
    *GUARDS,
)
"""What migration 0001 runs. Never edited: a change is a later migration's own list."""

NO_FULL_TEXT: tuple[str, ...] = (
    "DROP TABLE passages_fts",
    "DROP TEXT SEARCH CONFIGURATION hybrid_memory",
    "DROP TEXT SEARCH DICTIONARY hybrid_memory_stem",
)
"""What migration 0005 runs."""
_TELLING = 100
"""Records from which a look at the tables says what they are like; fewer are read through in no time."""
_LOCKED = "55P03"
"""SQLSTATE lock_not_available: lock_timeout ran out (postgresql.org/docs/current/errcodes-appendix.html)."""


def engine(url: URL, *, lock_timeout_s: float) -> Engine:  # noqa: ARG001 - SQLite needs it here, this one per write
    """Return a pool of connections over psycopg 3; a connection that the server closed is replaced."""
    if url.drivername in ("postgresql", "postgresql+psycopg") and importlib.util.find_spec("psycopg") is None:
        raise MissingExtraError("a ledger in PostgreSQL needs psycopg: pip install 'hybrid-memory-sdk[postgres]'")
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    made = create_engine(
        url,
        max_overflow=-1,  # a reader never waits for another reader to give its connection back
        pool_pre_ping=True,
        json_serializer=lambda value: json.dumps(value, ensure_ascii=False, allow_nan=False),
    )

    def prepare(connection: Any, _record: object) -> None:
        # A server set up for speed may acknowledge before it is durable; for this ledger it may not.
        query = (
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )
        connection.execute(query)
        connection.commit()

    event.listen(made, "connect", prepare)
    return made


def lock_writers(connection: Connection, *, lock_timeout_s: float) -> None:
    """Wait for the one writer's lock of this schema, at most that long; it goes with the transaction.

    Passages are numbered in the order in which they become visible only because writers queue up here.
    """
    waits = f"{max(1, int(lock_timeout_s * 1000))}ms"
    connection.execute(text("SELECT set_config('lock_timeout', :waits, true)"), {"waits": waits})
    connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtext('hybrid_memory'), hashtext(coalesce(current_schema(), '')))")
    )


def has_statistics(connection: Connection) -> bool:
    """Tell whether the server knows what the tables are like; let it look at them once there is something to see.

    It does so by itself about a minute later. Until then the index of a scope seems as good to it as that of a slot,
    and what is evidence may read the whole scope for each of its records.
    """
    known = "SELECT EXISTS (SELECT FROM pg_stats WHERE schemaname = current_schema() AND tablename = 'records')"
    if connection.execute(text(known)).scalar_one():
        return True
    if connection.execute(text(f"SELECT 1 FROM records LIMIT 1 OFFSET {_TELLING - 1}")).first() is not None:
        connection.execute(text(f"ANALYZE {', '.join(metadata.tables)}"))
    return False


def is_busy(error: BaseException) -> bool:
    """Tell whether another writer kept the lock for longer than the time-out."""
    return getattr(error, "sqlstate", None) == _LOCKED


def mend(message: str) -> str:
    """Return what a user can do about an error message of PostgreSQL, in one sentence."""
    if "append-only" in message:
        return "History is never rewritten; add an event instead"
    if "index row" in message:
        return "PostgreSQL indexes up to about 2,700 bytes: shorten the id, key, subject or attribute"
    if "no schema" in message:
        return "Create the schema that the URL's search_path names, and let this user create tables in it"
    if "No space" in message or "disk full" in message:
        return "The server's disk is full and nothing was stored; free some space and try again"
    return "Nothing was stored; check that the server runs and that the URL names it, and see its log"


# ---------------------------------------------------------------- keeping


def number_on(connection: Connection) -> None:
    """Let each sequence go on after the greatest number there is."""
    for name in ("passages.id", "removals.sequence", "events.id"):
        owner, _, number = name.partition(".")
        greatest = f"SELECT setval(pg_get_serial_sequence('{owner}', '{number}'), max({number})) FROM {owner}"
        connection.execute(text(f"{greatest} HAVING count(*) > 0"))


def damage(connection: Connection) -> list[str]:  # noqa: ARG001 - SQLite needs it
    """Return nothing: the server guards its files and references by itself."""
    return []


def size_bytes(connection: Connection) -> int:
    """Return the size of the ledger's tables and their indexes, in bytes."""
    names = [*metadata.tables]
    query = "SELECT sum(pg_total_relation_size(CAST(name AS regclass))) FROM unnest(CAST(:names AS text[])) AS name"
    return int(connection.execute(text(query), {"names": names}).scalar_one())


def wipe(driver: Any, *, patience_s: float) -> bool:  # noqa: ARG001 - SQLite needs it
    """Clear deleted rows out of the tables; True, since nothing of it is left to do later.

    The server may keep what they said in free pages, in its write-ahead log and in its backups, until it uses them
    again: only its administrator can shorten that.
    """
    driver.autocommit = True
    try:
        driver.execute("VACUUM records, passages, self_edits, sources, adapters")
    finally:
        driver.autocommit = False
    return True
