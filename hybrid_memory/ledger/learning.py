"""The way into the weights: the queue with its leases, and the study material.

Flow:    SqlLedger.pending, lease, unlease, settle, save_self_edits, self_edits.
Imports: types, and rows, selection, shards, standing, tables of the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, or_, select, update

from hybrid_memory.ledger.rows import read_record, read_self_edit, self_edit_row
from hybrid_memory.ledger.selection import in_parts, within
from hybrid_memory.ledger.shards import load_all
from hybrid_memory.ledger.standing import Standing, save
from hybrid_memory.ledger.tables import queue, records, self_edits
from hybrid_memory.types import Learning, Record, Scope, SelfEdit, Status

__all__ = ["lease", "pending", "read_self_edits", "save_self_edits", "settle", "unlease"]


def pending(connection: Connection, scope: Scope | None, *, now: int) -> list[Record]:
    """Return the queued records inside the scope (None: all) that nobody has leased, oldest first."""
    query = (
        select(records)
        .join(queue, queue.c.record_id == records.c.id)
        .where(records.c.status == Status.ACTIVE, _free(now))
        .order_by(queue.c.queued_at, records.c.id)
    )
    if scope is not None:
        query = query.where(within(scope))
    return [read_record(row) for row in connection.execute(query).mappings()]


def lease(connection: Connection, record_ids: Sequence[str], *, worker: str, until: int, now: int) -> list[str]:
    """Claim queue entries for a worker until a time; return those that were free or its own, in the order given."""
    claimed: set[str] = set()
    for part in in_parts(record_ids):
        wanted = and_(queue.c.record_id.in_(part), or_(_free(now), queue.c.worker == worker))
        claimed |= set(connection.execute(select(queue.c.record_id).where(wanted)).scalars())
        connection.execute(update(queue).where(wanted).values(worker=worker, lease_until=until))
    return [record_id for record_id in dict.fromkeys(record_ids) if record_id in claimed]


def unlease(connection: Connection, record_ids: Sequence[str], *, worker: str) -> None:
    """Give back the queue entries that this worker has claimed."""
    for part in in_parts(record_ids):
        claimed = and_(queue.c.record_id.in_(part), queue.c.worker == worker)
        connection.execute(update(queue).where(claimed).values(worker=None, lease_until=None))


def settle(connection: Connection, learning: Mapping[str, tuple[Learning, str]], *, now: int) -> None:
    """Set learning states and take the records off the queue.

    A record that was replaced or expired while it was being learned becomes STALE, not LEARNED.

    Raises:
        NotFoundError: one of the ids is no record.
    """
    standings = load_all(connection, learning)
    save(connection, [(standing, _settled(standing, *learning[standing.id])) for standing in standings], now=now)


def save_self_edits(connection: Connection, edits: Sequence[SelfEdit], *, now: int) -> None:
    """Store material in place of what the same records had; none for records that were forgotten meanwhile.

    Raises:
        NotFoundError: a self-edit is about a record that does not exist.
    """
    last = {edit.record_id: edit for edit in edits}
    kept = [known.id for known in load_all(connection, last) if known.status is not Status.FORGOTTEN]
    for part in in_parts(kept):
        connection.execute(delete(self_edits).where(self_edits.c.record_id.in_(part)))
    if kept:
        connection.execute(insert(self_edits), [self_edit_row(last[record_id], now=now) for record_id in kept])


def read_self_edits(connection: Connection, record_ids: Sequence[str]) -> list[SelfEdit]:
    """Return the stored material of the records, in their order; records without any are skipped."""
    found = {}
    for part in in_parts(record_ids):
        for row in connection.execute(select(self_edits).where(self_edits.c.record_id.in_(part))).mappings():
            found[row["record_id"]] = read_self_edit(row)
    return [found[record_id] for record_id in record_ids if record_id in found]


def _free(now: int) -> ColumnElement[bool]:
    return or_(queue.c.lease_until.is_(None), queue.c.lease_until <= now)


def _settled(standing: Standing, learning: Learning, detail: str) -> Standing:
    if standing.status is Status.ACTIVE:
        return replace(standing, learning=learning, learning_detail=detail)
    if standing.status is not Status.FORGOTTEN and learning is Learning.LEARNED:
        return replace(standing, learning=Learning.STALE, learning_detail=detail)
    return standing
