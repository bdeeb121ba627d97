"""The `hybrid-memory` command as a whole: global options and the list of commands.

Flow:    arguments -> [app] -> a command -> HybridMemory
Imports: the commands beside it. Nothing here loads a model; each command opens what it needs.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any

import typer

from hybrid_memory.cli import (
    asking,
    folders,
    getting,
    keeping,
    learning,
    looking,
    measuring,
    policies,
    reviewing,
    sealing,
    serving,
)
from hybrid_memory.cli.command import shared_options
from hybrid_memory.cli.session import Globals

__all__ = ["app", "main"]

app = typer.Typer(
    name="hybrid-memory",
    help="A memory with two halves for LLM applications: retrieval for what changes, adapter weights for what lasts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for part in (folders, keeping, asking, learning, sealing, looking, measuring, policies, reviewing, serving, getting):
    app.add_typer(part.app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("hybrid-memory-sdk"))
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
]


@app.callback()
@shared_options
def _remember(context: typer.Context, version: Version = False, **shared: Any) -> None:  # noqa: ARG001 - its callback acts
    context.obj = Globals(**shared)


def main() -> None:
    """Run the command line; leaves with an exit code."""
    app(prog_name="hybrid-memory")
