"""Read the scope of a call from its arguments and filters.

Flow:    public API -> [scoping] -> ledger
Imports: errors, types, protocols.
"""

from __future__ import annotations

from collections.abc import Mapping

from hybrid_memory.errors import FilterError, InputError
from hybrid_memory.protocols import Filters
from hybrid_memory.types import Scope, nested_deeper, quoted, unkeepable

__all__ = ["mentions", "read_scope"]

DEEPEST = 40
"""Lists and dicts inside each other; 16 joins, as the ledger takes them, need 34."""


def read_scope(
    filters: Filters | None = None,
    *,
    tenant_id: str | None,
    user_id: str | None,
    agent_id: str | None,
    run_id: str | None,
) -> tuple[Scope, Filters | None]:
    """Return the scope and the filters that are left.

    Scopes are accepted as arguments and at the top level of `filters`, because users of other memory
    libraries know both; given twice they must agree. A filter can never widen a scope.

    Raises:
        InputError: an empty or non-text scope, or one that no database keeps.
        FilterError: two different values for one scope, or filters that are no dict, too deep, or have other keys than
            text or text that no database keeps.
    """
    given = {"tenant_id": tenant_id, "user_id": user_id, "agent_id": agent_id, "run_id": run_id}
    _check(filters)
    rest = dict(filters or {})
    for name in given:
        if isinstance(rest.get(name), str):
            wanted = rest.pop(name)
            if given[name] not in (None, wanted):
                raise FilterError(
                    f"{name} is {quoted(given[name])} as argument and {quoted(wanted)} in filters; give it once"
                )
            given[name] = str(wanted)
    for name, value in given.items():
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise InputError(
                f"{name} must be non-empty text, got {quoted(value)}; leave it out for everybody's knowledge"
            )
        if bad := unkeepable(value):
            raise InputError(f"{name} has {bad} in it, which no database keeps; got {quoted(value)}")
    return Scope(**given), rest or None


def mentions(filters: object, field: str) -> bool:
    """Tell whether a filter, or one joined into it, is about a field.

    >>> mentions({"or": [{"source": "wiki"}, {"kind": "fact"}]}, "source")
    True
    """
    if isinstance(filters, Mapping):
        return field in filters or any(mentions(inner, field) for inner in filters.values())
    return isinstance(filters, list | tuple) and any(mentions(inner, field) for inner in filters)


def _check(filters: object) -> None:
    if filters is None:
        return
    if not isinstance(filters, Mapping):
        raise FilterError(f"filters must be a dict such as {{'source': 'wiki'}}, got {quoted(filters)}")
    if nested_deeper(filters, DEEPEST):
        raise FilterError("the filter is nested deeper than 16 levels; flatten it")
    if bad := unkeepable(filters):
        raise FilterError(f"the filter has {bad} in it, which no record can have; got {quoted(filters)}")
    _check_keys(filters)


def _check_keys(filters: object) -> None:
    if isinstance(filters, Mapping):
        for key, value in filters.items():
            if not isinstance(key, str):
                raise FilterError(f"the keys of a filter are text, such as 'source' or 'gte'; got {quoted(key)}")
            _check_keys(value)
    elif isinstance(filters, list | tuple):
        for part in filters:
            _check_keys(part)
