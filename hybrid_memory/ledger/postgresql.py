"""What only PostgreSQL understands: the writers' lock, full text with BM25, triggers, sizes.

Flow:    see dialects.py; sqlite.py is the counterpart.
Imports: errors, and tables of the ledger. psycopg is loaded with the first PostgreSQL URL.
"""

from __future__ import annotations

import importlib.util
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    URL,
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    Float,
    Select,
    bindparam,
    column,
    create_engine,
    delete,
    event,
    select,
    table,
    text,
)

from hybrid_memory.errors import MissingExtraError
from hybrid_memory.ledger.tables import metadata, passages, records

__all__ = [
    "READING",
    "SCHEMA",
    "add_full_text",
    "damage",
    "engine",
    "is_busy",
    "lock_writers",
    "matching",
    "mend",
    "number_on",
    "remove_full_text",
    "size_bytes",
    "wipe",
]

READING: Mapping[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}

SCHEMA: tuple[str, ...] = (
    # English endings are folded and no word is left out, as SQLite's "porter" does: BM25 weighs common words itself.
    "CREATE TEXT SEARCH DICTIONARY hybrid_memory_stem (TEMPLATE = pg_catalog.snowball, LANGUAGE = english)",
    "CREATE TEXT SEARCH CONFIGURATION hybrid_memory (COPY = pg_catalog.simple)",
    """ALTER TEXT SEARCH CONFIGURATION hybrid_memory
         ALTER MAPPING FOR asciiword, word, numword WITH hybrid_memory_stem""",
    """CREATE TABLE passages_fts (
         passage_id bigint PRIMARY KEY REFERENCES passages (id), words tsvector NOT NULL, length integer NOT NULL)""",
    "CREATE INDEX ix_passages_fts_words ON passages_fts USING gin (words)",
    """CREATE FUNCTION hybrid_memory_keep_events() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN RAISE EXCEPTION 'events are append-only'; END $$""",
    """CREATE TRIGGER events_keep BEFORE UPDATE OR DELETE OR TRUNCATE ON events
         FOR EACH STATEMENT EXECUTE FUNCTION hybrid_memory_keep_events()""",
)
"""What Alembic cannot describe; migration 0001 runs it. Never edited: a change is a later migration's own list."""

_MAX_TERMS = 64
"""Words of a question that are searched for; a pasted page adds cost, not precision."""
_LOCKED = "55P03"
"""SQLSTATE lock_not_available: lock_timeout ran out (postgresql.org/docs/current/errcodes-appendix.html)."""

_BM25 = """
    WITH asked AS (
      SELECT tsvector_to_array(to_tsvector('hybrid_memory', :question)) AS lexemes,
             replace(plainto_tsquery('hybrid_memory', :question)::text, ' & ', ' | ')::tsquery AS query),
    corpus AS (SELECT count(*) AS size, avg(length) AS mean FROM passages_fts),
    hits AS MATERIALIZED (
      SELECT passage_id, length, word.lexeme, cardinality(word.positions) AS count
      FROM asked, passages_fts, unnest(words) AS word(lexeme, positions, weights)
      WHERE words @@ asked.query AND word.lexeme = ANY (asked.lexemes)),
    rarity AS (
      SELECT lexeme, greatest(ln((size - count(*) + 0.5) / (count(*) + 0.5)), 1e-6) AS idf
      FROM hits, corpus GROUP BY lexeme, size)
    SELECT passage_id, sum(idf * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * length / mean)))::float8 AS score
    FROM hits JOIN rarity USING (lexeme), corpus GROUP BY passage_id"""
"""FTS5's own BM25 (k1 = 1.2, b = 0.75, idf at least 1e-6; sqlite.org/fts5.html, 4.1): ts_rank knows no rare words."""


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


# ---------------------------------------------------------------- full text

_words = table("passages_fts", column("passage_id", BigInteger()))


def add_full_text(connection: Connection, *, after: int) -> None:
    """Index the words of the passages whose id is greater than `after`."""
    rows = connection.execute(select(passages.c.id, passages.c.text).where(passages.c.id > after)).all()
    if rows:
        connection.execute(
            text("INSERT INTO passages_fts VALUES (:id, to_tsvector('hybrid_memory', :words), :length)"),
            [{"id": row.id, "words": " ".join(terms := _terms(row.text)), "length": len(terms)} for row in rows],
        )


def remove_full_text(connection: Connection, rows: Sequence[tuple[int, str]]) -> None:
    """Take passages (id, text) out of the word index; call it before they are deleted."""
    connection.execute(delete(_words).where(_words.c.passage_id.in_([row_id for row_id, _ in rows])))


def matching(question: str, condition: ColumnElement[bool], *, limit: int) -> Select[int, float] | None:
    """Return the query for the best passages by BM25 among those whose record meets `condition`.

    Any word of the question may match; punctuation is gone before PostgreSQL reads it, so no text is ever syntax.

    Returns:
        Rows (passage id, score > 0); None when the question has no words.
    """
    terms = list(dict.fromkeys(_terms(question)))[:_MAX_TERMS]
    if not terms:
        return None
    scored = (
        text(_BM25)
        .bindparams(bindparam("question", " ".join(terms)))
        .columns(column("passage_id", BigInteger()), column("score", Float()))
        .cte("scored")
    )
    return (
        select(passages.c.id, scored.c.score)
        .join_from(scored, passages, passages.c.id == scored.c.passage_id)
        .join(records, records.c.id == passages.c.record_id)
        .where(condition)
        .order_by(scored.c.score.desc(), passages.c.id)
        .limit(limit)
    )


def _terms(said: str) -> list[str]:
    """Return the words of a text, case and accents folded, as FTS5's tokenizer "unicode61" cuts them."""
    plain = "".join(sign for sign in unicodedata.normalize("NFKD", said.casefold()) if not unicodedata.combining(sign))
    return re.findall(r"[^\W_]+", plain)


# ---------------------------------------------------------------- keeping


def number_on(connection: Connection) -> None:
    """Let each sequence go on after the greatest number there is."""
    for name in ("passages.id", "removals.sequence", "events.id"):
        owner, _, number = name.partition(".")
        greatest = f"SELECT setval(pg_get_serial_sequence('{owner}', '{number}'), max({number})) FROM {owner}"
        connection.execute(text(f"{greatest} HAVING count(*) > 0"))


def damage(connection: Connection) -> list[str]:
    """Return what is wrong with the word index; the rest the server guards by itself."""
    lost = text("SELECT count(*) FROM passages WHERE id NOT IN (SELECT passage_id FROM passages_fts)")
    count = connection.execute(lost).scalar_one()
    return [f"{count} passages are missing from the full-text index"] if count else []


def size_bytes(connection: Connection) -> int:
    """Return the size of the ledger's tables and their indexes, in bytes."""
    names = [*metadata.tables, "passages_fts"]
    query = "SELECT sum(pg_total_relation_size(CAST(name AS regclass))) FROM unnest(CAST(:names AS text[])) AS name"
    return int(connection.execute(text(query), {"names": names}).scalar_one())


def wipe(driver: Any) -> None:
    """Clear deleted rows out of the tables.

    The server may keep what they said in free pages, in its write-ahead log and in its backups, until it uses them
    again: only its administrator can shorten that.
    """
    driver.autocommit = True
    try:
        driver.execute("VACUUM records, passages, passages_fts, self_edits, sources, adapters")
    finally:
        driver.autocommit = False
