"""Learning windows by the clock: call consolidate whenever a crontab line says so.

Flow:    memory.py (or a service) hands its consolidate in; the queue's size and direct calls open windows without this.
Imports: errors, types. APScheduler is loaded when a scheduler is made.

A window that falls due while one is running is skipped, several missed ones become one,
and nothing is remembered across processes: the queue itself is in the ledger.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from hybrid_memory.errors import ConfigError
from hybrid_memory.types import quoted

if TYPE_CHECKING:
    from apscheduler.schedulers.background import BackgroundScheduler
    from apscheduler.triggers.cron import CronTrigger

__all__ = ["WindowScheduler", "next_time"]

WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
"""In crontab's order, Sunday 0."""


class WindowScheduler:
    """Runs `consolidate` in a background thread at the times of a crontab line, in local time."""

    def __init__(self, consolidate: Callable[[], object], cron: str) -> None:
        """Check the crontab line; nothing runs before `start`.

        Args:
            consolidate: called without arguments; an error it raises is logged by APScheduler
                and does not stop later windows.
            cron: minute, hour, day of month, month, weekday, such as "0 3 * * *".

        Raises:
            ConfigError: the line is not a crontab line, or never comes true.
        """
        self._consolidate = consolidate
        self._trigger = _trigger(cron)
        self._scheduler: BackgroundScheduler | None = None

    def start(self) -> None:
        """Begin to wait for windows; nothing happens when it is running already."""
        if self._scheduler is not None:
            return
        from apscheduler.schedulers.background import BackgroundScheduler

        self._scheduler = BackgroundScheduler()
        # A machine that slept through its window opens it on waking: hence no misfire limit.
        options = {"max_instances": 1, "coalesce": True, "misfire_grace_time": None}
        self._scheduler.add_job(self._consolidate, self._trigger, **options)
        self._scheduler.start()

    def stop(self, *, wait: bool = True) -> None:
        """Open no more windows; `wait` until the one that is running has ended."""
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=wait)
            self._scheduler = None

    def next_run(self) -> datetime | None:
        """Return when the next window opens (timezone-aware); None when it is not running."""
        if self._scheduler is None:
            return None
        job = self._scheduler.get_jobs()[0]
        due: datetime | None = job.next_run_time
        return due


def next_time(cron: str, after: datetime) -> datetime | None:
    """Return when a crontab line, in local time, first comes true after `after` (timezone-aware); None if never.

    Raises:
        ConfigError: the line is not a crontab line.
    """
    due: datetime | None = _trigger(cron).get_next_fire_time(None, after + timedelta(microseconds=1))
    return due


def _trigger(cron: str) -> CronTrigger:
    from apscheduler.triggers.cron import CronTrigger

    fields = cron.split()
    if len(fields) != 5:
        raise ConfigError(f"{quoted(cron)} has {len(fields)} fields; {_ACCEPTED}")
    minute, hour, day, month, weekday = fields
    if day != "*" and weekday != "*":
        # cron runs when either matches, APScheduler when both do: rather than choose silently
        raise ConfigError(f"{quoted(cron)} limits day of month and weekday at once; write * for one of the two")
    try:
        trigger = CronTrigger.from_crontab(" ".join((minute, hour, day, month, _weekdays(weekday))))
    except (ValueError, IndexError) as error:
        raise ConfigError(f"{quoted(cron)} cannot be read: {error}; {_ACCEPTED}") from error
    if trigger.get_next_fire_time(None, datetime.now().astimezone()) is None:
        raise ConfigError(f"{quoted(cron)} never comes true; {_ACCEPTED}")
    return trigger


_ACCEPTED = 'accepted is a crontab line of minute, hour, day of month, month, weekday, such as "0 3 * * *"'


def _weekdays(field: str) -> str:
    """Write crontab's weekdays as names.

    APScheduler 3 counts from Monday 0, crontab from Sunday 0 (agronholm/apscheduler issue 286),
    and it refuses a range that passes the end of the week.

    >>> _weekdays("0"), _weekdays("1-5"), _weekdays("*")
    ('sun', 'mon,tue,wed,thu,fri', '*')
    """
    if field == "*":
        return field
    days = [day for part in field.lower().split(",") for day in _weekday_range(part)]
    return ",".join(WEEKDAYS[day % 7] for day in dict.fromkeys(days))


def _weekday_range(part: str) -> range:
    found = re.fullmatch(r"(?:\*|(\w+)(?:-(\w+))?)(?:/([1-9]\d*))?", part)
    if not found:
        raise ValueError(f"weekday {quoted(part)} is none of 0-7, sun-sat, a range or a step")
    first, last, step = found.groups()
    if first is None:
        return range(0, 7, int(step or 1))
    begin = _weekday(first)
    end = _weekday(last) if last else (6 if step else begin)
    if end < begin:
        end += 7  # past the end of the week
    return range(begin, end + 1, int(step or 1))


def _weekday(text: str) -> int:
    if text in WEEKDAYS:
        return WEEKDAYS.index(text)
    if text.isdecimal() and int(text) <= 7:
        return int(text)
    raise ValueError(f"weekday {quoted(text)} is none of 0-7, sun-sat")
