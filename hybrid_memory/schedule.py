"""Learning windows by the clock: call consolidate whenever a crontab line says so.

Flow:    memory.py (or a service) hands its consolidate in; the queue's size and direct calls open windows without this.
Imports: config. APScheduler is loaded when a scheduler is made.

A window that falls due while one is running is skipped, several missed ones become one,
and nothing is remembered across processes: the queue itself is in the ledger.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from hybrid_memory.config import read_crontab

if TYPE_CHECKING:
    from apscheduler.schedulers.background import BackgroundScheduler
    from apscheduler.triggers.cron import CronTrigger

__all__ = ["WindowScheduler", "next_time"]


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

    return CronTrigger.from_crontab(" ".join(read_crontab(cron)))
