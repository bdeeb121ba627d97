"""Relative dates in what somebody said -> the days they mean, counted from when it was said.

Flow:    text and time of a turn -> [resolve] -> metadata "dates" and the indexed passage
Imports: nothing of this package. dateutil does the arithmetic.

"Yesterday" means nothing in a memory that is read a year later. Only expressions with a direction are resolved: "on
Friday" may be the last or the next one, and no date is better than a wrong one. A week begins on Monday.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime, timedelta

from dateutil.relativedelta import FR, MO, SA, SU, TH, TU, WE, relativedelta

__all__ = ["resolve", "spelled"]

_NUMBERS = {
    word: number
    for number, word in enumerate("one two three four five six seven eight nine ten eleven twelve".split(), start=1)
} | {"a": 1, "an": 1, "a couple of": 2, "couple of": 2}
_DAYS = dict(
    zip("monday tuesday wednesday thursday friday saturday sunday".split(), (MO, TU, WE, TH, FR, SA, SU), strict=True)
)
_COUNT = rf"(?P<count>\d{{1,3}}|{'|'.join(sorted(_NUMBERS, key=len, reverse=True))})"
_UNIT = r"(?P<unit>day|week|month|year)s?"
_NAMED = {
    "the day before yesterday": -2,
    "the day after tomorrow": 2,
    "yesterday": -1,
    "last night": -1,
    "tomorrow": 1,
    "today": 0,
    "tonight": 0,
    "this morning": 0,
    "this afternoon": 0,
    "this evening": 0,
}
_EXPRESSION = re.compile(
    rf"\b(?:(?P<named>{'|'.join(_NAMED)})"
    rf"|(?P<side>last|past|next|coming|this) (?P<of>week|weekend|month|year|{'|'.join(_DAYS)})"
    rf"|in {_COUNT} {_UNIT}(?!['’]s?\b)"
    rf"|{_COUNT.replace('count', 'back')} {_UNIT.replace('unit', 'steps')} ago)\b",
    re.IGNORECASE,
)
_HABIT = re.compile(r"\b(?:every|each|always|usually|until|by|since) $", re.IGNORECASE)
"""Before an expression that names no single day, or only an end of a time."""
_AHEAD = re.compile(
    r"(?:\b(?:will(?! be \w+ed\b)|going to|gonna|see you)\b|['’]ll\b"
    r"|(?:\b(?:am|are|is)|['’](?:m|re|s)) \w+ing\b)[^.!?;]*$"
    r"|(?:\bis|['’]s) (?:due )?$",
    re.IGNORECASE,
)
"""Before an "in two weeks" that counts from today. Of 23 in public chats and handbooks none did: "twice in a month"."""
_OURS = re.compile(r",? (?:i|we|my|our)\b", re.IGNORECASE)
"""After one that opens a sentence and counts from today."""


def resolve(text: str, said: datetime) -> dict[str, str]:
    """Return each relative date in a text with what it means: a day, or the first and last day of a span.

    Args:
        text: what was said.
        said: when, timezone-aware; its own date counts.

    >>> from datetime import UTC
    >>> resolve("We met yesterday and go to Rome next month.", datetime(2023, 5, 8, tzinfo=UTC))
    {'yesterday': '2023-05-07', 'next month': '2023-06-01/2023-06-30'}
    """
    return {phrase: _written(*span) for phrase, span in _found(text, said.date())}


def spelled(dates: dict[str, str]) -> str:
    """Return resolved dates as words that a question may use.

    >>> spelled({"yesterday": "2023-05-07"})
    '(yesterday: 7 May 2023)'
    """
    return "(" + "; ".join(f"{phrase}: {_words(when)}" for phrase, when in dates.items()) + ")"


def _found(text: str, today: date) -> Iterator[tuple[str, tuple[date, date]]]:
    for match in _EXPRESSION.finditer(text):
        before, after = text[: match.start()], text[match.end() :]
        if _HABIT.search(before) or (match["count"] and not _counts_from_today(before, after)):
            continue
        with suppress(ValueError, OverflowError):  # a day before the year 1, or after 9999
            yield match[0].lower(), _span({key: part.lower() for key, part in match.groupdict().items() if part}, today)


def _counts_from_today(before: str, after: str) -> bool:
    """Tell an "in two weeks" that is ahead from one that says how long something takes, or how often it may be."""
    opens = not before.strip() or before.rstrip()[-1] in ".!?;:\n"
    return bool(_OURS.match(after) if opens else _AHEAD.search(before))


def _span(parts: dict[str, str], today: date) -> tuple[date, date]:
    if "named" in parts:
        day = today + timedelta(days=_NAMED[parts["named"]])
        return day, day
    if "of" in parts:
        step = {"last": -1, "past": -1, "this": 0}.get(parts["side"], 1)
        return _turned(parts["of"], step, today)
    forward = "count" in parts
    count, unit = parts["count" if forward else "back"], parts["unit" if forward else "steps"]
    steps = (_NUMBERS[count] if count in _NUMBERS else int(count)) * (1 if forward else -1)
    if unit in ("day", "week"):
        day = today + timedelta(days=steps * (7 if unit == "week" else 1))
        return day, day
    return _turned(unit, steps, today)


def _turned(unit: str, step: int, today: date) -> tuple[date, date]:
    """Return the week, weekend, month, year or weekday that lies `step` of them away."""
    if unit in _DAYS:
        # relativedelta counts a day that is today as the first: "next Friday", said on a Friday, is another one.
        start = today + timedelta(days=step)
        day = start + relativedelta(weekday=_DAYS[unit](-1 if step < 0 else 1))
        return day, day
    if unit in ("week", "weekend"):
        monday = today + relativedelta(weekday=MO(-1)) + timedelta(weeks=step)
        return monday + timedelta(days=5 if unit == "weekend" else 0), monday + timedelta(days=6)
    if unit == "month":
        first = today.replace(day=1) + relativedelta(months=step)
        return first, first + relativedelta(months=1, days=-1)
    first = date(today.year + step, 1, 1)
    return first, first.replace(month=12, day=31)


def _written(first: date, last: date) -> str:
    return first.isoformat() if first == last else f"{first.isoformat()}/{last.isoformat()}"


def _words(when: str) -> str:
    first, _, last = when.partition("/")
    begin = date.fromisoformat(first)
    if not last:
        return f"{begin.day} {begin:%B %Y}"
    end = date.fromisoformat(last)
    if begin.day == 1 and end.day == monthrange(end.year, end.month)[1]:
        return f"{begin:%Y}" if begin.year == end.year and (begin.month, end.month) == (1, 12) else f"{begin:%B %Y}"
    return f"{begin.day} {begin:%B %Y} to {end.day} {end:%B %Y}"
