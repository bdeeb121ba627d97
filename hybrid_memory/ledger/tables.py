"""The ledger's tables, as SQLAlchemy Core describes them.

Flow:    every module of the ledger reads and writes through these names. schema.py makes new tables of them,
         `migrations/` bring older ones there.
Imports: sqlalchemy only.

Times are whole microseconds since 1970 UTC (exact, and compared as numbers). Scopes are stored twice:
as four columns, and as `scope_key`, one text per scope, so that "what a query may see" is a short
list of keys and one index answers it. Triggers stand in `sqlite.py` and `postgresql.py`.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

__all__ = [
    "adapter_records",
    "adapters",
    "events",
    "former",
    "meta",
    "metadata",
    "passages",
    "queue",
    "records",
    "removals",
    "self_edits",
    "shards",
    "sources",
    "tombstones",
]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only for the exact type INTEGER.
_RowNumber = BigInteger().with_variant(Integer, "sqlite")


def _scope_columns() -> list[Column[str]]:
    return [
        Column("scope_key", Text, nullable=False),
        Column("tenant_id", Text),
        Column("user_id", Text),
        Column("agent_id", Text),
        Column("run_id", Text),
    ]


def _of_those_with(column: str, name: str, *columns: str) -> Index:
    """Return an index without the rows in which a column is empty: most records have no slot, shard or end."""
    there = text(f"{column} IS NOT NULL")
    return Index(name, *columns, sqlite_where=there, postgresql_where=there)


records = Table(
    "records",
    metadata,
    Column("id", String(26), primary_key=True),
    *_scope_columns(),
    Column("text", Text, nullable=False),
    Column("asked", Text),  # the question that a turn answers
    Column("kind", String(16), nullable=False),
    Column("source", Text, nullable=False),
    Column("trust", String(16), nullable=False),
    Column("observed_at", BigInteger, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Column("valid_from", BigInteger, nullable=False),
    Column("valid_to", BigInteger),
    Column("declared_to", BigInteger),  # the end it came with; valid_to may end earlier, at its successor
    Column("confirmed_from", BigInteger, nullable=False),  # the latest valid_from anybody stated it with
    Column("expires_at", BigInteger),
    Column("slot_key", Text),
    Column("subject", Text),
    Column("attribute", Text),
    Column("value", Text),
    Column("version", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("superseded_by", String(26)),
    Column("supersedes", String(26)),
    Column("route", String(16), nullable=False),
    Column("decision", JSON, nullable=False),
    Column("learning", String(16), nullable=False),
    Column("learning_detail", Text, nullable=False),
    Column("shard_id", Text),
    Column("examples", JSON, nullable=False),
    Column("content_hash", String(64), nullable=False),
    Column("near_hash", String(64), nullable=False, server_default=""),
    Column("own_hash", String(64)),  # near_hash of the turn that it states anew
    Column("row_hash", String(64)),  # of the row of an export that it came from
    Column("idempotency_key", Text),
    Column("metadata", JSON, nullable=False),
    UniqueConstraint("scope_key", "idempotency_key"),
    Index("ix_records_visible", "scope_key", "status", "valid_from"),
    # Only paging.py says this condition in these words: SQLite would use the index wherever ids are to be in order.
    Index(
        "ix_records_page",
        "scope_key",
        "id",
        sqlite_where=text("status <> 'forgotten'"),
        postgresql_where=text("status <> 'forgotten'"),
    ),
    # With the scope: SQLite would rather read every record of the scope than look up a hash and compare scopes.
    Index("ix_records_content_hash", "content_hash", "scope_key"),
    Index("ix_records_near_hash", "near_hash", "scope_key"),
    _of_those_with("own_hash", "ix_records_own_hash", "own_hash", "scope_key"),
    _of_those_with("row_hash", "ix_records_row_hash", "row_hash"),
    # With all that the look for an interrupting value asks: SQLite would rather use ix_records_visible for it.
    _of_those_with("slot_key", "ix_records_slot", "slot_key", "scope_key", "status", "valid_from"),
    _of_those_with("superseded_by", "ix_records_superseded_by", "superseded_by"),
    _of_those_with("shard_id", "ix_records_shard_id", "shard_id"),
    _of_those_with("valid_to", "ix_records_valid_to", "status", "valid_to"),
    _of_those_with("expires_at", "ix_records_expires_at", "status", "expires_at"),
)

_CHANGING = (
    "source",
    "trust",
    "kind",
    "valid_from",
    "valid_to",
    "expires_at",
    "status",
    "superseded_by",
    "route",
    "decision",
    "learning",
    "learning_detail",
    "shard_id",
    "metadata",
)

former = Table(
    "former",
    metadata,
    Column("record_id", ForeignKey("records.id"), primary_key=True),
    Column("until", BigInteger, primary_key=True),  # when the change was recorded: not the end of a validity
    *(Column(name, records.c[name].type, nullable=records.c[name].nullable) for name in _CHANGING),
)
"""How a record stood before each change of it; what never changes is in `records` alone."""

sources = Table(
    "sources",
    metadata,
    Column("record_id", ForeignKey("records.id"), primary_key=True),
    Column("source", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
    # whether a user or the operator said it: strangers count for strangers
    Column("vouched", Boolean, nullable=False, server_default=false()),
)
"""Who said it: one row for each distinct source of a record. Confirmations are counted here."""

passages = Table(
    "passages",
    metadata,
    Column("id", _RowNumber, primary_key=True),
    Column("record_id", ForeignKey("records.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("text", Text, nullable=False),
    # a sentence of the record's text: it serves to find the passage at position 0, and is never given back itself
    Column("sentence", Boolean, nullable=False, server_default=false()),
    Column("vector", LargeBinary, nullable=False),  # float32, little endian
    Column("encoder", Text, nullable=False),
    UniqueConstraint("record_id", "position"),
    sqlite_autoincrement=True,  # an id is never used again: the vector index remembers them
)

removals = Table(
    "removals",
    metadata,
    Column("sequence", _RowNumber, primary_key=True),
    Column("passage_id", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

events = Table(
    "events",
    metadata,
    Column("id", _RowNumber, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("record_id", String(26)),
    Column("name", String(32), nullable=False),
    Column("detail", JSON, nullable=False),
    Index("ix_events_record_id", "record_id"),
    sqlite_autoincrement=True,
)

queue = Table(
    "queue",
    metadata,
    Column("record_id", ForeignKey("records.id"), primary_key=True),
    Column("queued_at", BigInteger, nullable=False),
    Column("worker", Text),
    Column("lease_until", BigInteger),
)

self_edits = Table(
    "self_edits",
    metadata,
    Column("record_id", ForeignKey("records.id"), primary_key=True),
    Column("generator", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("learning_rate", Float),
    Column("epochs", Integer),
    Column("loss_on", String(16)),
    Column("targets", JSON(none_as_null=True)),
    Column("acts_on", String(16)),
    Column("augmentations", JSON(none_as_null=True)),
    Column("items", JSON, nullable=False),
    Column("dropped", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

shards = Table(
    "shards",
    metadata,
    Column("id", Text, primary_key=True),
    *_scope_columns(),
    Column("group_name", Text, nullable=False),
    Column("dirty", Boolean, nullable=False),
    Column("masked", Boolean, nullable=False),
    Column("active", Text),
    Index("ix_shards_scope_key", "scope_key"),
)

adapters = Table(
    "adapters",
    metadata,
    Column("id", Text, primary_key=True),
    Column("shard_id", ForeignKey("shards.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("path", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("manifest", JSON, nullable=False),
    Column("metrics", JSON, nullable=False),
    UniqueConstraint("shard_id", "number"),
)

adapter_records = Table(
    "adapter_records",
    metadata,
    Column("adapter_id", ForeignKey("adapters.id"), primary_key=True),
    Column("record_id", String(26), primary_key=True),
    Column("position", Integer, nullable=False),
    Index("ix_adapter_records_record_id", "record_id"),
)

tombstones = Table(
    "tombstones",
    metadata,
    Column("scope_key", Text, primary_key=True),
    Column("hash", String(64), primary_key=True),
    Column("at", BigInteger, nullable=False),
)

meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
