"""Whether a shard's adapter still fits what the shard is to learn.

Flow:    whatever changes a record's learning state, or a shard's adapter, comes here in the same transaction.
Imports: types, and selection, tables of the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import ColumnElement, Connection, and_, select, update

from hybrid_memory.ledger.selection import in_parts
from hybrid_memory.ledger.tables import adapter_records, records, shards
from hybrid_memory.types import Learning, Status

__all__ = ["mark_dirty", "refresh", "taught"]


def mark_dirty(connection: Connection, shard_ids: Iterable[str | None]) -> None:
    """Mark shards for rebuilding in the next window."""
    named = sorted({shard_id for shard_id in shard_ids if shard_id is not None})
    for part in in_parts(named):
        connection.execute(update(shards).where(shards.c.id.in_(part)).values(dirty=True))


def refresh(connection: Connection, shard_id: str, *, may_dirty: bool) -> None:
    """Compare a shard with its active adapter and set `dirty` and `masked` accordingly.

    A shard is clean when its adapter was trained on exactly the records it is to learn, so a record that was
    added, replaced or forgotten while the training ran keeps it dirty. It is masked while the adapter has seen
    a record that is forgotten.

    Args:
        connection: inside a write transaction.
        shard_id: an existing shard.
        may_dirty: False only ever clears `dirty`.
    """
    shard = connection.execute(select(shards).where(shards.c.id == shard_id)).mappings().one()
    learned = set(connection.execute(select(adapter_records.c.record_id).where(_seen(shard["active"]))).scalars())
    members = set(connection.execute(select(records.c.id).where(taught(shard_id))).scalars())
    masked = bool(
        connection.execute(
            select(records.c.id)
            .join(adapter_records, adapter_records.c.record_id == records.c.id)
            .where(_seen(shard["active"]), records.c.status == Status.FORGOTTEN)
            .limit(1)
        ).first()
    )
    dirty = learned != members and (may_dirty or shard["dirty"])
    connection.execute(update(shards).where(shards.c.id == shard_id).values(dirty=dirty, masked=masked))


def taught(shard_id: str) -> ColumnElement[bool]:
    """Return the condition for the records a shard is to learn: active ones that are queued or learned."""
    wanted = records.c.learning.in_((Learning.QUEUED, Learning.LEARNED))
    return and_(records.c.shard_id == shard_id, records.c.status == Status.ACTIVE, wanted)


def _seen(adapter_id: str | None) -> ColumnElement[bool]:
    return adapter_records.c.adapter_id == adapter_id
