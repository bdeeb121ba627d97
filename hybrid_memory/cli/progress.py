"""How far a long stage is, drawn for people: bars on a terminal, now and then a line in a log.

Flow:    memory, models -> Progress -> [progress] -> stderr
Imports: protocols. Rich only here and in the modules beside it.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from hybrid_memory.protocols import Progress

__all__ = ["Bars", "Lines", "Reporter", "on_console"]

PATIENCE_S = 2.0
"""A stage shorter than this leaves no line in a log."""
EVERY_S = 15.0
"""How often a long stage writes a line into a log."""
WORDS = {
    "answer": "answering",
    "check": "checking",
    "convert": "converting",
    "download": "downloading",
    "gate": "measuring",
    "ingest": "ingesting",
    "reindex": "embedding",
    "reward": "rewarding",
    "train": "training",
    "write": "writing study material",
}
"""What people read for a stage; an unknown stage shows its own name."""


class Reporter(Progress, AbstractContextManager["Reporter"], Protocol):
    """A Progress to be entered before the work and left after it."""


def on_console(console: Console, title: str) -> Reporter:
    """Return bars when the console is a terminal, lines otherwise; `title` is shown until a stage reports."""
    return Bars(console, title) if console.is_terminal else Lines(console)


class Bars:
    """One bar per stage with amount, time, time left and rate; all vanish at the end."""

    def __init__(self, console: Console, title: str) -> None:
        self._bars = RichProgress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[amount]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            transient=True,
        )
        self._waiting: TaskID | None = self._bars.add_task(title, total=None, amount="", note="")
        self._stages: dict[str, TaskID] = {}
        self._clock = _Clock()

    def __enter__(self) -> Bars:
        """Begin to draw."""
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bars away."""
        self._bars.stop()

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Move a stage's bar; one that goes backwards begins anew (the next shard's turn)."""
        if self._waiting is not None:
            self._bars.remove_task(self._waiting)
            self._waiting = None
        amount, words = _amount(stage, done, total), self._clock.note(stage, done, note)
        if stage not in self._stages:
            self._stages[stage] = self._bars.add_task(WORDS.get(stage, stage), total=total, amount=amount, note=words)
        elif self._clock.restarted(stage):
            self._bars.reset(self._stages[stage], total=total)
        self._bars.update(self._stages[stage], completed=done, total=total, amount=amount, note=words)


class Lines:
    """A line when a stage is done, and one every 15 seconds of a longer one."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._clock = _Clock()
        self._told: dict[str, float] = {}

    def __enter__(self) -> Lines:
        """Nothing is to be prepared."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is to be taken away."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Write a line when it is time for one."""
        words = self._clock.note(stage, done, note)
        now = time.monotonic()
        if self._clock.restarted(stage):
            self._told.pop(stage, None)
        since = now - self._told.get(stage, self._clock.began(stage))
        finished = done >= total and now - self._clock.began(stage) >= PATIENCE_S
        if finished or since >= EVERY_S:
            self._told[stage] = now
            line = f"{WORDS.get(stage, stage)} {_amount(stage, done, total)} {words}".rstrip()
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class _Clock:
    """When each stage began, and how fast it goes."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}
        self._first: dict[str, int] = {}
        self._last: dict[str, int] = {}
        self._restarted = False

    def note(self, stage: str, done: int, note: str) -> str:
        """Return what to say beside the bar: the stage's own note, with a rate if it has none."""
        now = time.monotonic()
        self._restarted = stage in self._last and done < self._last[stage]
        if stage not in self._began or self._restarted:
            self._began[stage], self._first[stage] = now, done
        self._last[stage] = done
        seconds, units = now - self._began[stage], done - self._first[stage]
        if "/s" in note or units <= 0 or seconds < 0.5:
            return note
        rate = f"{decimal(int(units / seconds))}/s" if stage == "download" else f"{units / seconds:.1f}/s"
        return f"{rate} {note}".rstrip()

    def restarted(self, stage: str) -> bool:
        """Tell whether the last note of this stage began it anew."""
        return self._restarted and stage in self._began

    def began(self, stage: str) -> float:
        """Return when the stage began, monotonic seconds."""
        return self._began[stage]


def _amount(stage: str, done: int, total: int) -> str:
    if stage == "download":
        return f"{decimal(done)}/{decimal(total)}"
    return f"{done}/{total}"
