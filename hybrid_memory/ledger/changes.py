"""Change what was written: metadata, route, and what time does by itself.

Flow:    SqlLedger.update, set_route, withdraw, expire.
Imports: errors, types, and content, forgetting, former, prepared, reading, slots, standing, tables of the ledger.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection, and_, bindparam, delete, or_, select, update

from hybrid_memory.errors import InputError
from hybrid_memory.ledger.content import marks
from hybrid_memory.ledger.forgetting import remove_passages
from hybrid_memory.ledger.former import keep
from hybrid_memory.ledger.prepared import Query
from hybrid_memory.ledger.reading import get
from hybrid_memory.ledger.selection import in_parts
from hybrid_memory.ledger.slots import displaced, placed
from hybrid_memory.ledger.standing import (
    Change,
    Standing,
    add_events,
    event_row,
    load,
    read_standing,
    retired,
    save,
    standings,
)
from hybrid_memory.ledger.tables import former, passages, records, sources
from hybrid_memory.types import OWN_WORDS, Decision, Json, Learning, Record, Route, Status, Trust

__all__ = ["anything_over", "expire", "set_metadata", "set_route", "withdraw"]


def set_metadata(connection: Connection, record_id: str, metadata: Mapping[str, Json], *, now: int) -> Record:
    """Replace a record's metadata and return the record.

    Raises:
        NotFoundError: there is no such record.
        InputError: the record is forgotten.
    """
    record = _remembered(connection, record_id)
    changed = {"metadata": replace(record, metadata=metadata).to_json()["metadata"], **marks(metadata)}
    keep(connection, [record_id], now=now)
    connection.execute(update(records).where(records.c.id == record_id).values(changed))
    add_events(connection, [event_row("updated", record_id, now=now, fields=["metadata"])])
    return get(connection, record_id)


def set_route(connection: Connection, record_id: str, decision: Decision, reason: str, *, now: int) -> Record:
    """Move a record to another route and return it; see `protocols.Ledger.set_route`.

    Out of quarantine, it takes its place in its slot as if it arrived now. Taken off LEARN, it leaves the queue,
    and an adapter that has learned it is due for rebuilding.

    Raises:
        NotFoundError: there is no such record.
        InputError: the record is forgotten, or the route is DROP.
    """
    record = _remembered(connection, record_id)
    if decision.route is Route.DROP:
        raise InputError(f"record {record_id} is stored and cannot be dropped; use forget, which leaves a receipt")
    before = load(connection, records.c.id == record_id)[0]
    after = _routed(before, decision)
    detail = {"before": record.decision.route, "after": decision.route, "policy": decision.policy, "reason": reason}
    add_events(connection, [event_row("routed", record_id, now=now, **detail)])
    released = before.status is Status.QUARANTINED and after.status is Status.ACTIVE
    changes = _released(connection, before, after, now=now) if released else [(before, after)]
    save(connection, changes, now=now)
    return get(connection, record_id)


def withdraw(connection: Connection, record_ids: Sequence[str], gone: Collection[str], *, now: int) -> list[str]:
    """Take the sources in `gone` from records that others said too; return the ids of those records, in their order.

    The first that vouched for it, or else the first of the rest, becomes the record's source. Metadata goes: it was
    the former source's, at any time; so do the words in which that one said it, where a model stated them anew.
    """
    voices: defaultdict[str, list[tuple[bool, int, str]]] = defaultdict(list)
    for part in in_parts(record_ids):
        for row in connection.execute(select(sources).where(sources.c.record_id.in_(part))):
            if row.source not in gone:
                voices[row.record_id].append((not row.vouched, row.at, row.source))
    spared = [record_id for record_id in record_ids if record_id in voices]
    for record_id in spared:
        stranger, _, source = min(voices[record_id])
        left = {"source": source, "metadata": {}} | ({"trust": Trust.EXTERNAL.value} if stranger else {})
        of_record = records.c.id == record_id
        if OWN_WORDS in get(connection, record_id).metadata:
            own = and_(passages.c.position > 0, ~passages.c.sentence)
            remove_passages(connection, and_(passages.c.record_id == record_id, own))
        connection.execute(update(records).where(of_record).values({**left, **marks({})}))
        connection.execute(update(former).where(former.c.record_id == record_id).values(left))
        connection.execute(delete(sources).where(sources.c.record_id == record_id, sources.c.source.in_(list(gone))))
    add_events(connection, [event_row("withdrawn", record_id, now=now) for record_id in spared])
    return spared


_IS_OVER = and_(
    records.c.status == Status.ACTIVE,
    or_(records.c.valid_to <= bindparam("now"), records.c.expires_at <= bindparam("now")),
)
_OVER, _ANYTHING_OVER = Query(standings(_IS_OVER)), Query(select(records.c.id).where(_IS_OVER).limit(1))


def expire(connection: Connection, *, now: int) -> list[str]:
    """Mark the records whose time is over and return their ids, in order.

    One that ended because an announced successor began is superseded; the others are expired.
    """
    due = [read_standing(row) for row in _OVER.rows(connection, now=now)]
    save(connection, [(standing, _over(standing, now)) for standing in due], now=now)
    return [standing.id for standing in due]


def anything_over(connection: Connection, *, now: int) -> bool:
    """Tell whether `expire` would find a record."""
    return bool(_ANYTHING_OVER.rows(connection, now=now))


def _remembered(connection: Connection, record_id: str) -> Record:
    record = get(connection, record_id)
    if record.status is Status.FORGOTTEN:
        raise InputError(f"record {record_id} is forgotten and cannot be changed; ingest it again if it is wanted")
    return record


def _routed(before: Standing, decision: Decision) -> Standing:
    status = before.status
    if decision.route is Route.QUARANTINE and status is Status.ACTIVE:
        status = Status.QUARANTINED
    elif decision.route is not Route.QUARANTINE and status is Status.QUARANTINED:
        status = Status.ACTIVE
    after = replace(before, route=decision.route, decision=decision.to_json(), kind=decision.kind.value, status=status)
    if decision.route is not Route.LEARN:
        return retired(after, status)
    if status is Status.ACTIVE and before.learning is not Learning.LEARNED:
        return replace(after, learning=Learning.QUEUED, learning_detail="")
    return after


def _released(connection: Connection, before: Standing, after: Standing, *, now: int) -> list[Change]:
    changes: list[Change] = []
    wanted = connection.execute(select(records.c.supersedes).where(records.c.id == before.id)).scalar_one()
    for target in [] if wanted is None else load(connection, records.c.id == wanted):
        if target.status in {Status.ACTIVE, Status.EXPIRED}:
            gone, after = displaced(target, after, now=now)
            changes.append((target, gone))
    if after.slot_key is None:
        return [*changes, (before, after)]
    replaced = {gone.id: gone for _, gone in changes}
    same_slot = and_(records.c.slot_key == after.slot_key, records.c.scope_key == after.scope_key)
    stored = {standing.id: standing for standing in load(connection, same_slot)}
    values = placed([replaced.get(key, value) if key != after.id else after for key, value in stored.items()], now=now)
    outside = [change for change in changes if change[0].id not in stored]
    return [*outside, *((stored[value.id], value) for value in values)]


def _over(standing: Standing, now: int) -> Standing:
    succeeded = standing.superseded_by is not None and standing.valid_to is not None and standing.valid_to <= now
    return retired(standing, Status.SUPERSEDED if succeeded else Status.EXPIRED)
