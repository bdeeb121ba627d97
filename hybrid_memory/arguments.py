"""Read what a caller gave, and refuse what cannot be meant before anything is done.

Flow:    public API -> [arguments] -> the stages
Imports: errors, types, scoping, and the readers of times and metadata.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, overload

from hybrid_memory.errors import InputError
from hybrid_memory.ingest.stamp import as_metadata, as_time
from hybrid_memory.scoping import read_scope
from hybrid_memory.types import LARGEST, Json, Mode, Route, quoted, unkeepable

__all__ = [
    "at_least",
    "callback",
    "known_options",
    "listed",
    "member",
    "moment",
    "positive",
    "read_metadata",
    "read_name",
    "read_path",
    "read_policy",
    "read_question",
    "read_stamp",
    "seconds",
    "whole",
]

OTHER_NAMES = {
    "top_k": "passages",
    "k": "passages",
    "limit": "passages",
    "max_tokens": "max_new_tokens",
    "session_id": "run_id",
    "thread_id": "run_id",
    "timestamp": "observed_at",
    "created_at": "observed_at",
    "tags": "metadata",
}
"""What other libraries and other calls of this one call an option."""

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
        raise InputError(f"{what} is a name, got {quoted(name)}")
    return name.strip()


def read_path(what: str, path: Path | str) -> Path:
    """Return the path of a file or folder; InputError when it is neither text nor a Path."""
    if not isinstance(path, str | Path) or not str(path).strip() or "\0" in str(path):
        raise InputError(f"{what} is a path, got {quoted(path)}")
    return Path(path)


def read_policy(policy: Path | str) -> str:
    """Return a policy's name, or the path of its file, as text; InputError when it is neither."""
    if not isinstance(policy, str | Path):
        raise InputError(f"a policy is a name or a path, got {quoted(policy)}")
    return str(policy)


def listed(what: str, values: object, of: str) -> None:
    """Raise InputError for what is not a list, or something like it, of values of a kind that `of` names."""
    if isinstance(values, str | bytes | Path | Mapping) or not isinstance(values, Iterable):
        raise InputError(f"{what} takes a list of {of}, got {type(values).__name__}")


def known_options(
    call: Callable[..., object], given: Mapping[str, object], *, named: str, besides: Sequence[str] = ()
) -> None:
    """Raise InputError for an option that a call does not have; the message proposes one.

    Args:
        call: whose keyword arguments are accepted.
        given: what was handed to the call that passes them on.
        named: what that one is called.
        besides: keyword arguments that are not passed on.
    """
    parameters = inspect.signature(call).parameters.values()
    known = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY and one.name not in besides]
    for name in given:
        if name not in known:
            raise InputError(f"{named}() has no option {quoted(name)}; {_proposed(name, known)}")


def _proposed(name: str, known: Sequence[str]) -> str:
    elsewhere = [OTHER_NAMES[name]] if OTHER_NAMES.get(name) in known else []
    near = elsewhere or difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"


def callback(name: str, function: object) -> None:
    """Raise InputError for what cannot be called; None passes."""
    if function is not None and not callable(function):
        raise InputError(f"{name} must be a function that is called meanwhile, got {quoted(function)}; leave it out")


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
        raise InputError(f"{name} must be one of {names}; got {quoted(value)}") from None


def at_least(name: str, value: int | None, least: int, *, most: int | None = None) -> None:
    """Raise InputError for a number that is not whole, less than `least` or more than `most`; None passes."""
    if value is not None:
        whole(name, value, least, most=most)


def whole(name: str, value: int, least: int, *, most: int | None = None) -> None:
    """Raise InputError for what is no whole number, less than `least` or more than `most`."""
    number = isinstance(value, int) and not isinstance(value, bool)
    if not (number and least <= value <= (LARGEST if most is None else most)):
        open_ended = most is None and not (number and value > LARGEST)
        span = f"of {least} or more" if open_ended else f"from {least} to {most or LARGEST}"
        raise InputError(f"{name} must be a whole number {span}, got {quoted(value)}")


def positive(name: str, value: float | None) -> None:
    """Raise InputError for what is no number above 0, or one that no clock counts to; None passes."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise InputError(f"{name} must be a number above 0, got {quoted(value)}")
    if isinstance(value, int) and value > LARGEST:
        raise InputError(f"{name} must be a number from 0 to {LARGEST}, got {quoted(value)}; leave it out for no limit")


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
