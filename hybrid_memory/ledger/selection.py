"""Which rows a call may see: scope, time and status, as SQL conditions.

Flow:    every query of the ledger over records starts from `selected`; nothing is filtered afterwards.
Imports: types, and filters, clock, tables of the ledger.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import TypeVar

from sqlalchemy import ColumnElement, FromClause, and_, exists, literal_column, or_, true

from hybrid_memory.ledger.clock import now_micros, to_micros
from hybrid_memory.ledger.filters import compiled
from hybrid_memory.ledger.tables import records
from hybrid_memory.protocols import Filters
from hybrid_memory.types import Kind, Scope, Status

__all__ = ["in_parts", "keys_seen_by", "remembered", "scope_key", "searched", "seen_by", "selected", "within"]

_PART = 500
_T = TypeVar("_T")

_WAS_EVIDENCE = (Status.ACTIVE, Status.SUPERSEDED, Status.EXPIRED)


@lru_cache(maxsize=4096)
def scope_key(scope: Scope) -> str:
    """Return the one text that names a scope in the ledger.

    >>> scope_key(Scope(user_id="ann"))
    '[null, "ann", null, null]'
    """
    return json.dumps(scope.values(), ensure_ascii=False)


def keys_seen_by(scope: Scope) -> list[str]:
    """Return the keys of the scopes whose rows a query in `scope` sees: `Scope.sees`, as a list of at most 16."""
    choices = [(None,) if value is None else (None, value) for value in scope.values()]
    return [scope_key(Scope(*values)) for values in itertools.product(*choices)]


def seen_by(scope: Scope, *, table: FromClause = records) -> ColumnElement[bool]:
    """Return the condition that a query in `scope` sees a row."""
    return table.c.scope_key.in_(keys_seen_by(scope))


def within(scope: Scope, *, table: FromClause = records) -> ColumnElement[bool]:
    """Return the condition that a row lies inside `scope`: `Scope.covers`."""
    given = [(name, value) for name, value in zip(scope.keys(), scope.values(), strict=True) if value is not None]
    return and_(true(), *(table.c[name] == value for name, value in given))


def remembered(table: FromClause = records) -> ColumnElement[bool]:
    """Return the condition that a row was not forgotten, written as in the index of pages, of which it tells SQLite.

    A parameter would hide it: that the index has all the rows must be plain from the words.
    """
    return table.c.status != literal_column(f"'{Status.FORGOTTEN}'")


def selected(
    *,
    filters: Filters | None = None,
    as_of: datetime | None = None,
    known_at: datetime | None = None,
    all_statuses: bool = False,
    table: FromClause = records,
) -> ColumnElement[bool]:
    """Return the condition on time, status and filters; without arguments: what is evidence now.

    Args:
        filters: further conditions, see `filters.py`.
        as_of: what was valid at that time, by all that is in the table.
        known_at: the present of the table, when it is one of the past.
        all_statuses: every status but FORGOTTEN, and with no `as_of` at any time.
        table: the records, or what `former.known` gives for `known_at`.
    """
    if all_statuses:
        base = remembered(table)
        base = base if as_of is None else and_(base, _valid_at(table, to_micros(as_of, "as_of")))
    elif as_of is None:
        now = now_micros() if known_at is None else to_micros(known_at, "known_at")
        base = _evidence_at(table, now, among=(Status.ACTIVE,))
    else:
        base = _evidence_at(table, to_micros(as_of, "as_of"), among=_WAS_EVIDENCE)
    return base if filters is None else and_(base, compiled(filters, table))


def searched(
    *,
    scope: Scope,
    filters: Filters | None = None,
    as_of: datetime | None = None,
    known_at: datetime | None = None,
    table: FromClause = records,
) -> ColumnElement[bool]:
    """Return the condition that a search in `scope` may find a record: what is evidence there, but never a task.

    A task is asked for by its name. Its demonstrations look like many a question, and are evidence for none.
    """
    evidence = selected(filters=filters, as_of=as_of, known_at=known_at, table=table)
    return and_(seen_by(scope, table=table), evidence, table.c.kind != Kind.TASK)


def in_parts(items: Iterable[_T]) -> Iterator[Sequence[_T]]:
    """Cut a long list into parts short enough for one SQL IN."""
    rest = iter(items)
    while part := list(itertools.islice(rest, _PART)):
        yield part


def _evidence_at(table: FromClause, time: int, *, among: Sequence[Status]) -> ColumnElement[bool]:
    """Return the condition that a record was valid, and that no other value interrupted it.

    A value that was stated again later spans the values in between, and a value without an end spans those with one:
    the latest to begin was the current one.
    """
    other = table.alias("other")
    interrupted = exists().where(
        other.c.slot_key == table.c.slot_key,
        other.c.scope_key == table.c.scope_key,
        other.c.status.in_(among),
        or_(
            other.c.valid_from > table.c.valid_from,
            and_(other.c.valid_from == table.c.valid_from, other.c.version > table.c.version),
        ),
        _valid_at(other, time),
    )
    return and_(table.c.status.in_(among), _valid_at(table, time), ~interrupted)


def _valid_at(table: FromClause, time: int) -> ColumnElement[bool]:
    return and_(
        table.c.valid_from <= time,
        or_(table.c.valid_to.is_(None), table.c.valid_to > time),
        or_(table.c.expires_at.is_(None), table.c.expires_at > time),
    )
