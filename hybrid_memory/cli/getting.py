"""Commands for the first minutes: models pull, list, path; demo.

Imports: models, catalogue, demo (inside the command), and the modules beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hybrid_memory import models as shipped
from hybrid_memory.catalogue import CATALOGUE
from hybrid_memory.cli.command import command
from hybrid_memory.cli.session import Output, Session
from hybrid_memory.cli.tables import table

__all__ = ["app"]

app = typer.Typer()
models = typer.Typer(help="The models this package knows by name.", no_args_is_help=True)
app.add_typer(models, name="models")

DEMO_FOLDER = Path("hybrid-memory-demo")


@command(models)
def pull(
    here: Session,
    names: Annotated[
        list[str] | None, typer.Argument(help="Which; all when none is named.", show_default=False)
    ] = None,
) -> Output:
    """Bring the shipped models to this machine; afterwards no network is needed."""
    wanted = list(names or CATALOGUE)
    for name in wanted:
        shipped.folder(name)  # a misspelt name is refused before anything is fetched
    with here.progress("fetching") as progress:
        pulled = [shipped.pull(name, progress) for name in wanted]
    lines = [
        f"{one.name} {f'from {one.origin}' if one.downloaded else 'was there already'}: {one.path}" for one in pulled
    ]
    return Output({"models": [one.to_json() for one in pulled]}, "\n".join(lines))


@command(models, "list")
def list_models() -> Output:
    """Show which of the shipped models are on this machine."""
    states = shipped.listing()
    rows = [
        (one.name, one.role, "ready" if one.ready else one.problem, f"{one.size_bytes / 1e6:.0f} MB") for one in states
    ]
    return Output({"models": [one.to_json() for one in states]}, table(("model", "role", "state", "size"), rows))


@command(models)
def path(name: Annotated[str, typer.Argument(help="As `models list` shows it.")]) -> Output:
    """Show the folder of a model that is ready."""
    folder = shipped.path(name)
    return Output({"name": name, "path": str(folder)}, str(folder))


@command(app)
def demo(
    here: Session,
    folder: Annotated[Path, typer.Argument(help="Where the demonstration's memory is made.")] = DEMO_FOLDER,
    quick: Annotated[bool, typer.Option("--quick", help="The shortest run that shows both halves.")] = False,
) -> Output:
    """Show both halves at work: ingest, learn, answer, replace, forget, with measured answers."""
    from hybrid_memory import demo as play  # its data and modules are of no use to other commands

    with here.progress("preparing") as progress:
        report = play.run(folder, progress=progress, quick=quick)
    return Output(report.to_json(), report.text())
