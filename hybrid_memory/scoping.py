"""Read the scope of a call from its arguments and filters.

Flow:    public API -> [scoping] -> ledger
Imports: errors, types, protocols.
"""

from __future__ import annotations

from hybrid_memory.errors import FilterError, InputError
from hybrid_memory.protocols import Filters
from hybrid_memory.types import Scope

__all__ = ["read_scope"]


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
        InputError: an empty or non-text scope.
        FilterError: two different values for one scope.
    """
    given = {"tenant_id": tenant_id, "user_id": user_id, "agent_id": agent_id, "run_id": run_id}
    rest = dict(filters or {})
    for name in given:
        if isinstance(rest.get(name), str):
            wanted = rest.pop(name)
            if given[name] not in (None, wanted):
                raise FilterError(f"{name} is {given[name]!r} as argument and {wanted!r} in filters; give it once")
            given[name] = str(wanted)
    for name, value in given.items():
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise InputError(f"{name} must be non-empty text, got {value!r}; leave it out for everybody's knowledge")
    return Scope(**given), rest or None
