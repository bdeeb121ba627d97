"""Scopes: given as arguments or in filters, never widened."""

from __future__ import annotations

import pytest

from hybrid_memory.errors import FilterError, InputError
from hybrid_memory.protocols import Filters
from hybrid_memory.scoping import read_scope
from hybrid_memory.types import Scope


def scoped(filters: Filters | None = None, **given: str | None) -> tuple[Scope, Filters | None]:
    names: dict[str, str | None] = {"tenant_id": None, "user_id": None, "agent_id": None, "run_id": None}
    return read_scope(**{**names, **given}, filters=filters)  # type: ignore[arg-type]


def test_a_scope_may_stand_in_arguments_or_in_filters() -> None:
    """What is left of the filters is a filter."""
    ann = Scope(tenant_id="acme", user_id="ann")

    assert scoped(tenant_id="acme", user_id="ann") == (ann, None)
    assert scoped({"user_id": "ann", "source": "wiki"}, tenant_id="acme") == (ann, {"source": "wiki"})
    assert scoped({"user_id": "ann"}, tenant_id="acme", user_id="ann") == (ann, None)
    assert scoped() == (Scope(), None)


def test_the_callers_filters_are_not_changed() -> None:
    """They may be used for the next call."""
    filters = {"user_id": "ann", "source": "wiki"}

    scoped(filters)

    assert filters == {"user_id": "ann", "source": "wiki"}


def test_a_filter_cannot_name_another_scope_than_the_argument() -> None:
    """Neither wins silently."""
    with pytest.raises(FilterError, match="user_id is 'ann' as argument and 'ben' in filters; give it once"):
        scoped({"user_id": "ben"}, user_id="ann")


def test_a_condition_on_a_scope_stays_a_filter() -> None:
    """It can only narrow what the scope shows."""
    condition: Filters = {"user_id": {"in": ["ann", "ben"]}}

    assert scoped(condition, tenant_id="acme") == (Scope(tenant_id="acme"), condition)


@pytest.mark.parametrize("value", ["", "  ", 7, b"ann"])
def test_a_scope_is_text_that_is_not_empty(value: object) -> None:
    """An empty user is nobody, not everybody."""
    with pytest.raises(InputError, match="user_id must be non-empty text"):
        scoped(user_id=value)  # type: ignore[arg-type]
    if isinstance(value, str):
        with pytest.raises(InputError, match="run_id must be non-empty text"):
            scoped({"run_id": value})
