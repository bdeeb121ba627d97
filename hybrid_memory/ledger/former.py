"""How records stood at an earlier time: the ledger's transaction time, beside the validity that records have.

Flow:    standing and changes `keep` a row before they change it; selection, searching and reading select from what
         `known` gives.
Imports: errors, and clock, keeping, selection, tables of the ledger.

A record stands from its `recorded_at` on. Of its former standings the one that ended first after a time stood at that
time; when none did, the present one. So nothing is worked out again by rules that may have changed since. What is
forgotten has no former standings.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, FromClause, and_, bindparam, case, exists, func, insert, literal, select

from hybrid_memory.errors import InputError
from hybrid_memory.ledger.clock import from_micros, now_micros, to_micros
from hybrid_memory.ledger.keeping import read_meta
from hybrid_memory.ledger.selection import in_parts, remembered
from hybrid_memory.ledger.tables import former, records

__all__ = ["SINCE", "keep", "known"]

SINCE = "known_since"
"""Key of the meta table: since when former standings are kept, in a ledger that is older than they are."""

_KEPT = [column.name for column in former.c if column.name not in {"record_id", "until"}]
# One standing is kept of those that a record had at one moment, or before the clock was set back: the first.
_KEEP = insert(former).from_select(
    ["record_id", "until", *_KEPT],
    select(records.c.id, bindparam("now", type_=former.c.until.type), *(records.c[name] for name in _KEPT)).where(
        records.c.id.in_(bindparam("ids", expanding=True)),
        ~exists().where(former.c.record_id == records.c.id, former.c.until >= bindparam("now")),
    ),
)


def keep(connection: Connection, record_ids: Iterable[str], *, now: int) -> None:
    """Keep how the records stand; called before they are changed, in the same transaction."""
    for part in in_parts(record_ids):
        connection.execute(_KEEP, {"ids": part, "now": now})


def known(connection: Connection, known_at: datetime | None) -> FromClause:
    """Return the records as the ledger had them at a time, with the columns of `records`; for None, `records`.

    Raises:
        InputError: the time is still to come, or before the ledger kept such things.
    """
    if known_at is None:
        return records
    time = to_micros(known_at, "known_at")
    if time > now_micros():
        raise InputError(f"known_at {known_at} is still to come; leave it out for what is known now")
    since = read_meta(connection, SINCE)
    if since is not None and time < int(since):
        raise InputError(
            f"known_at {known_at} is too early: what this memory knew is kept since {from_micros(int(since))}, when "
            "its ledger was upgraded to schema 0010. as_of answers about any time, by all that is known now"
        )
    return _stood(time)


def _stood(time: int) -> FromClause:
    later = former.alias("later")
    ended = select(func.min(later.c.until)).where(later.c.record_id == records.c.id, later.c.until > literal(time))
    both = records.outerjoin(
        former, and_(former.c.record_id == records.c.id, former.c.until == ended.scalar_subquery())
    )
    columns = [
        case((former.c.record_id.is_not(None), former.c[column.name]), else_=column).label(column.name)
        if column.name in _KEPT
        else column
        for column in records.c
    ]
    there = and_(records.c.recorded_at <= time, remembered())
    return select(*columns).select_from(both).where(there).subquery("known")
