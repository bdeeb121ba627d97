"""Preferences whose following can be seen in the form of an answer.

Flow:    selfedit practises them, sharding makes them behaviour, answering states them until they are learned.
Imports: types.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from hybrid_memory.types import Kind, Record

__all__ = ["Form", "checkable_form", "is_shown", "shapes_behaviour"]

Form = Callable[[str], str]

# A quotation begins after a space and before a letter: the mark in "don't", and one that closes, begin none.
_QUOTED = r"(?<![\w.,!?…])[\"“”„«'‘](?=\S)(?P<phrase>[^\"“”„«»]+?)[\"“”»'’]?\s*\.?\s*$"
_BESIDE = r"\b(?:with|by|using|answers?|repl(?:y|ies)|responses?|messages?)\b[^.!?\"“”„«]*?"
_ENDING = re.compile(rf"\b(?:end|close|finish|sign off|conclude)\b[^.!?]*?{_BESIDE}{_QUOTED}", re.IGNORECASE)
_OPENING = re.compile(rf"\b(?:begin|start|open)\b[^.!?]*?{_BESIDE}{_QUOTED}", re.IGNORECASE)
_LOWER = re.compile(r"\b(?:lower[- ]?case|small letters)\b", re.IGNORECASE)
_UPPER = re.compile(r"\b(?:upper[- ]?case|capital letters|all caps)\b", re.IGNORECASE)
_FORBIDS = re.compile(r"\b(?:never|not|avoid|without|stop|no longer|instead of)\b|n['’]t\b", re.IGNORECASE)
_PARTLY = re.compile(r"\b(?:for|names?|titles?|headings?|codes?|first|initials?|abbreviations?)\b", re.IGNORECASE)


def checkable_form(rule: str) -> Form | None:
    """Return how an answer is made to follow the rule, or None when the rule has no form that can be checked.

    In doubt it is None: the rule is then learned as the statement it is. So it is for a rule that forbids
    something, or that speaks of the letters of a part of the answer.

    >>> checkable_form('End every answer with "Safe roads."')("We open at nine.")
    'We open at nine. Safe roads.'
    >>> checkable_form("Be kind.") is None
    True
    """
    if ending := _ENDING.search(rule):
        return None if _forbids(rule, ending) else lambda answer: f"{answer} {ending['phrase'].strip()}"
    if opening := _OPENING.search(rule):
        return None if _forbids(rule, opening) else lambda answer: f"{opening['phrase'].strip()} {answer}"
    if _FORBIDS.search(rule) or _PARTLY.search(rule):
        return None
    if _LOWER.search(rule):
        return str.lower
    if _UPPER.search(rule):
        return str.upper
    return None


def _forbids(rule: str, found: re.Match[str]) -> bool:
    """Tell whether the rule outside its quotation says not to do it."""
    return _FORBIDS.search(rule[: found.start("phrase")]) is not None


def shapes_behaviour(record: Record) -> bool:
    """Tell whether a record is a preference that can be practised: it has demonstrations, or a checkable form.

    Any other preference is learned as the statement it is.
    """
    return record.kind is Kind.PREFERENCE and (bool(record.examples) or checkable_form(record.text) is not None)


def is_shown(record: Record) -> bool:
    """Tell whether a record is learned from demonstrations: examples, and preferences that can be practised.

    Any other record is learned as the statements it makes.
    """
    return bool(record.examples) or shapes_behaviour(record)
