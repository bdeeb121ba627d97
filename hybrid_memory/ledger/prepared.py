"""Statements that are made once: what `connection.execute` reads and stores, at a fraction of its cost.

Flow:    the queries and inserts that every write and every search brings.
Imports: sqlalchemy only.

SQLAlchemy compiles a statement and knows how each column turns a value into what the driver takes and gives; that is
asked once. Each time, it would look all of it up again and build a dict of all parameters: SQLite needs a tenth of that
time to answer. So the driver's own cursor gets SQL and values, inside the connection's transaction; its errors come as
they are, which database.py knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from sqlalchemy import Connection, Dialect, Select, Table, insert

__all__ = ["Query", "insert_rows"]

_Convert: TypeAlias = Callable[[Any], Any]


class Query:
    """A SELECT with named columns; what it is given are texts, whole numbers, and lists of them ("expanding")."""

    def __init__(self, statement: Select[Any]) -> None:
        self._statement = statement

    def rows(self, connection: Connection, **given: Any) -> list[dict[str, Any]]:
        """Return every row as column name -> value.

        Args:
            connection: inside a transaction.
            given: the value of each parameter of the statement, by its name.
        """
        lengths = tuple((name, len(value) if isinstance(value, list) else None) for name, value in given.items())
        made = _compiled(self._statement, connection.dialect, lengths)
        values = [_value(argument, given) for argument in made.arguments]
        cursor = connection.connection.cursor()
        try:
            cursor.execute(made.sql, values if made.keys is None else dict(zip(made.keys, values, strict=True)))
            rows = [dict(zip(made.names, row, strict=True)) for row in cursor.fetchall()]
        finally:
            cursor.close()
        for name, convert in made.converts:
            for row in rows:
                row[name] = convert(row[name])
        return rows


def insert_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, all of which name the same columns; none is fine."""
    if not rows:
        return
    statement, names, converts, by_name = _insert(table, tuple(rows[0]), connection.dialect)
    values = [[row[name] for name in names] for row in rows]
    for place, convert in converts:
        for line in values:
            line[place] = convert(line[place])
    cursor = connection.connection.cursor()
    try:
        cursor.executemany(statement, [dict(zip(names, line, strict=True)) for line in values] if by_name else values)
    finally:
        cursor.close()


@dataclass(frozen=True, slots=True)
class _Given:
    """Stands for a value that is given each time: a parameter, or one item of a list."""

    name: str
    place: int | None


@dataclass(frozen=True, slots=True)
class _Compiled:
    sql: str
    arguments: tuple[Any, ...]
    """In the driver's order: a `_Given`, or what the statement itself says."""
    keys: tuple[str, ...] | None
    """Their names; None when the driver takes them by their places."""
    names: tuple[str, ...]
    converts: tuple[tuple[str, _Convert], ...]


def _value(argument: Any, given: Mapping[str, Any]) -> Any:
    if not isinstance(argument, _Given):
        return argument
    value = given[argument.name]
    return value if argument.place is None else value[argument.place]


@lru_cache(maxsize=256)
def _compiled(statement: Select[Any], dialect: Dialect, lengths: tuple[tuple[str, int | None], ...]) -> _Compiled:
    compiled = statement.compile(dialect=dialect)
    given = {
        name: _Given(name, None) if length is None else [_Given(name, place) for place in range(length)]
        for name, length in lengths
    }
    state = compiled.construct_expanded_state(given)
    columns = statement.selected_columns.items()
    found = ((name, column.type.dialect_impl(dialect).result_processor(dialect, None)) for name, column in columns)
    return _Compiled(
        sql=state.statement,
        arguments=tuple(state.positional_parameters if compiled.positional else state.parameters.values()),
        keys=None if compiled.positional else tuple(state.parameters),
        names=tuple(name for name, _ in columns),
        converts=tuple((name, convert) for name, convert in found if convert is not None),
    )


@lru_cache(maxsize=64)
def _insert(
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
