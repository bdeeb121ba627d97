"""A page of what a query in a scope sees, in id order, without reading the scope through.

Flow:    reading.find, when it is asked for so many records of a scope.
Imports: selection, tables of the ledger.

A query sees the records of several scopes. The index has the ids of each in order, and none has those of all: sorted
by the database they would all be read first. So the end of a stretch is looked up, by merging the scopes' ids, and
then only the records of that stretch are read and sorted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, func, select, union_all

from hybrid_memory.ledger.selection import remembered
from hybrid_memory.ledger.tables import records

__all__ = ["page_of"]

_GROWTH = 4
"""Of a stretch after one that did not fill the page: few of the scope's records pass the query's other conditions."""


def page_of(
    connection: Connection, query: Select[Any], keys: Sequence[str], *, after: str | None, limit: int
) -> list[RowMapping]:
    """Return the first `limit` rows of a query, or all when there are fewer.

    Args:
        connection: inside a transaction that sees one moment.
        query: over records in scopes with these keys, in id order.
        keys: of scopes.
        after: only rows with a greater id; None begins at the first.
        limit: 0 or more.
    """
    begin, size = after or "", limit
    found: list[RowMapping] = []
    while len(found) < limit:
        end, there = _stretch(connection, keys, begin, size)
        if end is None:
            break
        column = query.selected_columns.id
        stretch = query.where(column > begin, column <= end)
        found += connection.execute(stretch.limit(limit - len(found))).mappings()
        if there < size:
            break
        begin, size = end, _GROWTH * size
    return found


def _stretch(connection: Connection, keys: Sequence[str], begin: str, size: int) -> tuple[str | None, int]:
    """Return the last of the `size` ids behind an id, and how many there are; None when there are none."""
    later = select(records.c.id).where(records.c.id > begin, remembered()).order_by(records.c.id).limit(size)
    # Each scope is cut by itself: PostgreSQL would sort all that is to be merged.
    ids = [select(later.where(records.c.scope_key == key).subquery()) for key in keys]
    behind = union_all(*ids).order_by("id").limit(size).subquery("behind")
    end, there = connection.execute(select(func.max(behind.c.id), func.count(behind.c.id))).one()
    return end, there
