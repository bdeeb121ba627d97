"""What requests hold: the arguments of the public API as JSON; an unknown name is refused with its place.

Imports: types.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from hybrid_memory.errors import InputError
from hybrid_memory.types import Example, Fact, Json, Mode, Preference, Route, Task, Trust, named, quoted

__all__ = [
    "Chat",
    "Consolidation",
    "Feedback",
    "Forgetting",
    "Ingestion",
    "Listing",
    "Prompt",
    "Purge",
    "Query",
    "Rollback",
    "Search",
    "SignedReceipt",
    "Update",
    "read_filters",
]

SHOWN = {"preference": "examples", "task": "demonstrations"}
"""Fields that hold examples."""
KINDS = {"fact": Fact, "example": Example, "preference": Preference, "task": Task}


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    def options(self, *without: str) -> dict[str, Any]:
        """Return what was given, as keyword arguments."""
        return {name: getattr(self, name) for name in self.model_fields_set if name not in without}


class _Scoped(_Body):
    tenant_id: str | None = None
    user_id: str | None = None
    agent_id: str | None = None
    run_id: str | None = None


class _Said(_Body):
    text: str | None = None
    messages: list[dict[str, Any]] | None = None
    fact: dict[str, str] | None = None
    example: dict[str, str] | None = None
    preference: dict[str, Any] | None = None
    task: dict[str, Any] | None = None

    def said(self) -> tuple[object, dict[str, Any]]:
        """Return the input, None when there is none, and everything else that was given, as keyword arguments.

        Raises:
            InputError: several inputs were given, or one has other fields than its kind.
        """
        names = ("text", "messages", *KINDS)
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) > 1:
            raise InputError(f"give one of {', '.join(names)}; got {', '.join(given)}")
        values = [_made(name, getattr(self, name)) if name in KINDS else getattr(self, name) for name in given]
        return next(iter(values), None), self.options(*names)


class Ingestion(_Scoped, _Said):
    """One of text, messages, fact, example, preference, task, with its stamp."""

    source: str | None = None
    observed_at: datetime | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    ttl: float | None = None
    trust: Trust | None = None
    supersedes: str | None = None
    route: Route | None = None
    metadata: dict[str, Any] | None = None
    idempotency_key: str | None = None
    dry_run: bool = False
    force: bool = False

    def read(self) -> tuple[object, dict[str, Any]]:
        """Return the input and the keyword arguments of `HybridMemory.ingest`.

        Raises:
            InputError: none or several inputs were given, or one has other fields than its kind.
        """
        x, options = self.said()
        if x is None:
            raise InputError("give one of text, messages, fact, example, preference, task; got none")
        return x, options


class Update(_Said):
    """The arguments of `HybridMemory.update`: new content, new metadata, or both."""

    metadata: dict[str, Any] | None = None


class Listing(_Scoped):
    """The arguments of `HybridMemory.list`, as query parameters: `filters` is the text of a JSON object."""

    filters: str | None = None
    as_of: datetime | None = None
    known_at: datetime | None = None
    limit: int = 50
    after: str | None = None


class Search(_Scoped):
    """The arguments of `HybridMemory.search`."""

    query: str
    top_k: int = 10
    filters: dict[str, Any] | None = None
    as_of: datetime | None = None
    known_at: datetime | None = None
    neighbours: int | None = None
    explain: bool = False


class _Asked(_Scoped):
    question: str
    mode: Mode = Mode.HYBRID
    task: str | None = None
    filters: dict[str, Any] | None = None
    as_of: datetime | None = None
    known_at: datetime | None = None
    passages: int | None = None
    neighbours: int | None = None


class Query(_Asked):
    """The arguments of `HybridMemory.query`; with `stream` the answer comes as server-sent events."""

    stream: bool = False
    max_new_tokens: int | None = None


class Prompt(_Asked):
    """The arguments of `HybridMemory.context`."""

    max_tokens: int | None = None


class Feedback(_Scoped):
    """The arguments of `HybridMemory.feedback`: `answer_id`, or the `messages` of a finished turn with their scope."""

    answer_id: str | None = None
    messages: list[dict[str, Any]] | None = None
    correction: str | None = None
    accepted: bool = False

    def judged(self) -> str | list[dict[str, Any]]:
        """Return what the verdict is on; InputError when it is nothing, or two things."""
        if self.answer_id is not None and self.messages is None:
            return self.answer_id
        if self.messages is not None and self.answer_id is None:
            return self.messages
        raise InputError("give one of answer_id and messages (a finished turn: role and content of each)")


class Consolidation(_Scoped):
    """The arguments of `HybridMemory.consolidate`."""

    budget_s: float | None = None


class Forgetting(_Scoped):
    """The arguments of `HybridMemory.forget`."""

    record_id: str | list[str] | None = None
    filters: dict[str, Any] | None = None
    everywhere: bool = False
    weights: Literal["defer", "now"] = "defer"


class SignedReceipt(_Body):
    """The argument of `HybridMemory.check_receipt`."""

    receipt: dict[str, Any]


class Purge(_Body):
    """The arguments of `HybridMemory.purge`."""

    older_than: float = 0.0


class Rollback(_Body):
    """The arguments of `memory.adapters.rollback`; a time to go back to is `at`, with its timezone."""

    to: str | None = None
    at: datetime | None = None
    shard_id: str | None = None


class Chat(BaseModel):
    """A chat completion request. Names we do not use are kept, so that the response can say which were not."""

    model_config = ConfigDict(extra="allow")

    messages: list[dict[str, Any]] = Field(min_length=1)
    model: str = "hybrid-memory"
    stream: bool = False
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    """Scopes beside `user`: tenant_id, agent_id, run_id; and `mode`."""


def read_filters(text: str | None) -> dict[str, Any] | None:
    """Return filters from a query parameter; InputError when it is no JSON object."""
    try:
        filters = None if text is None else json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f'filters are no JSON: {error}; write {{"source": "wiki"}}') from error
    if not isinstance(filters, dict | None):
        raise InputError(f'filters must be a JSON object such as {{"source": "wiki"}}, got {quoted(text)}')
    return filters


def _made(name: str, value: Mapping[str, Json]) -> object:
    fields: dict[str, Any] = dict(value)
    try:
        if (shown := SHOWN.get(name)) in fields:
            fields[shown] = tuple(Example(**example) for example in fields[shown])
        return KINDS[name](**fields)
    except TypeError as error:
        names = ", ".join(KINDS[name].__dataclass_fields__)  # type: ignore[attr-defined]
        raise InputError(f"{name} has the fields {names}; got {named(value)}") from error
