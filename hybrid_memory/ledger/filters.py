"""Filter dicts -> SQL conditions on records.

Flow:    selection.py adds what this returns to scope and time with AND, so a filter can only narrow.
Imports: errors, types, and clock, expressions, tables of the ledger.

`{"source": "wiki", "metadata.year": {"gte": 2020}, "or": [{...}, {...}], "not": {...}}`: keys of one
dict must all hold. `metadata.n.b` is the metadata key "n.b", or "b" inside "n". Nothing is compared in Python; every
value travels as a bound parameter.
A missing value differs from every value, and so does a metadata value of another type (text, number, true or false):
`ne` and `nin` hold for it, all other operators do not.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any, TypeAlias

from sqlalchemy import Column, ColumnElement, FromClause, and_, false, func, literal, not_, or_, true
from sqlalchemy.sql.visitors import replacement_traverse

from hybrid_memory.errors import FilterError, InputError
from hybrid_memory.ledger.clock import to_micros
from hybrid_memory.ledger.expressions import (
    folded,
    json_bool,
    json_has,
    json_has_folded,
    json_number,
    json_present,
    json_text,
    ordered,
    part_of,
)
from hybrid_memory.ledger.tables import records
from hybrid_memory.protocols import Filters
from hybrid_memory.types import Kind, Learning, Route, Status, Trust, quoted

__all__ = ["compiled"]

Condition: TypeAlias = ColumnElement[bool]

_TEXTS = ("id", "text", "source", "subject", "attribute", "value")
_TIMES = ("observed_at", "recorded_at", "valid_from", "valid_to", "expires_at")
_SCOPES = ("tenant_id", "user_id", "agent_id", "run_id")
_WORDS: dict[str, type[StrEnum]] = {
    "kind": Kind,
    "trust": Trust,
    "status": Status,
    "route": Route,
    "learning": Learning,
}
_FIELDS = (*_TEXTS, *_WORDS, *_TIMES, *_SCOPES)
_METADATA = "metadata."

_EQUALITY = ("eq", "in")
_CHOICE = ("eq", "ne", "in", "nin", "exists")
_ORDER = ("gt", "gte", "lt", "lte")
_PARTS = ("contains", "icontains")
_OPERATORS = (*_CHOICE, *_ORDER, *_PARTS)
_JOINS = ("and", "or", "not")

_MAX_DEPTH = 16
_MAX_LIST = 10_000
"""SQLite takes 32,766 parameters in one statement; three lists of this length fit."""
_LARGEST = 2**63 - 1


def compiled(filters: Filters, table: FromClause = records) -> Condition:
    """Return the SQL condition of a filter dict on a table with the columns of `records`; an empty dict always holds.

    Raises:
        FilterError: an unknown field or operator (the message proposes the nearest), or a value of the wrong type.
    """
    condition = _all(filters, depth=0)
    if table is records:
        return condition
    # Written for `records` first: every function between here and a column would have to hand the table on.
    return replacement_traverse(condition, {}, partial(_moved, table=table))


def _moved(element: object, *, table: FromClause, **_: Any) -> ColumnElement[Any] | None:
    return table.c[element.name] if isinstance(element, Column) and element.table is records else None


def _all(filters: object, *, depth: int) -> Condition:
    if not isinstance(filters, Mapping):
        raise FilterError(f"a filter must be a dict such as {{'source': 'wiki'}}, got {quoted(filters)}")
    if depth > _MAX_DEPTH:
        raise FilterError(f"the filter is nested deeper than {_MAX_DEPTH} levels; flatten it")
    return and_(true(), *(_one(key, value, depth=depth) for key, value in filters.items()))


def _one(key: str, value: object, *, depth: int) -> Condition:
    if key == "not":
        # NOT of NULL is NULL, which would drop the rows that have no value.
        return not_(func.coalesce(_all(value, depth=depth + 1), false()))
    if key in _JOINS:
        if isinstance(value, str | Mapping) or not isinstance(value, Sequence) or not value:
            raise FilterError(f"{quoted(key)} takes a list of one or more filters, got {quoted(value)}")
        parts = [_all(part, depth=depth + 1) for part in value]
        return and_(*parts) if key == "and" else or_(*parts)
    tests = value if isinstance(value, Mapping) else {"eq": value}
    if not tests:
        raise FilterError(f"the filter on {quoted(key)} is empty; operators are {', '.join(_OPERATORS)}")
    return and_(*(_test(key, operator, operand) for operator, operand in tests.items()))


def _test(field: str, operator: str, operand: object) -> Condition:
    if operator not in _OPERATORS:
        raise FilterError(f"unknown operator {quoted(operator)} on {quoted(field)}; {_nearest(operator, _OPERATORS)}")
    if operator == "exists" and not isinstance(operand, bool):
        raise FilterError(f"'exists' on {quoted(field)} takes true or false, got {quoted(operand)}")
    if field.startswith(_METADATA):
        return _metadata_test(field, operator, operand)
    if field not in _FIELDS:
        raise FilterError(f"unknown field {quoted(field)}; {_nearest_field(field)}")
    allowed = _allowed(field)
    if operator not in allowed:
        raise FilterError(f"{quoted(field)} cannot be tested with {quoted(operator)}; it takes {', '.join(allowed)}")
    return _column_test(field, operator, operand)


def _allowed(field: str) -> tuple[str, ...]:
    if field in _SCOPES:
        return _EQUALITY
    if field in _WORDS:
        return _CHOICE
    return (*_CHOICE, *_ORDER) if field in _TIMES else _OPERATORS


# ---------------------------------------------------------------- columns


def _column_test(field: str, operator: str, operand: object) -> Condition:
    column: ColumnElement[Any] = records.c[field]
    if operator == "exists":
        return column.is_not(None) if operand else column.is_(None)
    if operator in {"in", "nin"}:
        return _membership(column, operator, [_operand(field, item) for item in _items(field, operator, operand)])
    if operand is None:
        return _missing(column.is_not(None), field, operator)
    value = _operand(field, operand)
    if operator in _PARTS:
        return _part(column, operator, str(value))
    if operator in _ORDER and field in _TEXTS:
        column = ordered(column)
    return _comparison(column, operator, value)


def _operand(field: str, value: object) -> str | int:
    if field in _TIMES:
        return _time(field, value)
    if not isinstance(value, str):
        raise FilterError(f"{quoted(field)} is text, got {quoted(value)} of type {type(value).__name__}")
    words = [str(word) for word in _WORDS.get(field, ())]
    if words and value not in words:
        raise FilterError(f"{quoted(value)} is no {field}; {_nearest(value, words)}")
    return str(value)


def _time(field: str, value: object) -> int:
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError as error:
        raise FilterError(f"{quoted(field)} is a time, got {quoted(value)}; write 2025-01-31T00:00:00+00:00") from error
    if not isinstance(time, datetime):
        raise FilterError(
            f"{quoted(field)} is a time, got {quoted(value)}; give a datetime or 2025-01-31T00:00:00+00:00"
        )
    try:
        return to_micros(time, f"the filter value of {quoted(field)}")
    except InputError as error:
        raise FilterError(str(error)) from error


# ---------------------------------------------------------------- metadata


def _metadata_test(field: str, operator: str, operand: object) -> Condition:
    key = field.removeprefix(_METADATA)
    if not key or any(sign in '"\\' or ord(sign) < 32 for sign in key):
        raise FilterError(
            f"{quoted(field)} names no metadata key; write metadata.<key>, without quotes or backslashes in it"
        )
    paths = _paths(key)
    present = or_(*(json_present(records.c["metadata"], path) for path in paths))
    if operator == "exists":
        return present if operand else not_(present)
    if operator in {"in", "nin"}:
        values = [_scalar(field, item) for item in _items(field, operator, operand)]
        among = or_(false(), *(_member(paths, _type_of(same[0])).in_(same) for same in _by_type(values)))
        return among if operator == "in" else not_(func.coalesce(among, false()))
    if operand is None:
        return _missing(present, field, operator)
    scalar = _scalar(field, operand)
    if operator in _PARTS:
        return _metadata_part(paths, operator, scalar)
    member = _member(paths, _type_of(scalar))
    return _comparison(ordered(member) if operator in _ORDER and isinstance(scalar, str) else member, operator, scalar)


def _paths(key: str) -> list[str]:
    """Return the ways to a metadata value: under the key as it is, and with dots in it also through nested objects."""
    steps = key.split(".")
    return [key, '"."'.join(steps)] if len(steps) > 1 and all(steps) else [key]


def _metadata_part(paths: Sequence[str], operator: str, part: str | float) -> Condition:
    column = records.c["metadata"]
    if not isinstance(part, str):
        return or_(*(json_has(column, path, part) for path in paths))
    has = json_has if operator == "contains" else json_has_folded
    listed = (has(column, path, part) for path in paths)
    return or_(*listed, func.coalesce(_part(_member(paths, str), operator, part), false()))


def _member(paths: Sequence[str], kind: type) -> ColumnElement[Any]:
    """Return the metadata value as an SQL value of one type, from the first path that has one; NULL otherwise."""
    read: dict[type, Callable[[Column[Any], str], ColumnElement[Any]]] = {
        str: json_text,
        float: json_number,
        bool: json_bool,
    }
    first, *others = (read[kind](records.c["metadata"], path) for path in paths)
    return func.coalesce(first, *others) if others else first


def _type_of(value: str | float) -> type:
    return type(value) if isinstance(value, str | bool) else float


def _by_type(values: Sequence[str | float]) -> list[list[str | float]]:
    # whole numbers by themselves too: of a list that begins with one, PostgreSQL would round the others
    same: dict[type, list[str | float]] = {}
    for value in values:
        same.setdefault(type(value), []).append(value)
    return list(same.values())


def _scalar(field: str, value: object) -> str | float:
    if isinstance(value, int) and not -_LARGEST <= value <= _LARGEST:
        raise FilterError(f"{quoted(field)} cannot be compared with {quoted(value)}; whole numbers go up to {_LARGEST}")
    if isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise FilterError(
        f"{quoted(field)} can be compared with text, a number, true or false, got {quoted(value)}; "
        "for one of several values write {'in': [...]}"
    )


# ---------------------------------------------------------------- operators


def _comparison(left: ColumnElement[Any], operator: str, right: str | float) -> Condition:
    tests: dict[str, Callable[[], Condition]] = {
        "eq": lambda: left == literal(right),
        "ne": lambda: left.is_distinct_from(literal(right)),
        "gt": lambda: left > literal(right),
        "gte": lambda: left >= literal(right),
        "lt": lambda: left < literal(right),
        "lte": lambda: left <= literal(right),
    }
    return tests[operator]()


def _membership(left: ColumnElement[Any], operator: str, values: Sequence[str | float]) -> Condition:
    return left.in_(values) if operator == "in" else or_(left.is_(None), left.not_in(values))


def _missing(present: Condition, field: str, operator: str) -> Condition:
    if operator not in {"eq", "ne"}:
        raise FilterError(
            f"{quoted(field)} cannot be tested with {quoted(operator)} against nothing; use {{'exists': false}}"
        )
    return not_(present) if operator == "eq" else present


def _part(left: ColumnElement[Any], operator: str, part: str) -> Condition:
    if operator == "contains":
        return part_of(left, literal(part))
    return part_of(folded(left), folded(literal(part)))


def _items(field: str, operator: str, operand: object) -> Sequence[object]:
    if isinstance(operand, str | Mapping) or not isinstance(operand, Sequence):
        raise FilterError(f"{quoted(operator)} on {quoted(field)} takes a list, got {quoted(operand)}")
    if len(operand) > _MAX_LIST:
        raise FilterError(
            f"{quoted(operator)} on {quoted(field)} has {len(operand)} values; {_MAX_LIST} is the most, "
            "ask in several calls"
        )
    return operand


# ---------------------------------------------------------------- proposals


def _nearest(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word.lstrip("$").lower(), known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"


def _nearest_field(field: str) -> str:
    near = difflib.get_close_matches(field.lower(), (*_FIELDS, *_JOINS), n=1)
    proposal = (
        f"did you mean {near[0]!r}, or {quoted(_METADATA + field)}?"
        if near
        else f"did you mean {quoted(_METADATA + field)}?"
    )
    return f"{proposal} Known fields: {', '.join(_FIELDS)} and metadata.<key>"
