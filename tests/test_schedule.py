"""Learning windows by the clock."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from hybrid_memory.errors import ConfigError
from hybrid_memory.schedule import WindowScheduler

SUNDAY_BEFORE_2025 = datetime(2024, 12, 29, tzinfo=UTC)
"""A Sunday by the calendar; 2025-01-01 is the Wednesday after it."""


def next_days(cron: str, count: int) -> list[str]:
    """Names of the weekdays on which a line comes true from Sunday on; read from the calendar, not from the line."""
    trigger = WindowScheduler(lambda: None, cron)._trigger
    found, last, now = [], None, SUNDAY_BEFORE_2025
    for _ in range(count):
        last = trigger.get_next_fire_time(last, now)
        now = last + timedelta(seconds=1)
        found.append(last.strftime("%a"))
    return found


@pytest.mark.parametrize(
    ("weekday", "days"),
    [
        ("0", ["Sun", "Sun"]),
        ("7", ["Sun", "Sun"]),
        ("1", ["Mon", "Mon"]),
        ("1-5", ["Mon", "Tue", "Wed", "Thu", "Fri", "Mon"]),
        ("5-7", ["Sun", "Fri", "Sat", "Sun"]),
        ("6-1", ["Sun", "Mon", "Sat", "Sun"]),
        ("0,3", ["Sun", "Wed", "Sun"]),
        ("*/2", ["Sun", "Tue", "Thu", "Sat", "Sun"]),
        ("MON-wed", ["Mon", "Tue", "Wed", "Mon"]),
        ("*", ["Sun", "Mon", "Tue"]),
    ],
)
def test_weekdays_are_counted_as_crontab_counts_them(weekday: str, days: list[str]) -> None:
    """Sunday is 0 and 7; APScheduler alone would take 0 for Monday."""
    assert next_days(f"0 12 * * {weekday}", len(days)) == days


@pytest.mark.parametrize(
    ("cron", "message"),
    [
        ("0 3 * *", r"has 4 fields; accepted is a crontab line"),
        ("daily", r"has 1 fields"),
        ("61 3 * * *", r"cannot be read: .*61"),
        ("0 3 * * 8", r"cannot be read: weekday '8' is none of 0-7"),
        ("0 3 * * someday", r"cannot be read: weekday 'someday'"),
        ("0 3 * * 1-", r"cannot be read: weekday '1-'"),
        ("a 3 * * *", r"cannot be read: "),
        ("0 3 1 * 1", r"limits day of month and weekday at once; write \*"),
        ("0 3 30 2 *", r"never comes true"),
    ],
)
def test_a_wrong_line_is_refused_at_once(cron: str, message: str) -> None:
    """A window that never opens would be noticed months later."""
    with pytest.raises(ConfigError, match=message):
        WindowScheduler(lambda: None, cron)


def test_nothing_is_due_before_start_and_after_stop() -> None:
    """Making a scheduler starts no thread."""
    scheduler = WindowScheduler(lambda: None, "0 3 * * *")
    assert scheduler.next_run() is None

    scheduler.start()
    scheduler.stop()

    assert scheduler.next_run() is None


def test_the_next_window_is_the_lines_next_time() -> None:
    """At most one day ahead for a daily line, at three o'clock, with a time zone."""
    scheduler = WindowScheduler(lambda: None, "0 3 * * *")
    scheduler.start()
    try:
        due = scheduler.next_run()
    finally:
        scheduler.stop()

    assert due is not None
    assert due.tzinfo is not None
    assert (due.hour, due.minute) == (3, 0)
    assert timedelta(0) < due - datetime.now(UTC) <= timedelta(hours=25)  # 25: a clock change


def test_it_starts_and_stops_as_often_as_it_is_told() -> None:
    """Starting twice makes one scheduler; a stopped one can start again."""
    scheduler = WindowScheduler(lambda: None, "0 3 * * *")
    scheduler.start()
    scheduler.start()
    scheduler.stop()
    scheduler.stop()
    scheduler.start()

    assert scheduler.next_run() is not None
    scheduler.stop()


def test_stop_waits_for_the_window_that_is_open() -> None:
    """Closing the memory under a running consolidation would break it."""
    opened, finish, ended = threading.Event(), threading.Event(), threading.Event()

    def consolidate() -> None:
        opened.set()
        finish.wait(5)
        ended.set()

    scheduler = WindowScheduler(consolidate, "* * * * *")
    scheduler.start()
    assert scheduler._scheduler is not None
    scheduler._scheduler.get_jobs()[0].modify(next_run_time=datetime.now(UTC))
    assert opened.wait(5)
    threading.Timer(0.1, finish.set).start()

    scheduler.stop()

    assert ended.is_set()
