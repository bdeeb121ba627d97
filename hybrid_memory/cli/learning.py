"""Commands about the weights: consolidate, and adapters list, promote, rollback, disable.

Imports: config, errors, types, schedule, durable, and the modules beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from hybrid_memory.cli.command import command
from hybrid_memory.cli.options import Who, read_time
from hybrid_memory.cli.session import SETTINGS_FILE, Output, Session
from hybrid_memory.cli.tables import table
from hybrid_memory.config import Settings, WindowSettings
from hybrid_memory.durable import write_text
from hybrid_memory.errors import InputError
from hybrid_memory.memory import HybridMemory
from hybrid_memory.schedule import next_time
from hybrid_memory.types import AdapterVersion, ConsolidationReport, Json

__all__ = ["app"]

app = typer.Typer()
adapters = typer.Typer(help="The trained adapter versions: look, switch, go back.", no_args_is_help=True)
app.add_typer(adapters, name="adapters")

CLOCK = "last_window"
"""File in the memory's folder: when `consolidate` last opened a window, ISO 8601."""


@command(app)
def consolidate(
    here: Session,
    who: Who,
    budget_s: Annotated[float | None, typer.Option(help="What does not fit into so many seconds stays queued.")] = None,
    due: Annotated[
        bool, typer.Option("--due", help="Only if window.cron or window.queue_size says so; for a system's cron.")
    ] = False,
) -> Output:
    """Open a learning window: write study material, train, measure, promote or decline."""
    try:
        with here.open() as memory:
            reason = _not_due(here.folder, memory) if due else None
            if reason is not None:
                return Output({"opened": False, "summary": reason}, reason)
            with here.progress("consolidating") as progress:
                report = memory.consolidate(budget_s=budget_s, progress=progress, **who.given())
            _set_clock(here.folder, datetime.now(UTC))
    except KeyboardInterrupt:
        return _interrupted(here)
    return Output({"opened": True, **report.to_json()}, _report(report))


def _interrupted(here: Session) -> Output:
    text = (
        "Stopped. Nothing is half-done: adapters that were promoted serve, everything else is as it was, "
        "and the queue is kept; `hybrid-memory consolidate` goes on from there."
    )
    here.say(text)
    return Output({"opened": True, "interrupted": True, "summary": text}, None, code=130)


def _report(report: ConsolidationReport) -> str:
    lines = [report.summary]
    for shard in report.shards:
        state = "promoted" if shard.promoted else "not promoted"
        lines.append(f"  {shard.version or shard.shard_id} ({shard.group}, {shard.scope.name}): {state}")
        lines += [f"    {attempt}" for attempt in shard.attempts]
    return "\n".join(lines)


# ---------------------------------------------------------------- is a window due


def _not_due(folder: Path, memory: HybridMemory) -> str | None:
    """Return why no window is due, or None when one is."""
    file = folder / SETTINGS_FILE
    window = Settings.load(file if file.exists() else None).window
    if window.cron is None and not window.queue_size:
        return f"not due: set window.cron or window.queue_size in {file}, or leave out --due"
    waiting = _waiting(memory.doctor())
    if window.queue_size and waiting >= window.queue_size:
        return None
    coming = _next_window(folder, window)
    if coming is not None and coming <= datetime.now(UTC):
        return None
    full = f" of {window.queue_size}" if window.queue_size else ""
    return f"not due: {waiting}{full} records wait" + (f", next window at {coming.isoformat()}" if coming else "")


def _waiting(found: Mapping[str, Json]) -> int:
    states = found.get("learning")
    count = states.get("queued", 0) if isinstance(states, Mapping) else 0
    return count if isinstance(count, int) else 0


def _next_window(folder: Path, window: WindowSettings) -> datetime | None:
    """Return when the crontab line comes true after the last window; the first call starts the clock."""
    if window.cron is None:
        return None
    clock = folder / CLOCK
    if not clock.exists():
        _set_clock(folder, datetime.now(UTC))
    return next_time(window.cron, datetime.fromisoformat(clock.read_text(encoding="utf-8").strip()))


def _set_clock(folder: Path, time: datetime) -> None:
    write_text(folder / CLOCK, time.isoformat() + "\n")


# ---------------------------------------------------------------- adapters


@command(adapters, "list")
def list_adapters(here: Session) -> Output:
    """Show every adapter version, oldest first."""
    with here.open() as memory:
        versions = memory.adapters.list()
    rows = [
        (one.id, one.status.value, len(one.record_ids), f"{one.created_at:%Y-%m-%d %H:%M}", _metrics(one))
        for one in versions
    ]
    shown = table(("version", "status", "records", "made (UTC)", "measured"), rows) if rows else "no adapter yet"
    return Output({"adapters": [version.to_json() for version in versions]}, shown)


def _metrics(version: AdapterVersion) -> str:
    numbers = {name: value for name, value in version.metrics.items() if isinstance(value, float)}
    return ", ".join(f"{name} {value:.2f}" for name, value in numbers.items())


@command(adapters)
def promote(here: Session, version: Annotated[str, typer.Argument(help="As `adapters list` shows it.")]) -> Output:
    """Make a version serve, after its files were checked."""
    with here.open() as memory:
        serving = memory.adapters.promote(version)
    return Output(serving.to_json(), f"{serving.id} serves")


@command(adapters)
def rollback(
    here: Session,
    to: Annotated[str | None, typer.Argument(help="A version; the one before the serving one if none.")] = None,
    shard: Annotated[str | None, typer.Option(help="Which shard, when there are several.")] = None,
    at: Annotated[str | None, typer.Option(help="A time, as ISO 8601 with zone: everything as it served then.")] = None,
) -> Output:
    """Go back to an earlier version, or to what served at a time."""
    time = read_time("--at", at)
    if to is not None and time is not None:
        raise InputError("give a version or --at, not both")
    with here.open() as memory:
        if time is None:
            serving = memory.adapters.rollback(to, shard_id=shard)
            return Output(serving.to_json(), f"{serving.id} serves")
        done = memory.adapters.rollback(time, shard_id=shard)
    names = ", ".join(one.id for one in done.serving) or "nothing"
    kept = [f"{name} keeps what it serves now: {why}" for name, why in done.kept.items()]
    return Output(done.to_json(), "\n".join([f"{names} serves, as at {time.isoformat()}", *kept]))


@command(adapters)
def disable(here: Session, shard: Annotated[str, typer.Argument(help="The version's id without -v….")]) -> Output:
    """Switch a shard off: its records are answered from retrieval until a version is promoted."""
    with here.open() as memory:
        memory.adapters.disable(shard)
    return Output({"shard": shard, "disabled": True}, f"{shard} is off; its records are answered from retrieval")
