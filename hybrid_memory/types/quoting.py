"""How a message shows what somebody gave: as Python writes it, and never longer than a line or two.

Flow:    a value that cannot be used -> [quoted] -> the message of an error
Imports: nothing of this package.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["named", "quoted"]

LONGEST = 200
"""Characters: what a path or a sentence has. Whoever sends a million of them makes no log unreadable by it."""


def quoted(value: object) -> str:
    """Return a value as a message shows it: whole when it is short, or else its beginning.

    >>> quoted("ann"), quoted(7)
    ("'ann'", '7')
    >>> quoted("a" * 5_000)[-24:]
    "aaaa'… (5000 characters)"
    """
    if isinstance(value, str) and len(value) > LONGEST:
        return f"{value[:LONGEST]!r}… ({len(value)} characters)"
    try:
        return _cut(repr(value))
    except (ValueError, RecursionError):  # a whole number of more than 4,300 digits; lists inside each other
        return f"a value of type {type(value).__name__} that is too large to be shown"


def named(names: Iterable[object]) -> str:
    """Return names that somebody gave as a message lists them.

    >>> named(["user", "agent"])
    'user, agent'
    """
    return _cut(", ".join(map(str, names)))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
