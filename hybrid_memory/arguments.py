"""Read what a caller gave, and refuse what cannot be meant before anything is done.

Flow:    public API -> [arguments] -> the stages
Imports: errors, types, scoping, and the readers of times and metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar, overload

from hybrid_memory.errors import InputError
from hybrid_memory.ingest.stamp import as_metadata, as_time
from hybrid_memory.scoping import read_scope
from hybrid_memory.types import Json, Mode, Route, unkeepable

__all__ = [
    "at_least",
    "member",
    "moment",
    "positive",
    "read_metadata",
    "read_name",
    "read_question",
    "read_stamp",
    "seconds",
]

Word = TypeVar("Word", Route, Mode)


def read_question(text: str) -> str:
    """Return the question without surrounding space; InputError when it is no text, or empty."""
    if not isinstance(text, str):
        raise InputError(f"a question must be text, got {type(text).__name__}")
    if not text.strip():
        raise InputError("the question is empty; ask something")
    if bad := unkeepable(text):
        raise InputError(f"the question has {bad} in it; decode it with the right encoding")
    return text.strip()


def read_name(what: str, name: str) -> str:
    """Return a name without surrounding space; InputError when it is no text, or empty."""
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"{what} is a name, got {name!r}")
    return name.strip()


def moment(name: str, time: datetime | None) -> datetime | None:
    """Return a time in UTC, None for None; InputError when it is no datetime, or ISO 8601 text, with a zone."""
    return None if time is None else as_time(time, name)


def read_metadata(metadata: Mapping[str, Json] | None) -> Mapping[str, Json] | None:
    """Return metadata as it is kept, None for None; InputError when it is no plain JSON data with text keys."""
    return None if metadata is None else as_metadata(metadata)


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


def at_least(name: str, value: int | None, least: int, *, most: int | None = None) -> None:
    """Raise InputError for a number that is not whole, less than `least` or more than `most`; None passes."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value is not None and not (whole and least <= value <= (value if most is None else most)):
        span = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise InputError(f"{name} must be a whole number {span}, got {value!r}")


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
