"""Read what a caller gave, and refuse what cannot be meant before anything is done.

Flow:    public API -> [arguments] -> the stages
Imports: errors, types, scoping.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, TypeVar, overload

from hybrid_memory.errors import InputError
from hybrid_memory.scoping import read_scope
from hybrid_memory.types import Mode, Route

__all__ = ["at_least", "member", "positive", "read_question", "read_stamp", "seconds"]

Word = TypeVar("Word", Route, Mode)


def read_question(text: str) -> str:
    """Return the question without surrounding space; InputError when it is no text, or empty."""
    if not isinstance(text, str):
        raise InputError(f"a question must be text, got {type(text).__name__}")
    if not text.strip():
        raise InputError("the question is empty; ask something")
    return text.strip()


@overload
def seconds(duration: timedelta | float) -> float: ...


@overload
def seconds(duration: timedelta | float | None) -> float | None: ...


def seconds(duration: timedelta | float | None) -> float | None:
    """Return a duration in seconds."""
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def member(kind: type[Word], name: str, value: Word | str | None) -> Word | None:
    """Return the word of that value, None for None; InputError lists the words there are."""
    if value is None:
        return None
    try:
        return kind(value)
    except ValueError:
        names = ", ".join(member.value for member in kind)
        raise InputError(f"{name} must be one of {names}; got {value!r}") from None


def at_least(name: str, value: int | None, least: int) -> None:
    """Raise InputError for a number that is not whole, or less than `least`; None passes."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
        raise InputError(f"{name} must be a whole number of {least} or more, got {value!r}")


def positive(name: str, value: float | None) -> None:
    """Raise InputError for what is no number above 0; None passes."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value > 0):
        raise InputError(f"{name} must be a number above 0, got {value!r}")


def read_stamp(
    *,
    tenant_id: str | None = None,
    user_id: str | None = None,
    agent_id: str | None = None,
    run_id: str | None = None,
    route: Route | str | None = None,
    force: bool = False,
    ttl: timedelta | float | None = None,
    **rest: Any,
) -> dict[str, Any]:
    """Return the keyword arguments of `HybridMemory.ingest` as the intake takes them (scope, route, ttl_s)."""
    scope, _ = read_scope(tenant_id=tenant_id, user_id=user_id, agent_id=agent_id, run_id=run_id)
    return {"scope": scope, "route": member(Route, "route", route), "force": force, "ttl_s": seconds(ttl), **rest}
