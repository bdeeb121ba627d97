"""Read the time a question speaks of: "last week", "3 days ago", "in May 2023", "since 2023", "before last Monday".

Flow:    question -> [interval] -> retriever, which prefers what began then
Imports: standard library.

English only, and only what names a stretch of time; "before lunch" and "recently" name none.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

__all__ = ["interval"]

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# Spelled out: "mar[a-z]*" would read March in "the marathon of 2024".
MONTH = (
    r"\b(jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
COUNTED = "one two three four five six seven eight nine ten eleven twelve".split()
NUMBERS = {"a": 1, "an": 1} | {word: number for number, word in enumerate(COUNTED, start=1)}
COUNT = r"(\d{1,3}|" + "|".join(NUMBERS) + ")"
UNIT = r"(day|week|month|year)"
YEAR = r"((?:19|20)\d{2})"
OPENING = re.compile(r"\b(since|after|before|until|till)(?: the)?(?: last| past| previous)? $")
"""Before a time: what was meant begins or ends with it."""
EVER = datetime.min.replace(tzinfo=UTC)
Span = tuple[datetime, datetime]


def interval(question: str, *, now: datetime) -> Span | None:
    """Return the stretch of time a question names: its beginning and its end, which is not part of it, in UTC.

    Weeks begin on Monday. "Since" and "after" reach to the end of today, "before" and "until" from the beginning of
    time: "until 2024" with that year, "before 2024" without. None when it names none; of several the first form in the
    list of this module counts.

    Args:
        question: in English.
        now: what "yesterday" is counted from, timezone-aware.

    >>> begin, end = interval("What did we decide last week?", now=datetime(2026, 5, 6, 12, tzinfo=UTC))
    >>> f"{begin:%d %B} to {end:%d %B}"
    '27 April to 04 May'
    """
    text = " ".join(question.casefold().split())
    for pattern, read in FORMS:
        found = pattern.search(text)
        if found is not None:
            try:
                today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
                opening = OPENING.search(text[: found.start(1)])
                return _opened(read(found, today), opening and opening[1], today)
            except (ValueError, OverflowError):  # 31 February, or a thousand years ago
                continue
    return None


def _opened(span: Span, word: str | None, today: datetime) -> Span:
    """Return the stretch that begins or ends with a span, as the word before it says."""
    begin, end = span
    if word in ("since", "after"):
        first = begin if word == "since" else end
        return first, max(first, today + timedelta(days=1))
    if word is not None:
        return EVER, begin if word == "before" else end
    return span


def _date(found: re.Match[str], _: datetime) -> Span:
    return _day(datetime(int(found[1]), int(found[2]), int(found[3]), tzinfo=UTC))


def _day_month_year(found: re.Match[str], _: datetime) -> Span:
    return _day(datetime(int(found[3]), _month_number(found[2]), int(found[1]), tzinfo=UTC))


def _month_day_year(found: re.Match[str], _: datetime) -> Span:
    return _day(datetime(int(found[3]), _month_number(found[1]), int(found[2]), tzinfo=UTC))


def _month_year(found: re.Match[str], _: datetime) -> Span:
    return _whole("month", datetime(int(found[2]), _month_number(found[1]), 1, tzinfo=UTC))


def _year(found: re.Match[str], _: datetime) -> Span:
    return _whole("year", datetime(int(found[1]), 1, 1, tzinfo=UTC))


def _years(found: re.Match[str], _: datetime) -> Span:
    first, last = sorted(int(found[number]) for number in (1, 2))
    return datetime(first, 1, 1, tzinfo=UTC), datetime(last + 1, 1, 1, tzinfo=UTC)


def _weekday(found: re.Match[str], today: datetime) -> Span:
    """Return the last day of that name before today."""
    back = (today.weekday() - WEEKDAYS.index(found[1]) - 1) % 7 + 1
    return _day(today - timedelta(days=back))


def _weekend(found: re.Match[str], today: datetime) -> Span:
    """Return Saturday and Sunday of this week, or of the one before."""
    monday = today - timedelta(days=today.weekday() - (7 if found[1] == "this" else 0))
    return monday - timedelta(days=2), monday


def _relative_day(found: re.Match[str], today: datetime) -> Span:
    return _day(today - timedelta(days={"today": 0, "yesterday": 1}[found[1]]))


def _this_or_last(found: re.Match[str], today: datetime) -> Span:
    begin, end = _whole(found[2], today)
    return (begin, end) if found[1] == "this" else _whole(found[2], begin - timedelta(days=1))


def _ago(found: re.Match[str], today: datetime) -> Span:
    return _whole(found[2], _back(today, _number(found[1]), found[2]))


def _in_the_last(found: re.Match[str], today: datetime) -> Span:
    return _back(today, _number(found[1]), found[2]), today + timedelta(days=1)


FORMS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], datetime], Span]], ...] = (
    (re.compile(r"\b(\d{4})-(\d{2})-(\d{2})\b"), _date),
    (re.compile(rf"\b(\d{{1,2}})(?:st|nd|rd|th)? (?:of )?{MONTH},? (\d{{4}})\b"), _day_month_year),
    (re.compile(rf"{MONTH} (\d{{1,2}})(?:st|nd|rd|th)?,? (\d{{4}})\b"), _month_day_year),
    (re.compile(rf"{MONTH},? (?:of )?(\d{{4}})\b"), _month_year),
    (re.compile(rf"\b(?:in|during|over) the (?:last|past) {COUNT} {UNIT}s?\b"), _in_the_last),
    (re.compile(rf"\b{COUNT} {UNIT}s? ago\b"), _ago),
    (re.compile(rf"\b(this|last|past|previous) {UNIT}\b"), _this_or_last),
    (re.compile(rf"\b(?:last|past|previous) ({'|'.join(WEEKDAYS)})\b"), _weekday),
    (re.compile(r"\b(this|last|past|previous) weekend\b"), _weekend),
    (re.compile(r"\b(today|yesterday)\b"), _relative_day),
    (re.compile(rf"\b(?:between|from) {YEAR} (?:and|to|until|till) {YEAR}\b"), _years),
    (re.compile(rf"\b(?:in|during|of|since|after|before|until|till) {YEAR}\b"), _year),
)


def _day(day: datetime) -> Span:
    return day, day + timedelta(days=1)


def _whole(unit: str, day: datetime) -> Span:
    """Return the calendar day, week, month or year that a day lies in."""
    if unit == "day":
        return _day(day)
    if unit == "week":
        begin = day - timedelta(days=day.weekday())
        return begin, begin + timedelta(days=7)
    begin = day.replace(day=1, month=1 if unit == "year" else day.month)
    return begin, _back(begin, -1, unit)


def _back(day: datetime, count: int, unit: str) -> datetime:
    if unit in ("day", "week"):
        return day - timedelta(days=count * (7 if unit == "week" else 1))
    months = 12 * day.year + day.month - 1 - count * (12 if unit == "year" else 1)
    year, month = months // 12, months % 12 + 1
    return day.replace(year=year, month=month, day=min(day.day, calendar.monthrange(year, month)[1]))


def _number(text: str) -> int:
    return NUMBERS[text] if text in NUMBERS else int(text)


def _month_number(name: str) -> int:
    return MONTHS.index(name[:3]) + 1
