"""The supersession rule: which value of a slot is current, and when each of them was valid.

Flow:    writing.py and changes.py place the values of a slot again whenever one is added or stated again.
Imports: standing of the ledger. Pure functions: no database here.

The statement with the greatest (valid_from, version) decides; the order of arrival does not. A value that is
stated again later counts from that later statement, so that an older one arriving in between cannot displace it.
A value that came with an end interrupts: while it holds it is the current one, and the values before it go on after it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from hybrid_memory.ledger.standing import Standing, retired
from hybrid_memory.types import Status

__all__ = ["IN_TIMELINE", "current", "displaced", "placed"]

IN_TIMELINE = (Status.ACTIVE, Status.SUPERSEDED, Status.EXPIRED)
"""Forgotten and quarantined values neither hold a slot nor keep another from holding it."""

_Moment: TypeAlias = tuple[int, int]
"""Time in microseconds, version: of two statements for one moment the later arrival decides."""


def placed(values: Sequence[Standing], *, now: int) -> list[Standing]:
    """Return every value of one slot with its end, its successor and its status set anew.

    A value ends where the next statement of another value without an end begins. It is superseded once that moment
    has come; a value announced for the future leaves the present one active until then. A superseded value is never
    revived, not even when its successor is forgotten.

    Args:
        values: all values of one slot in one scope, in any order.
        now: microseconds since 1970 UTC.
    """
    timeline = sorted((value for value in values if value.status in IN_TIMELINE), key=_last_statement)
    lasting = [value for value in timeline if value.declared_to is None and value.expires_at is None]
    beginnings = sorted(lasting, key=_first_statement)
    ends: dict[str, tuple[int, str]] = {}
    for value in timeline:
        # Either the next value's last statement ends this one, or the beginning of some later value does.
        stated = _next(value, lasting, _last_statement)
        begun = _next(value, beginnings, _first_statement)
        candidates = [] if stated is None else [(stated.confirmed_from, stated.id)]
        candidates += [] if begun is None else [(begun.valid_from, begun.id)]
        if candidates:
            ends[value.id] = min(candidates, key=lambda end: end[0])
    return [_ended(value, ends.get(value.id), now=now) if value.status in IN_TIMELINE else value for value in values]


def current(values: Sequence[Standing], *, now: int) -> Standing | None:
    """Return the value that holds the slot now: of the active ones that have begun, the last to be stated."""
    active = [value for value in values if value.status is Status.ACTIVE]
    begun = [value for value in active if value.valid_from <= now and not _over(value, now)]
    return max(begun or active, key=_last_statement, default=None)


def displaced(target: Standing, by: Standing, *, now: int) -> tuple[Standing, Standing]:
    """Return (target, by) after `by` has replaced `target` by request: the target ends where `by` begins.

    When `by` claims an older validity than the target, it counts from the target's last statement: the
    application said which of the two is right, and that outweighs the dates.
    """
    begins = max(by.valid_from, target.valid_from)
    end = begins if target.declared_to is None else min(begins, target.declared_to)
    gone = replace(target, declared_to=end, valid_to=end, superseded_by=by.id)
    if end <= now:
        gone = retired(gone, Status.SUPERSEDED)
    if by.superseded_by == target.id:  # announced as its successor, and taken back
        by = replace(by, declared_to=None, valid_to=None, superseded_by=None)
    return gone, replace(by, confirmed_from=max(by.confirmed_from, target.confirmed_from))


def _over(value: Standing, now: int) -> bool:
    return any(end is not None and end <= now for end in (value.valid_to, value.expires_at))


def _ended(value: Standing, end: tuple[int, str] | None, *, now: int) -> Standing:
    if end is None:
        free = replace(value, valid_to=value.declared_to, superseded_by=None)
        return free if value.status is Status.ACTIVE else value
    time, successor = end
    if value.declared_to is not None and value.declared_to <= time:
        time, successor = value.declared_to, value.superseded_by or successor
    value = replace(value, valid_to=time, superseded_by=successor)
    if value.status is Status.ACTIVE and end[0] <= now:
        return retired(value, Status.SUPERSEDED)
    return value


def _next(value: Standing, ordered: Sequence[Standing], key: Callable[[Standing], _Moment]) -> Standing | None:
    """Return the first of those, in the order of `key`, that comes after the value's last statement."""
    position = bisect_right(ordered, _last_statement(value), key=key)
    return ordered[position] if position < len(ordered) else None


def _last_statement(value: Standing) -> _Moment:
    return (value.confirmed_from, value.version)


def _first_statement(value: Standing) -> _Moment:
    return (value.valid_from, value.version)
