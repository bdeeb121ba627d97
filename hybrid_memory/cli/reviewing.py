"""Commands of the reviewer: review list, approve, reject.

Imports: types, and the modules beside it.
"""

from __future__ import annotations

from typing import Annotated

import typer

from hybrid_memory.cli.command import command
from hybrid_memory.cli.options import Who
from hybrid_memory.cli.session import Output, Session
from hybrid_memory.cli.tables import table

__all__ = ["app"]

app = typer.Typer()
review = typer.Typer(help="What was set aside: neither found nor learned until somebody says so.", no_args_is_help=True)
app.add_typer(review, name="review")

Id = Annotated[str, typer.Argument(help="A record's id.")]


@command(review, "list")
def list_waiting(here: Session, who: Who) -> Output:
    """Show what waits for review, oldest first, and why it was set aside."""
    with here.open() as memory:
        records = memory.review.list(**who.given())
    rows = [(one.id, one.source, one.text, "; ".join(one.decision.reasons)) for one in records]
    shown = table(("id", "source", "text", "because"), rows) if rows else "nothing waits"
    return Output({"records": [record.to_json() for record in records]}, shown)


@command(review)
def approve(
    here: Session,
    id: Id,
    route: Annotated[str, typer.Option(help="retrieve, or learn to let it into the weights as well.")] = "retrieve",
    reason: Annotated[str, typer.Option(help="Kept with the record.")] = "",
) -> Output:
    """Release a record: from now on it is found, and with --route learn it waits for a window."""
    with here.open() as memory:
        record = memory.review.approve(id, route=route, reason=reason)
    return Output(record.to_json(), f"{record.id} released to {record.decision.route.value}")


@command(review)
def reject(here: Session, id: Id) -> Output:
    """Forget a record; the same text is refused from now on."""
    with here.open() as memory:
        receipt = memory.review.reject(id)
    return Output(receipt.to_json(), f"{id} forgotten")
