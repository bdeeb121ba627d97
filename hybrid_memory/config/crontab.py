"""A crontab line: read here, before anything has run, and written out in numbers for the scheduler.

Flow:    settings, or a caller of the scheduler -> [crontab] -> schedule.py
Imports: errors, types.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from hybrid_memory.errors import ConfigError
from hybrid_memory.types import quoted

__all__ = ["WEEKDAYS", "read_crontab"]

WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
"""In crontab's order, Sunday 0."""
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
"""Days of each month in a leap year."""


class _Field(NamedTuple):
    name: str
    least: int
    most: int
    words: tuple[str, ...] = ()
    """Names of the numbers from `least` on."""


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, MONTHS),
    _Field("weekday", 0, 7, WEEKDAYS),
)
_ACCEPTED = 'accepted is a crontab line of minute, hour, day of month, month, weekday, such as "0 3 * * *"'


def read_crontab(line: str) -> tuple[str, str, str, str, str]:
    """Return the five fields of a crontab line, each "*" or the numbers it stands for; weekdays as names.

    Names, because APScheduler 3 counts from Monday 0, crontab from Sunday 0 (agronholm/apscheduler issue 286).

    Raises:
        ConfigError: the line is not a crontab line, or never comes true.

    >>> read_crontab("*/20 3 * * 5-7")
    ('0,20,40', '3', '*', '*', 'fri,sat,sun')
    """
    fields = line.split()
    if len(fields) != len(_FIELDS):
        raise ConfigError(f"{quoted(line)} has {len(fields)} fields; {_ACCEPTED}")
    if fields[2] != "*" and fields[4] != "*":
        # cron runs when either matches, APScheduler when both do: rather than choose silently
        raise ConfigError(f"{quoted(line)} limits day of month and weekday at once; write * for one of the two")
    try:
        minutes, hours, days, months, weekdays = map(_numbers, fields, _FIELDS)
    except ValueError as error:
        raise ConfigError(f"{quoted(line)} cannot be read: {error}; {_ACCEPTED}") from error
    if days and min(days) > max(LONGEST_MONTHS[month - 1] for month in months or range(1, 13)):
        raise ConfigError(f"{quoted(line)} never comes true; {_ACCEPTED}")
    named = ",".join(dict.fromkeys(WEEKDAYS[day % 7] for day in weekdays)) or "*"
    return _listed(minutes), _listed(hours), _listed(days), _listed(months), named


def _listed(numbers: list[int]) -> str:
    return ",".join(map(str, numbers)) or "*"


def _numbers(text: str, field: _Field) -> list[int]:
    """Return the numbers that a field stands for; none for "*", which is all of them."""
    return [] if text == "*" else [number for part in text.lower().split(",") for number in _range(part, field)]


def _range(part: str, field: _Field) -> range:
    found = re.fullmatch(r"(?:\*|(\w+)(?:-(\w+))?)(?:/([1-9]\d{0,3}))?", part)
    if not found:
        raise ValueError(f"{field.name} {quoted(part)} is none of {_span(field)}, a range or a step")
    first, last, step = found.groups()
    week = field.words is WEEKDAYS
    greatest = 6 if week else field.most
    begin = field.least if first is None else _number(first, field)
    end = _number(last, field) if last else (begin if first is not None and step is None else greatest)
    if end < begin and week:
        end += 7  # past the end of the week
    if end < begin:
        raise ValueError(f"{field.name} {quoted(part)} ends before it begins")
    return range(begin, end + 1, int(step or 1))


def _number(text: str, field: _Field) -> int:
    if text in field.words:
        return field.least + field.words.index(text)
    if re.fullmatch("[0-9]{1,2}", text) and field.least <= int(text) <= field.most:
        return int(text)
    raise ValueError(f"{field.name} {quoted(text)} is none of {_span(field)}")


def _span(field: _Field) -> str:
    words = f", {field.words[0]}-{field.words[-1]}" if field.words else ""
    return f"{field.least}-{field.most}{words}"
