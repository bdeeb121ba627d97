"""What other memories exported -> rows, and rows -> contents with their own scopes and times.

Flow:    file or objects -> [rows_of] -> ingest_many -> [read_row] -> reader -> drafts
Imports: errors, types, and the modules beside it.

Forms: "mem0" (`get_all()`, or the platform's export), "langgraph" (store items), "llama_index" (chat messages, a
persisted SimpleChatStore), "jsonl" (our own lines, with scope and time on each). A row keeps the time at which it was
written last; a time without a zone is refused, with its place, like everywhere else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

from hybrid_memory.errors import InputError
from hybrid_memory.ingest.files import held_in
from hybrid_memory.ingest.stamp import aware_time
from hybrid_memory.types import Json, Scope, Trust

__all__ = ["FORMS", "Brought", "Row", "read_row", "rows_of"]

SCOPES = ("tenant_id", "user_id", "agent_id", "run_id")
TIMES = ("updated_at", "observed_at", "created_at", "timestamp")
"""When a row was written last, the first that it has."""
TEXTS = ("memory", "content", "text", "data", "value", "fact")
"""Under which key a LangGraph value keeps its text, if it keeps one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of an export, not yet read, so that a bad one can be reported alone."""

    form: str
    raw: Any
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """What one row says, and what it says about itself."""

    held: object
    """Text, Example, Preference, Fact, or a list of messages."""
    scope: Scope | None = None
    observed_at: datetime | None = None
    expires_at: datetime | None = None
    trust: Trust | None = Trust.EXTERNAL
    """Nobody vouches for what another memory extracted, unless the caller does; turns keep who said them."""
    metadata: Mapping[str, Json] = field(default_factory=dict)


def rows_of(source: object, form: str) -> list[Row]:
    """Return the rows of an export.

    Args:
        source: a `.json` or `.jsonl` file (Path or text), or what the other library returned.
        form: "mem0", "langgraph", "llama_index" or "jsonl".

    Raises:
        InputError: an unknown form, a file that is not there or no JSON, or nothing that holds rows.
    """
    if form not in _READERS:
        raise InputError(f"unknown form {form!r} to import from; known are {', '.join(_READERS)}")
    name, content = (Path(source).name, _loaded(Path(source))) if isinstance(source, str | Path) else ("row", source)
    if form == "llama_index":
        return [Row(form=form, raw=raw, where=f"{name} {key}") for key, raw in _conversations(content)]
    if isinstance(content, Mapping):
        content = next((content[key] for key in ("results", "memories", "items") if key in content), None)
    if isinstance(content, str | bytes) or not isinstance(content, Iterable):
        raise InputError(f"{name} holds no list of rows; give what {form} exports, or a list of its rows")
    return [Row(form=form, raw=raw, where=f"{name} {number}") for number, raw in enumerate(content, start=1)]


def read_row(row: Row) -> Brought:
    """Return what a row holds.

    Raises:
        InputError: it has not the form it should have; the message says where.
    """
    try:
        return _READERS[row.form](row.raw)
    except InputError as error:
        raise InputError(f"{row.where}: {error}") from error


def _loaded(path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"there is no file {path} to import")
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".jsonl":
            return [json.loads(line) for line in text.split("\n") if line.strip()]
        return json.loads(text)
    except ValueError as error:  # of the decoder and of json
        raise InputError(f"{path.name} is not UTF-8 JSON: {error}") from error


# ---------------------------------------------------------------- one form each


def _mem0(raw: Any) -> Brought:
    text = raw.get("memory", raw.get("text")) if isinstance(raw, Mapping) else None
    if not isinstance(text, str):
        raise InputError(f"a memory of mem0 has its text under 'memory', got {raw!r}")
    known = {"id", "memory", "text", "hash", "metadata", "score", "expiration_date", *SCOPES, *TIMES}
    rest = {key: value for key, value in raw.items() if key not in known and value is not None}
    return Brought(
        held=text,
        scope=_scope(raw),
        observed_at=_time(raw),
        expires_at=_end_of(raw.get("expiration_date")),
        metadata={**_metadata(raw), **rest, **_origin("mem0", raw.get("id"), raw)},
    )


def _langgraph(raw: Any) -> Brought:
    names = ("namespace", "key", "value", "created_at", "updated_at")
    item = raw if isinstance(raw, Mapping) else {name: getattr(raw, name, None) for name in names}
    value = item.get("value")
    if not isinstance(value, Mapping) or not value:
        raise InputError(f"an item of a LangGraph store has a dict under 'value', got {raw!r}")
    namespace = item.get("namespace") or ()
    path = [str(part) for part in (namespace.split(".") if isinstance(namespace, str) else namespace)]
    origin = _origin("langgraph", item.get("key"), item)
    return Brought(held=_told(value), observed_at=_time(item), metadata={"namespace": path, **origin})


def _told(value: Mapping[str, Any]) -> str:
    """Return the text of a stored value: the one it keeps under a usual key, or all its fields as "key: value"."""
    for key in TEXTS:
        inner = value.get(key)
        if isinstance(inner, Mapping) and inner:
            return _told(inner)
        if isinstance(inner, str):
            return inner
    lines = (
        f"{key}: {part if isinstance(part, str) else json.dumps(part, default=str)}" for key, part in value.items()
    )
    return "\n".join(lines)


def _conversations(content: Any) -> Iterable[tuple[str, Any]]:
    """Yield each conversation with its name: of a persisted chat store, or a single list of messages."""
    if isinstance(content, Mapping) and isinstance(content.get("store"), Mapping):
        yield from content["store"].items()
    elif isinstance(content, Iterable) and not isinstance(content, str | bytes | Mapping):
        yield "conversation", list(content)
    else:
        raise InputError("to import from llama_index, give a list of ChatMessage or a persisted SimpleChatStore")


def _llama_index(raw: Any) -> Brought:
    return Brought(held=list(raw), trust=None, metadata={"imported_from": "llama_index"})


def _jsonl(raw: Any) -> Brought:
    if not isinstance(raw, Mapping):
        raise InputError(f"a line is an object, got {raw!r}")
    held = held_in(raw, "the line")
    trust = None if isinstance(held, list) else Trust.EXTERNAL
    return Brought(held=held, scope=_scope(raw), observed_at=_time(raw), trust=trust, metadata=_metadata(raw))


_READERS: dict[str, Callable[[Any], Brought]] = {
    "mem0": _mem0,
    "langgraph": _langgraph,
    "llama_index": _llama_index,
    "jsonl": _jsonl,
}
FORMS = tuple(_READERS)


# ---------------------------------------------------------------- what rows say about themselves


def _scope(raw: Mapping[str, Any]) -> Scope:
    given = {name: raw[name] for name in SCOPES if raw.get(name) not in (None, "")}
    return Scope(**{name: str(value) for name, value in given.items()})


def _time(raw: Mapping[str, Any]) -> datetime | None:
    name = next((name for name in TIMES if raw.get(name) is not None), None)
    return None if name is None else aware_time(raw[name], name)


def _end_of(day: object) -> datetime | None:
    """Return the moment at which a date is over, in UTC; mem0 counts expiry in whole days."""
    if day is None:
        return None
    try:
        last = datetime.fromisoformat(str(day)).date()
    except ValueError as error:
        raise InputError(f"expiration_date {day!r} is no date such as 2026-05-03") from error
    return aware_time(datetime.combine(last + timedelta(days=1), time()).isoformat() + "Z", "expiration_date")


def _metadata(raw: Mapping[str, Any]) -> Mapping[str, Json]:
    metadata = raw.get("metadata") or {}
    if not isinstance(metadata, Mapping):
        raise InputError(f"metadata must be an object, got {metadata!r}")
    return metadata


def _origin(form: str, identity: object, raw: Mapping[str, Any]) -> dict[str, Json]:
    """Return where a row comes from, so that it can be found again by filters."""
    created = raw.get("created_at")
    return {
        "imported_from": form,
        **({} if identity is None else {"imported_id": str(identity)}),
        **(
            {}
            if created is None
            else {"created_at": created.isoformat() if isinstance(created, datetime) else str(created)}
        ),
    }
