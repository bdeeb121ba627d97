"""Keep the ledger in order: meta values, counts, checks.

Flow:    SqlLedger.clock, moment, meta, set_meta, counts, check.
Imports: errors, types, and dialects, prepared, tables of the ledger.
"""

from __future__ import annotations

from collections.abc import Set

from sqlalchemy import Column, Connection, Table, and_, bindparam, exists, func, insert, select, update

from hybrid_memory.errors import IndexMismatchError
from hybrid_memory.ledger.dialects import dialect_of
from hybrid_memory.ledger.prepared import Query
from hybrid_memory.ledger.tables import adapters, events, former, meta, passages, queue, records, self_edits, shards
from hybrid_memory.types import AdapterStatus, Json, Learning, Status

__all__ = ["check", "clock", "counts", "moment", "read_meta", "require_encoder", "set_meta"]

ENCODER = "encoder"
"""Meta key: the fingerprint of the encoder that made the vectors, kept by retrieval; another text during a reindex."""


_VALUE = select(meta.c.value).where(meta.c.key == bindparam("key"))
_NEWEST = select(func.coalesce(func.max(events.c.id), 0).label("clock"))
_META, _CLOCK = Query(_VALUE), Query(_NEWEST)
_MOMENT = Query(select(_NEWEST.scalar_subquery().label("clock"), _VALUE.scalar_subquery().label("value")))


def clock(connection: Connection) -> int:
    """Return the number of the newest event, 0 before the first."""
    return int(_CLOCK.rows(connection)[0]["clock"])


def moment(connection: Connection, key: str) -> tuple[int, str | None]:
    """Return the clock and a value of the meta table in one query."""
    (row,) = _MOMENT.rows(connection, key=key)
    return row["clock"], row["value"]


def read_meta(connection: Connection, key: str) -> str | None:
    """Return a value of the meta table, or None."""
    return next((row["value"] for row in _META.rows(connection, key=key)), None)


def set_meta(connection: Connection, key: str, value: str) -> None:
    """Set a value of the meta table."""
    if not connection.execute(update(meta).where(meta.c.key == key).values(value=value)).rowcount:
        connection.execute(insert(meta), {"key": key, "value": value})


def require_encoder(connection: Connection, encoders: Set[str]) -> None:
    """Raise IndexMismatchError unless all vectors to be written are of the memory's encoder, if it has one."""
    stored = read_meta(connection, ENCODER)
    if stored and (others := encoders - {stored}):
        raise IndexMismatchError(
            f"embedded by encoder {', '.join(sorted(others))}, but a reindex has made this memory's {stored} "
            "meanwhile; nothing was stored. Open the memory again with that encoder"
        )


def counts(connection: Connection) -> dict[str, Json]:
    """Return how many records there are per status, route and learning state, and the size of the rest."""
    tables = (records, passages, queue, self_edits, shards, events)
    return {
        "status": _per_value(connection, records.c.status),
        "route": _per_value(connection, records.c.route),
        "learning": _per_value(connection, records.c.learning),
        "adapters": _per_value(connection, adapters.c.status),
        **{table.name: _rows(connection, table) for table in tables},
        "bytes": dialect_of(connection).size_bytes(connection),
    }


def check(connection: Connection) -> list[str]:
    """Return what is wrong with the database, one sentence each; empty when all is well."""
    queued = exists().where(queue.c.record_id == records.c.id)
    told = exists().where(and_(events.c.record_id == records.c.id, events.c.name == "ingested"))
    owned = exists().where(records.c.id == passages.c.record_id)
    serving = exists().where(and_(adapters.c.id == shards.c.active, adapters.c.status == AdapterStatus.ACTIVE))
    gone = exists().where(and_(records.c.id == former.c.record_id, records.c.status == Status.FORGOTTEN))
    rules = (
        (passages, ~owned, "passages belong to no record"),
        (former, gone, "former standings are of forgotten records"),
        (records, ~told, "records have no event of their arrival"),
        (records, and_(records.c.learning == Learning.QUEUED, ~queued), "queued records are not in the queue"),
        (records, and_(records.c.learning != Learning.QUEUED, queued), "queue entries are of records that do not wait"),
        (shards, and_(shards.c.active.is_not(None), ~serving), "shards point at an adapter version that is not active"),
    )
    found = dialect_of(connection).damage(connection)
    for table, broken, what in rules:
        count = connection.execute(select(func.count()).select_from(table).where(broken)).scalar_one()
        if count:
            found.append(f"{count} {what}")
    if encoder := read_meta(connection, ENCODER):
        count = connection.execute(select(func.count()).where(passages.c.encoder != encoder)).scalar_one()
        if count:
            found.append(
                f"{count} passages have vectors of another encoder than {encoder}; run `hybrid-memory reindex`"
            )
    return found


def _rows(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def _per_value(connection: Connection, column: Column[str]) -> dict[str, Json]:
    rows = connection.execute(select(column, func.count()).group_by(column).order_by(column))
    return {row[0]: row[1] for row in rows}
