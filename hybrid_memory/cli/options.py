"""Options that several commands share, and how their text is read.

Imports: errors, types, and the ingest stage's reading of times.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import typer

from hybrid_memory.errors import InputError
from hybrid_memory.ingest.stamp import as_time
from hybrid_memory.types import Json, quoted

__all__ = ["Filter", "Which", "Who", "read_duration", "read_filter", "read_metadata", "read_time"]

PANEL = "Whose knowledge"
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """The scope; nothing given is everybody's."""

    user_id: Annotated[str | None, typer.Option(help="Of this user.", rich_help_panel=PANEL)] = None
    agent_id: Annotated[str | None, typer.Option(help="Of this agent.", rich_help_panel=PANEL)] = None
    run_id: Annotated[str | None, typer.Option(help="Of this run.", rich_help_panel=PANEL)] = None
    tenant_id: Annotated[str | None, typer.Option(help="Of this tenant.", rich_help_panel=PANEL)] = None

    def given(self) -> dict[str, Any]:
        """Return the scope's keyword arguments of every HybridMemory method, those that were given."""
        scope = {
            "tenant_id": self.tenant_id,
            "user_id": self.user_id,
            "agent_id": self.agent_id,
            "run_id": self.run_id,
        }
        return {name: value for name, value in scope.items() if value is not None}


Filter = Annotated[str | None, typer.Option("--filter", metavar="JSON", help='Such as \'{"source": "wiki"}\'.')]


@dataclass(frozen=True, slots=True, kw_only=True)
class Which(Who):
    """Which records have a part, besides whose: by a filter, and as of a time."""

    filters: Filter = None
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="TIME", help="As things stood then, ISO 8601 with zone.")
    ] = None
    known_at: Annotated[
        str | None, typer.Option("--known-at", metavar="TIME", help="By what the memory knew then, ISO 8601 with zone.")
    ] = None

    def conditions(self) -> dict[str, Any]:
        """Return the keyword arguments that search, query, context and list of HybridMemory share.

        Raises:
            InputError: the filter is no JSON object, or a time has no zone.
        """
        return {
            "filters": read_filter(self.filters),
            "as_of": read_time("--as-of", self.as_of),
            "known_at": read_time("--known-at", self.known_at),
            **self.given(),
        }


def read_filter(text: str | None) -> dict[str, Json] | None:
    """Return a filter from its JSON text.

    Raises:
        InputError: it is no JSON object.
    """
    if text is None:
        return None
    try:
        filters = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f'--filter is not JSON: {error}; write it as \'{{"source": "wiki"}}\'') from error
    if not isinstance(filters, dict):
        raise InputError(f'--filter must be a JSON object such as \'{{"source": "wiki"}}\', got {quoted(text)}')
    return filters


def read_time(option: str, text: str | None) -> datetime | None:
    """Return a time in UTC; InputError names the option when it is no time or has no zone."""
    return None if text is None else as_time(text, option)


def read_duration(option: str, text: str | None) -> float | None:
    """Return seconds from "90", "15m", "12h", "30d" or "2w".

    >>> read_duration("--ttl", "1.5h")
    5400.0

    Raises:
        InputError: it is none of these, or zero.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw]?)", text.strip())
    seconds = float(found[1]) * UNITS[found[2]] if found else 0.0
    if seconds <= 0:
        raise InputError(f"{option} must be seconds, or a number with s, m, h, d or w such as 30d; got {quoted(text)}")
    return seconds


def read_metadata(pairs: Sequence[str]) -> dict[str, Json] | None:
    """Return metadata from "key=value" texts; a value that reads as JSON is JSON, any other is text.

    >>> read_metadata(["city=Oslo", "floor=3"])
    {'city': 'Oslo', 'floor': 3}

    Raises:
        InputError: a text has no "=" or no key.
    """
    metadata: dict[str, Json] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key.strip():
            raise InputError(f"--metadata takes key=value, got {quoted(pair)}")
        try:
            metadata[key.strip()] = json.loads(value)
        except json.JSONDecodeError:
            metadata[key.strip()] = value
    return metadata or None
