"""What every command has: the memory's folder, where its words go, and how it opens the memory.

Flow:    global options -> [session] -> commands
Imports: errors, config, types, memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType

from hybrid_memory.cli import progress
from hybrid_memory.errors import InputError
from hybrid_memory.memory import HybridMemory
from hybrid_memory.types import finite

__all__ = ["SETTINGS_FILE", "Globals", "Output", "Session", "open_memory"]

SETTINGS_FILE = "memory.toml"
DEFAULT_FOLDER = Path("memory")
PANEL = "Options of every command"


def open_memory(folder: Path, *, for_reindex: bool = False) -> HybridMemory:
    """Open the memory in a folder; in one place, so that a test can put another in."""
    return HybridMemory.open(folder, for_reindex=for_reindex)


@dataclass(frozen=True, slots=True, kw_only=True)
class Globals:
    """The options of every command; they may stand before the command's name or after it."""

    memory: Annotated[
        Path | None,
        typer.Option(
            "--memory",
            "-m",
            metavar="FOLDER",
            help="The memory's folder; HYBRID_MEMORY_FOLDER or ./memory when not given.",
            rich_help_panel=PANEL,
        ),
    ] = None
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object to stdout.", rich_help_panel=PANEL)] = (
        False
    )
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show the log, and tracebacks of errors.", rich_help_panel=PANEL)
    ] = False


@dataclass(frozen=True, slots=True)
class Output:
    """What a command found: data for machines, the same for people, and the exit code."""

    data: Mapping[str, Any]
    text: RenderableType | None
    """None: the command has already said it."""
    code: int = 0


def _console(*, stderr: bool) -> Console:
    # Stored text is shown as it is: no [markup], no :emoji:, no colours by content.
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One run of one command."""

    folder: Path
    as_json: bool = False
    verbose: bool = False
    out: Console = field(default_factory=lambda: _console(stderr=False))
    err: Console = field(default_factory=lambda: _console(stderr=True))

    @classmethod
    def of(cls, above: Globals, here: Globals, environment: Mapping[str, str]) -> Session:
        """Join the options before and after the command's name; those after it win."""
        named = here.memory or above.memory
        folder = named or Path(environment.get("HYBRID_MEMORY_FOLDER") or DEFAULT_FOLDER)
        return cls(
            folder=folder.expanduser(),
            as_json=here.as_json or above.as_json,
            verbose=here.verbose or above.verbose,
        )

    def open(self, *, create: bool = False, for_reindex: bool = False) -> HybridMemory:
        """Open the memory; `for_reindex` accepts vectors of another encoder.

        Raises:
            InputError: there is none in the folder, and `create` is not set: a mistyped folder is not filled.
        """
        if not create and not is_memory(self.folder):
            raise InputError(
                f"there is no memory in {self.folder}; `hybrid-memory init {self.folder}` makes one, "
                "or name another folder with --memory"
            )
        return open_memory(self.folder, for_reindex=for_reindex)

    def progress(self, title: str) -> progress.Reporter:
        """Return a Progress on stderr, to be used in a `with` statement."""
        return progress.on_console(self.err, title)

    def say(self, text: str, *, style: str | None = None) -> None:
        """Tell people something beside the result, on stderr."""
        self.err.print(" ".join(text.split()), style=style, soft_wrap=True)

    def show(self, output: Output) -> None:
        """Write the result to stdout, as JSON or for people."""
        if self.as_json:
            typer.echo(json.dumps(finite(output.data), ensure_ascii=False, indent=2))
        elif isinstance(output.text, str):
            self.out.print(output.text, soft_wrap=True)
        elif output.text is not None:
            self.out.print(output.text)


def is_memory(folder: Path) -> bool:
    """Tell whether a folder looks like a memory: it has settings or a ledger."""
    return (folder / SETTINGS_FILE).is_file() or (folder / "ledger.sqlite").is_file()
