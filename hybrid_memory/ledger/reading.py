"""Read records and their history.

Flow:    SqlLedger.get, current, told_before, imported_before, find, history, events, confirmations.
Imports: errors, types, and content, former, paging, prepared, rows, selection, tables of the ledger.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Connection, Select, and_, bindparam, or_, select, true

from hybrid_memory.errors import InputError, NotFoundError
from hybrid_memory.ledger.content import near_hash, row_hash, said_text, same_content
from hybrid_memory.ledger.former import known
from hybrid_memory.ledger.paging import page_of
from hybrid_memory.ledger.prepared import Query
from hybrid_memory.ledger.rows import read_event, read_record
from hybrid_memory.ledger.selection import in_parts, keys_seen_by, remembered, scope_key, seen_by, selected, within
from hybrid_memory.ledger.tables import events, records, sources
from hybrid_memory.protocols import Filters
from hybrid_memory.types import Draft, Event, Json, Learning, Record, Scope, Status, Trust, quoted

__all__ = [
    "confirmations",
    "current",
    "find",
    "get",
    "get_many",
    "history",
    "imported_before",
    "read_events",
    "told_before",
]


_KEYS: BindParameter[Any] = bindparam("keys", expanding=True)
_BY_ID = Query(select(records).where(records.c.id.in_(_KEYS)))
_CURRENT = Query(
    select(records.c.id).where(
        records.c.id.in_(_KEYS), records.c.status == Status.ACTIVE, records.c.learning != Learning.STALE
    )
)
_TOLD = [
    Query(select(records).where(column.in_(_KEYS), records.c.scope_key == bindparam("scope")))
    for column in (records.c.near_hash, records.c.own_hash)
]
_HEARD = Query(
    select(records.c.scope_key, records.c.content_hash, records.c.near_hash, sources.c.source, sources.c.vouched)
    .join(sources, sources.c.record_id == records.c.id)
    .where(
        or_(records.c.content_hash.in_(_KEYS), records.c.near_hash.in_(_KEYS)), records.c.status != Status.QUARANTINED
    )
)


def get(connection: Connection, record_id: str) -> Record:
    """Return a record; NotFoundError when there is none, InputError when its id is no text."""
    _check_id("record_id", record_id)
    rows = _BY_ID.rows(connection, keys=[record_id])
    if not rows:
        raise NotFoundError(f"there is no record {quoted(record_id)}; list() shows the ids of this memory")
    return read_record(rows[0])


def _check_id(name: str, record_id: object) -> None:
    """Raise InputError for what is no text: of a list the database would say only that it cannot be bound."""
    if not isinstance(record_id, str):
        raise InputError(f"{name} is the id of a record, a text, got {quoted(record_id)}; list() shows the ids")


def get_many(connection: Connection, record_ids: Iterable[str]) -> dict[str, Record]:
    """Return id -> record for those of the ids that exist."""
    found = {}
    for part in in_parts(record_ids):
        for row in _BY_ID.rows(connection, keys=part):
            found[row["id"]] = read_record(row)
    return found


def current(connection: Connection, record_ids: Iterable[str]) -> set[str]:
    """Return those of the ids whose records hold now and have not left the weights; one query for hundreds of them."""
    found: set[str] = set()
    for part in in_parts(record_ids):
        found |= {row["id"] for row in _CURRENT.rows(connection, keys=part)}
    return found


def told_before(connection: Connection, scope: Scope, turns: Iterable[tuple[str, str | None]]) -> list[Record]:
    """Return what is recorded in the scope of turns, in their own words or stated anew, in id order."""
    hashes = {near_hash(said_text(words, asked)) for words, asked in turns}
    found = {}
    for part in in_parts(hashes):
        for query in _TOLD:
            for row in query.rows(connection, keys=part, scope=scope_key(scope)):
                found[row["id"]] = read_record(row)
    return [found[record_id] for record_id in sorted(found)]


def imported_before(connection: Connection, rows: Iterable[Mapping[str, Json]]) -> list[Record]:
    """Return what is evidence now of rows of other memories' exports; those of one row in id order."""
    found = []
    for part in in_parts({hashed for row in rows if (hashed := row_hash(row)) is not None}):
        query = select(records).where(records.c.row_hash.in_(part), selected()).order_by(records.c.id)
        found += [read_record(row) for row in connection.execute(query).mappings()]
    return found


def find(
    connection: Connection,
    *,
    scope: Scope | None,
    inside: bool = False,
    filters: Filters | None = None,
    as_of: datetime | None = None,
    known_at: datetime | None = None,
    all_statuses: bool = False,
    limit: int | None = None,
    after: str | None = None,
) -> list[Record]:
    """Return records in id order; see `protocols.Ledger.find`. Forgotten ones are never among them."""
    if after is not None:
        _check_id("after", after)
    table = known(connection, known_at)
    visible: ColumnElement[bool] = true()
    if scope is not None:
        visible = within(scope, table=table) if inside else seen_by(scope, table=table)
    chosen = selected(filters=filters, as_of=as_of, known_at=known_at, all_statuses=all_statuses, table=table)
    query = select(table).where(visible, chosen).order_by(table.c.id)
    if scope is not None and not inside and limit is not None:
        query = query.where(remembered(table))
        return [read_record(row) for row in page_of(connection, query, keys_seen_by(scope), after=after, limit=limit)]
    if after is not None:
        query = query.where(table.c.id > after)
    return [read_record(row) for row in connection.execute(query.limit(limit)).mappings()]


def history(connection: Connection, record_id: str, *, after: int = 0, limit: int | None = None) -> list[Event]:
    """Return events of a record and of the values before and after it, oldest first, from the one after `after`."""
    record = get(connection, record_id)
    family = {record_id}
    if record.slot is not None:
        same_slot = and_(records.c.slot_key == record.slot.key, records.c.scope_key == scope_key(record.scope))
        family |= set(connection.execute(select(records.c.id).where(same_slot)).scalars())
    family = _with_successions(connection, family)
    found = []
    for part in in_parts(sorted(family)):
        rows = connection.execute(_page(events.c.record_id.in_(part), after, limit)).mappings()
        found += [read_event(row) for row in rows]
    return sorted(found, key=lambda event: event.id)[:limit]


def read_events(connection: Connection, *, after: int, limit: int) -> list[Event]:
    """Return at most `limit` events with an id greater than `after`, in order."""
    return [read_event(row) for row in connection.execute(_page(true(), after, limit)).mappings()]


def _page(condition: ColumnElement[bool], after: int, limit: int | None) -> Select[Any]:
    return select(events).where(condition, events.c.id > after).order_by(events.c.id).limit(limit)


def confirmations(connection: Connection, drafts: Sequence[Draft]) -> list[int]:
    """Return for each draft how many distinct other sources said the same, or nearly the same, in its scope.

    A stranger's voice counts for strangers only, so that nobody's page helps what a user once said into the weights.
    Quarantined and forgotten records do not count.
    """
    hashes = [same_content(draft) for draft in drafts]
    heard: defaultdict[tuple[str, str, bool], set[str]] = defaultdict(set)
    for part in in_parts({hashed for both in hashes for hashed in both}):
        for row in _HEARD.rows(connection, keys=part):
            for hashed in (row["content_hash"], row["near_hash"]):
                heard[row["scope_key"], hashed, row["vouched"]].add(row["source"])
    counted = []
    for draft, both in zip(drafts, hashes, strict=True):
        standings = (True, False) if draft.trust is Trust.EXTERNAL else (True,)
        voices = (heard[scope_key(draft.scope), hashed, standing] for hashed in both for standing in standings)
        counted.append(len(set().union(*voices) - {draft.source}))
    return counted


def _with_successions(connection: Connection, family: set[str]) -> set[str]:
    """Add whatever replaced, or was replaced by, a member, until nothing more is found."""
    found, fresh = set(family), set(family)
    while fresh:
        neighbours: set[str] = set()
        for part in in_parts(sorted(fresh)):
            linked = or_(records.c.id.in_(part), records.c.superseded_by.in_(part))
            for row in connection.execute(select(records.c.id, records.c.superseded_by).where(linked)):
                neighbours |= {row.id, row.superseded_by} - {None}
        fresh = neighbours - found
        found |= fresh
    return found
