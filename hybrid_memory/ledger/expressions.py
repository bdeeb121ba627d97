"""SQL expressions that each database writes in its own way: JSON members by type, parts of texts, folded case.

Flow:    filters.py composes them; SQLAlchemy compiles each for the database at hand.
Imports: sqlalchemy only.

A JSON member is read through its type: `json_text` is NULL for a number, `json_number` for a text. So a value never
equals one of another type, on no database, and nothing is ever cast that cannot be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from sqlalchemy import Boolean, Column, ColumnElement, Numeric, Text, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

__all__ = [
    "folded",
    "json_bool",
    "json_has",
    "json_has_folded",
    "json_number",
    "json_present",
    "json_text",
    "ordered",
    "part_of",
]

# A label is compared as it is written, without escapes, so filters.py refuses keys that would need one. Without quotes
# in any key, '"."' can only stand between two of them: a"."b is the way to b inside a.
_SQLITE_MEMBER = "{0}, '$.\"' || {1} || '\"'"
_MEMBER = "CAST({0} AS JSONB) #> string_to_array({1}, '\".\"')"


class _Portable(FunctionElement[Any]):
    """One expression, with what each dialect writes for it; {0}, {1}, … are its arguments."""

    inherit_cache = True
    templates: ClassVar[Mapping[str, str]]


@compiles(_Portable)
def _write(element: _Portable, compiler: SQLCompiler, **options: Any) -> str:
    parts = [compiler.process(clause, **options) for clause in element.clauses]
    return "(" + element.templates[compiler.dialect.name].format(*parts) + ")"


def _sqlite_typed(*types: str) -> str:
    names = ", ".join(f"'{name}'" for name in types)
    return f"CASE WHEN json_type({_SQLITE_MEMBER}) IN ({names}) THEN json_extract({_SQLITE_MEMBER}) END"


def _postgresql_typed(kind: str, cast: str) -> str:
    return f"CASE WHEN jsonb_typeof({_MEMBER}) = '{kind}' THEN CAST(({_MEMBER}) #>> '{{{{}}}}' AS {cast}) END"


class _JsonText(_Portable):
    name, type, inherit_cache = "json_text", Text(), True
    templates: ClassVar = {
        "sqlite": _sqlite_typed("text"),
        "postgresql": _postgresql_typed("string", "TEXT"),
    }


class _JsonNumber(_Portable):
    name, type, inherit_cache = "json_number", Numeric(asdecimal=False), True
    templates: ClassVar = {
        "sqlite": _sqlite_typed("integer", "real"),
        "postgresql": _postgresql_typed("number", "NUMERIC"),
    }


class _JsonBool(_Portable):
    name, type, inherit_cache = "json_bool", Boolean(), True
    templates: ClassVar = {
        "sqlite": _sqlite_typed("true", "false"),
        "postgresql": _postgresql_typed("boolean", "BOOLEAN"),
    }


class _JsonPresent(_Portable):
    name, type, inherit_cache = "json_present", Boolean(), True
    templates: ClassVar = {
        "sqlite": f"json_extract({_SQLITE_MEMBER}) IS NOT NULL",
        "postgresql": f"coalesce(jsonb_typeof({_MEMBER}) <> 'null', false)",
    }


class _JsonHas(_Portable):
    name, type, inherit_cache = "json_has", Boolean(), True
    templates: ClassVar = {
        "sqlite": f"coalesce(json_type({_SQLITE_MEMBER}) = 'array', 0) AND EXISTS ("
        f"SELECT 1 FROM json_each({_SQLITE_MEMBER}) item WHERE item.value = json_extract({{2}}, '$') "
        "AND replace(item.type, 'real', 'integer') = replace(json_type({2}), 'real', 'integer'))",
        "postgresql": f"coalesce(jsonb_typeof({_MEMBER}) = 'array' AND ({_MEMBER}) @> CAST({{2}} AS JSONB), false)",
    }


class _JsonHasFolded(_Portable):
    name, type, inherit_cache = "json_has_folded", Boolean(), True
    templates: ClassVar = {
        "sqlite": f"coalesce(json_type({_SQLITE_MEMBER}) = 'array', 0) AND EXISTS ("
        f"SELECT 1 FROM json_each({_SQLITE_MEMBER}) item WHERE item.type = 'text' "
        "AND casefold(item.value) = casefold({2}))",
        "postgresql": f"CASE WHEN jsonb_typeof({_MEMBER}) = 'array' THEN EXISTS ("
        f"SELECT 1 FROM jsonb_array_elements({_MEMBER}) AS item(value) WHERE jsonb_typeof(item.value) = 'string' "
        "AND lower(item.value #>> '{{}}') = lower({2})) ELSE false END",
    }


class _PartOf(_Portable):
    name, type, inherit_cache = "part_of", Boolean(), True
    templates: ClassVar = {"sqlite": "instr({0}, {1}) > 0", "postgresql": "strpos({0}, {1}) > 0"}


class _Folded(_Portable):
    name, type, inherit_cache = "folded", Text(), True
    templates: ClassVar = {"sqlite": "casefold({0})", "postgresql": "lower({0})"}  # casefold is ours, see sqlite.py


class _Ordered(_Portable):
    name, type, inherit_cache = "ordered", Text(), True
    templates: ClassVar = {"sqlite": "{0}", "postgresql": '{0} COLLATE "C"'}


def json_text(column: Column[Any], key: str) -> ColumnElement[str]:
    """Return a JSON member that is text; NULL when it is anything else."""
    return _JsonText(column, literal(key, Text()))


def json_number(column: Column[Any], key: str) -> ColumnElement[float]:
    """Return a JSON member that is a number; NULL when it is anything else."""
    return _JsonNumber(column, literal(key, Text()))


def json_bool(column: Column[Any], key: str) -> ColumnElement[bool]:
    """Return a JSON member that is true or false; NULL when it is anything else."""
    return _JsonBool(column, literal(key, Text()))


def json_present(column: Column[Any], key: str) -> ColumnElement[bool]:
    """Tell whether a JSON member is there and not null; never NULL itself."""
    return _JsonPresent(column, literal(key, Text()))


def json_has(column: Column[Any], key: str, item: str | float) -> ColumnElement[bool]:
    """Tell whether a JSON member is a list that has a value, type and all; never NULL itself."""
    return _JsonHas(column, literal(key, Text()), literal(json.dumps(item), Text()))


def json_has_folded(column: Column[Any], key: str, item: str) -> ColumnElement[bool]:
    """Tell whether a JSON member is a list that has a text, whatever its case; never NULL itself."""
    return _JsonHasFolded(column, literal(key, Text()), literal(item, Text()))


def part_of(column: ColumnElement[str], part: ColumnElement[str]) -> ColumnElement[bool]:
    """Tell whether a text has another in it, case and all; LIKE would read % and _ as wildcards."""
    return _PartOf(column, part)


def folded(column: ColumnElement[str]) -> ColumnElement[str]:
    """Return a text with its case folded: by Unicode's rule in SQLite, by the database's locale in PostgreSQL."""
    return _Folded(column)


def ordered(column: ColumnElement[str]) -> ColumnElement[str]:
    """Return a text that is compared by code points, whatever the database's locale."""
    return _Ordered(column)
