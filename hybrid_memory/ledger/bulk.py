"""Insert many rows of one table: what `connection.execute(insert(table), rows)` stores, at a fraction of its cost.

Flow:    writing.py and standing.py, for the rows that every record brings.
Imports: sqlalchemy only.

SQLAlchemy compiles the statement and knows how each column turns a value into what the driver takes; that is asked
once. Per row it would build a dict of all parameters and look each of them up, which takes longer than SQLite needs
to store the row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from sqlalchemy import Connection, Dialect, Table, insert

__all__ = ["insert_rows"]

_Convert: TypeAlias = Callable[[Any], Any]


def insert_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, all of which name the same columns; none is fine."""
    if not rows:
        return
    statement, names, converts, by_name = _prepared(table, tuple(rows[0]), connection.dialect)
    values = [[row[name] for name in names] for row in rows]
    for place, convert in converts:
        for line in values:
            line[place] = convert(line[place])
    given: list[Any] = [dict(zip(names, line, strict=True)) for line in values] if by_name else list(map(tuple, values))
    connection.exec_driver_sql(statement, given)


@lru_cache(maxsize=64)
def _prepared(
    table: Table, columns: tuple[str, ...], dialect: Dialect
) -> tuple[str, tuple[str, ...], tuple[tuple[int, _Convert], ...], bool]:
    """Return the statement, its parameters in order, those to convert, and whether the driver takes them by name."""
    # inline: or SQLAlchemy would ask PostgreSQL for the numbers of the new rows.
    compiled = insert(table).inline().compile(dialect=dialect, column_keys=list(columns))
    by_name = not compiled.positional
    names = columns if by_name else tuple(compiled.positiontup or ())
    found = (
        (place, table.c[name].type.dialect_impl(dialect).bind_processor(dialect)) for place, name in enumerate(names)
    )
    return str(compiled), names, tuple((place, convert) for place, convert in found if convert is not None), by_name
