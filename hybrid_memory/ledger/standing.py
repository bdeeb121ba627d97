"""Where a record stands: its validity, status and learning state, and what follows when one of them changes.

Flow:    writing, changes and forgetting turn one `Standing` into another; `save` then writes the difference:
         the row, the queue, the shard's dirty flag and the events, so that these can never disagree.
Imports: types, and former, freshness, prepared, rows, selection, tables of the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, bindparam, delete, insert, select, update

from hybrid_memory.ledger.former import keep
from hybrid_memory.ledger.freshness import mark_dirty, refresh
from hybrid_memory.ledger.prepared import insert_rows
from hybrid_memory.ledger.rows import Row
from hybrid_memory.ledger.selection import in_parts
from hybrid_memory.ledger.tables import events, queue, records
from hybrid_memory.types import Json, Learning, Route, Status, Trust

__all__ = [
    "Change",
    "Standing",
    "add_events",
    "event_row",
    "follow",
    "load",
    "read_standing",
    "retired",
    "save",
    "standings",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The columns of a record that may change after it was written. Times are microseconds."""

    id: str
    scope_key: str
    slot_key: str | None
    content_hash: str
    near_hash: str
    """As `content_hash`, apart from how a sentence begins and ends."""
    version: int
    valid_from: int
    confirmed_from: int
    """The latest valid_from anybody stated it with; equals valid_from until it is stated again."""
    declared_to: int | None
    """The end it came with. `valid_to` is the earlier of this and the beginning of its successor."""
    valid_to: int | None
    expires_at: int | None
    trust: Trust
    """Of the best of those who said it in these words."""
    status: Status
    superseded_by: str | None
    route: Route
    decision: Mapping[str, Any]
    kind: str
    learning: Learning
    learning_detail: str
    shard_id: str | None

    def row(self) -> dict[str, Any]:
        """Return the columns as a row of `records`."""
        return {name: getattr(self, name) for name in _COLUMNS}


Change: TypeAlias = tuple[Standing, Standing]
"""Before and after."""

_COLUMNS = [field.name for field in fields(Standing)]
_FIXED = {"id", "scope_key"}


def standings(condition: ColumnElement[bool]) -> Select[Any]:
    """Return the query for the standing of every record that meets the condition, in id order."""
    return select(*(records.c[name] for name in _COLUMNS)).where(condition).order_by(records.c.id)


def load(connection: Connection, condition: ColumnElement[bool]) -> list[Standing]:
    """Return the standing of every record that meets the condition, in id order."""
    return [read_standing(row) for row in connection.execute(standings(condition)).mappings()]


def read_standing(row: Row | RowMapping) -> Standing:
    """Return the standing of a row that a query of `standings` finds."""
    kinds = {"trust": Trust, "status": Status, "route": Route, "learning": Learning}
    return Standing(**{**row, **{name: kind(row[name]) for name, kind in kinds.items()}})


def retired(standing: Standing, status: Status, *, by: str | None = None) -> Standing:
    """Return the standing of a record that stops being evidence: off the queue, and stale if it was learned."""
    learning = {Learning.LEARNED: Learning.STALE, Learning.QUEUED: Learning.NONE}.get(
        standing.learning, standing.learning
    )
    return replace(standing, status=status, superseded_by=by or standing.superseded_by, learning=learning)


def save(connection: Connection, changes: Iterable[Change], *, now: int) -> None:
    """Write changed standings of stored records, and all that follows from them."""
    changed = [change for change in changes if change[0] != change[1]]
    if changed:
        keep(connection, [before.id for before, _ in changed], now=now)
        names = [name for name in _COLUMNS if name not in _FIXED]
        connection.execute(
            update(records)
            .where(records.c.id == bindparam("changed_id"))
            .values({name: bindparam(f"new_{name}") for name in names}),
            [
                {"changed_id": after.id, **{f"new_{name}": getattr(after, name) for name in names}}
                for _, after in changed
            ],
        )
    follow(connection, changed, now=now)


def follow(connection: Connection, changes: Sequence[Change], *, now: int) -> None:
    """Write what follows from changes: queue rows, dirty shards, events."""
    joined = [after.id for before, after in changes if _enters(before, after, Learning.QUEUED)]
    left = [after.id for before, after in changes if _enters(after, before, Learning.QUEUED)]
    if joined:
        connection.execute(insert(queue), [{"record_id": record_id, "queued_at": now} for record_id in joined])
    for part in in_parts(left):
        connection.execute(delete(queue).where(queue.c.record_id.in_(part)))
    stale = {after.shard_id for before, after in changes if _enters(before, after, Learning.STALE)}
    mark_dirty(connection, stale)
    unqueued = {after.shard_id for before, after in changes if _enters(after, before, Learning.QUEUED)}
    for shard_id in sorted(shard_id for shard_id in unqueued if shard_id is not None):
        refresh(connection, shard_id, may_dirty=False)  # nothing else may be waiting there
    add_events(connection, [event for before, after in changes for event in _events(before, after, now)])


def event_row(name: str, record_id: str | None, *, now: int, **detail: Json) -> dict[str, Any]:
    """Return a row of `events`. Details hold ids, names and reasons, never a record's text or source: events stay."""
    return {"at": now, "record_id": record_id, "name": name, "detail": detail}


def add_events(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Append to the history."""
    insert_rows(connection, events, rows)


def _enters(before: Standing, after: Standing, learning: Learning) -> bool:
    return after.learning is learning and before.learning is not learning


def _events(before: Standing, after: Standing, now: int) -> Iterator[dict[str, Any]]:
    if before.status is not after.status:
        if after.status is Status.SUPERSEDED:
            yield event_row("superseded", after.id, now=now, by=after.superseded_by)
        elif after.status is Status.ACTIVE:
            yield event_row("released", after.id, now=now)
        else:
            yield event_row(after.status.value, after.id, now=now)
    if (before.learning, before.learning_detail) == (after.learning, after.learning_detail):
        return
    if after.learning is Learning.NONE:
        yield event_row("unqueued", after.id, now=now)
    else:
        yield event_row(after.learning.value, after.id, now=now, detail=after.learning_detail)
