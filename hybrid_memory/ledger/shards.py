"""Shards: which records are learned together.

Flow:    SqlLedger.shards, shard_records, assign.
Imports: errors, types, and freshness, rows, selection, standing, tables of the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sqlalchemy import Connection, insert, select

from hybrid_memory.errors import NotFoundError
from hybrid_memory.ledger.freshness import mark_dirty, taught
from hybrid_memory.ledger.rows import read_record, read_shard, scope_row
from hybrid_memory.ledger.selection import in_parts, scope_key, seen_by
from hybrid_memory.ledger.standing import Standing, add_events, event_row, load, save
from hybrid_memory.ledger.tables import records, shards
from hybrid_memory.types import Learning, Record, Scope, Shard, Status, quoted

__all__ = ["assign", "existing", "load_all", "read_shards", "shard_records"]


def read_shards(connection: Connection, scope: Scope | None) -> list[Shard]:
    """Return the shards a query in the scope sees, by id; None means all."""
    query = select(shards).order_by(shards.c.id)
    if scope is not None:
        query = query.where(seen_by(scope, table=shards))
    return [read_shard(row) for row in connection.execute(query).mappings()]


def existing(connection: Connection, shard_id: str) -> Shard:
    """Return a shard; NotFoundError when there is none."""
    row = connection.execute(select(shards).where(shards.c.id == shard_id)).mappings().one_or_none()
    if row is None:
        raise NotFoundError(f"there is no shard {quoted(shard_id)}; assign() makes one")
    return read_shard(row)


def shard_records(connection: Connection, shard_id: str) -> list[Record]:
    """Return the records the shard's next adapter is to learn, in id order: active, and queued or learned.

    Declined ones are left out: they were tried, and stay in retrieval only.
    """
    query = select(records).where(taught(shard_id)).order_by(records.c.id)
    return [read_record(row) for row in connection.execute(query).mappings()]


def assign(connection: Connection, record_ids: Sequence[str], shard: Shard, *, now: int) -> None:
    """Put records into a shard, which is made when it is new and marked dirty either way.

    Records forgotten meanwhile are left out. A shard that loses a learned record becomes dirty too.

    Raises:
        NotFoundError: one of the ids is no record.
    """
    known = connection.execute(select(shards.c.id).where(shards.c.id == shard.id)).scalar_one_or_none()
    if known is None:
        row = {"id": shard.id, "group_name": shard.group, "dirty": True, "masked": False, "active": None}
        connection.execute(insert(shards), {**row, **scope_row(shard.scope, scope_key(shard.scope))})
    found = [standing for standing in load_all(connection, record_ids) if standing.status is not Status.FORGOTTEN]
    moved = [standing for standing in found if standing.shard_id != shard.id]
    save(connection, [(standing, replace(standing, shard_id=shard.id)) for standing in moved], now=now)
    add_events(connection, [event_row("assigned", standing.id, now=now, shard=shard.id) for standing in moved])
    lost = {standing.shard_id for standing in moved if standing.learning is Learning.LEARNED}
    mark_dirty(connection, {*lost, shard.id})


def load_all(connection: Connection, record_ids: Iterable[str]) -> list[Standing]:
    """Return the standing of every record, in the order of the ids, each once.

    Raises:
        NotFoundError: one of the ids is no record.
    """
    wanted = list(dict.fromkeys(record_ids))
    found: dict[str, Standing] = {}
    for part in in_parts(wanted):
        found |= {standing.id: standing for standing in load(connection, records.c.id.in_(part))}
    missing = [record_id for record_id in wanted if record_id not in found]
    if missing:
        raise NotFoundError(f"there is no record {quoted(missing[0])}; list() shows the ids of this memory")
    return [found[record_id] for record_id in wanted]
