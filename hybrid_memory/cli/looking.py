"""Commands that look: list, history, trace.

Imports: types, and the modules beside it.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from hybrid_memory.cli.command import command
from hybrid_memory.cli.options import Which
from hybrid_memory.cli.session import Output, Session
from hybrid_memory.cli.tables import table

__all__ = ["app"]

app = typer.Typer()


@command(app, "list")
def list_records(
    here: Session,
    which: Which,
    everything: Annotated[bool, typer.Option("--all", help="Superseded, expired and quarantined ones too.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 50,
    after: Annotated[str | None, typer.Option(metavar="ID", help="Begin after this record: the next page.")] = None,
) -> Output:
    """Show the records that a question in this scope sees, in order of recording."""
    with here.open() as memory:
        records = memory.list(all_statuses=everything, limit=limit, after=after, **which.conditions())
    rows = [(one.id, one.status.value, one.decision.route.value, one.learning.value, one.text) for one in records]
    shown = table(("id", "status", "route", "learning", "text"), rows) if rows else "no records"
    return Output({"records": [record.to_json() for record in records]}, shown)


@command(app)
def history(here: Session, id: Annotated[str, typer.Argument(help="A record's id.")]) -> Output:
    """Show what happened to a record and to the other values of its slot, oldest first."""
    with here.open() as memory:
        events = memory.history(id)
    rows = [
        (f"{event.at:%Y-%m-%d %H:%M:%S}", event.name, event.record_id or "", json.dumps(event.to_json()["detail"]))
        for event in events
    ]
    shown = table(("at (UTC)", "what", "record", "detail"), rows)
    return Output({"events": [event.to_json() for event in events]}, shown)


@command(app)
def trace(here: Session, id: Annotated[str, typer.Argument(help="A record's or an adapter version's id.")]) -> Output:
    """Show everything known about a record's way, or about an adapter version's making."""
    with here.open() as memory:
        found = memory.trace(id)
    return Output(found, json.dumps(found, ensure_ascii=False, indent=2))
