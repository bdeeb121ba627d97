"""Preferences whose following can be seen in the form of an answer.

Flow:    selfedit practises them, sharding makes them behaviour, answering states them until they are learned.
Imports: types.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from hybrid_memory.types import Kind, Record

__all__ = ["Form", "checkable_form", "shapes_behaviour"]

Form = Callable[[str], str]

_QUOTED = r"[\"“”«'‘](?P<phrase>[^\"“”«»]+?)[\"”»'’]?\s*\.?\s*$"
_ENDING = re.compile(rf"\b(?:end|close|finish|sign off|conclude)\b.*?{_QUOTED}", re.IGNORECASE | re.DOTALL)
_OPENING = re.compile(rf"\b(?:begin|start|open)\b.*?{_QUOTED}", re.IGNORECASE | re.DOTALL)
_LOWER = re.compile(r"\b(?:lower[- ]?case|small letters)\b", re.IGNORECASE)
_UPPER = re.compile(r"\b(?:upper[- ]?case|capital letters|all caps)\b", re.IGNORECASE)


def checkable_form(rule: str) -> Form | None:
    """Return how an answer is made to follow the rule, or None when the rule has no form that can be checked.

    >>> checkable_form('End every answer with "Safe roads."')("We open at nine.")
    'We open at nine. Safe roads.'
    >>> checkable_form("Be kind.") is None
    True
    """
    if ending := _ENDING.search(rule):
        return lambda answer: f"{answer} {ending['phrase'].strip()}"
    if opening := _OPENING.search(rule):
        return lambda answer: f"{opening['phrase'].strip()} {answer}"
    if _LOWER.search(rule):
        return str.lower
    if _UPPER.search(rule):
        return str.upper
    return None


def shapes_behaviour(record: Record) -> bool:
    """Tell whether a record is a preference that can be practised: it has demonstrations, or a checkable form.

    Any other preference is learned as the statement it is.
    """
    return record.kind is Kind.PREFERENCE and (bool(record.examples) or checkable_form(record.text) is not None)
