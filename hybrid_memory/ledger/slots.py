"""The supersession rule: which value of a slot is current, and when each of them was valid.

Flow:    writing.py and changes.py place the values of a slot again whenever one is added or stated again.
Imports: standing of the ledger. Pure functions: no database here.

The statement with the greatest (valid_from, version) decides; the order of arrival does not. A value that is
stated again later counts from that later statement, so that an older one arriving in between cannot displace it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from hybrid_memory.ledger.standing import Standing, retired
from hybrid_memory.types import Status

__all__ = ["IN_TIMELINE", "current", "displaced", "placed"]

IN_TIMELINE = (Status.ACTIVE, Status.SUPERSEDED, Status.EXPIRED)
"""Forgotten and quarantined values neither hold a slot nor keep another from holding it."""


def placed(values: Sequence[Standing], *, now: int) -> list[Standing]:
    """Return every value of one slot with its end, its successor and its status set anew.

    A value ends where the next statement of another value begins. It is superseded once that moment has come;
    a value announced for the future leaves the present one active until then. A superseded value is never
    revived, not even when its successor is forgotten.

    Args:
        values: all values of one slot in one scope, in any order.
        now: microseconds since 1970 UTC.
    """
    timeline = sorted((value for value in values if value.status in IN_TIMELINE), key=_last_statement)
    beginnings = sorted(timeline, key=_first_statement)
    keys = [_first_statement(value) for value in beginnings]
    ends: dict[str, tuple[int, str]] = {}
    for value, following in pairwise(timeline):
        # Either the next value's last statement ends this one, or the beginning of some later value does.
        candidates = [(following.confirmed_from, following.id)]
        position = bisect_right(keys, _last_statement(value))
        if position < len(keys):
            candidates.append((beginnings[position].valid_from, beginnings[position].id))
        ends[value.id] = min(candidates, key=lambda end: end[0])
    return [_ended(value, ends.get(value.id), now=now) if value.status in IN_TIMELINE else value for value in values]


def current(values: Sequence[Standing], *, now: int) -> Standing | None:
    """Return the value that holds the slot now: of the active ones that have begun, the last to be stated."""
    active = [value for value in values if value.status is Status.ACTIVE]
    begun = [value for value in active if value.valid_from <= now]
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


def _last_statement(value: Standing) -> tuple[int, int]:
    return (value.confirmed_from, value.version)


def _first_statement(value: Standing) -> tuple[int, int]:
    return (value.valid_from, value.version)
