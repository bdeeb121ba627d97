"""What other memories exported -> rows, and rows -> contents with their own scopes and times.

Flow:    file or objects -> [rows_of] -> ingest_many -> [read_row] -> reader -> drafts
Imports: errors, types, and the modules beside it.

Forms: "mem0" (`get_all()`, or the platform's export), "langgraph" (store items), "llama_index" (chat messages, a
persisted SimpleChatStore), "jsonl" (our own lines, with a stamp on each, and records as `to_json()` gives them). A row
keeps the time at which it was written last; a time without a zone is refused, with its place, like everywhere else.
"""

from __future__ import annotations

import json
import os.path
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

from hybrid_memory.errors import InputError
from hybrid_memory.ingest.files import held_in
from hybrid_memory.ingest.stamp import as_lifetime, as_time, as_trust, aware_time
from hybrid_memory.types import Json, Kind, Record, Scope, Trust, named, quoted

__all__ = ["FORMS", "Brought", "Row", "end_of_day", "read_row", "rows_of"]

SCOPES = ("tenant_id", "user_id", "agent_id", "run_id")
TIMES = ("updated_at", "observed_at", "created_at", "timestamp")
"""When a row was written last, the first that it has."""
TEXTS = ("memory", "content", "text", "data", "value", "fact")
"""Under which key a LangGraph value keeps its text, if it keeps one."""
SAYS = (
    "text",
    "messages",
    "rule",
    "examples",
    "prompt",
    "response",
    "subject",
    "attribute",
    "value",
    "name",
    "demonstrations",
)
STAMP = ("scope", "source", "trust", "valid_from", "valid_to", "expires_at", "ttl", "metadata")
LINE = (*SAYS, *SCOPES, *TIMES, *STAMP)
"""All keys that one of our own lines may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of an export, not yet read, so that a bad one can be reported alone."""

    form: str
    raw: Any
    where: str
    encoded: bool = False
    """`raw` is a line of a file, still to be read as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """What one row says, and what it says about itself."""

    held: object
    """Text, Example, Preference, Fact, Task, or a list of messages."""
    scope: Scope | None = None
    source: str | None = None
    observed_at: datetime | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    expires_at: datetime | None = None
    ttl_s: float | None = None
    """Lifetime after observed_at, in place of expires_at."""
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
    if not isinstance(form, str) or form not in _READERS:
        raise InputError(f"unknown form {quoted(form)} to import from; known are {', '.join(_READERS)}")
    path = Path(source) if isinstance(source, str | Path) else None
    if path is not None and path.suffix.lower() == ".jsonl" and form != "llama_index":
        lines = _lines(path)
        return [Row(form=form, raw=line, where=f"{path.name} line {at}", encoded=True) for at, line in lines]
    name, content = ("row", source) if path is None else (path.name, _loaded(path))
    if form == "llama_index":
        return [Row(form=form, raw=raw, where=f"{name} {raw.key or 'conversation'}") for raw in _conversations(content)]
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
        return _READERS[row.form](_decoded(row.raw) if row.encoded else row.raw)
    except InputError as error:
        raise InputError(f"{row.where}: {error}") from error


def _loaded(path: Path) -> Any:
    if path.suffix.lower() != ".jsonl":
        return _decoded(_text(path), path.name)
    return [_decoded(line, f"{path.name} line {number}") for number, line in _lines(path)]


def _lines(path: Path) -> list[tuple[int, str]]:
    """Return the lines that are not blank, with their numbers."""
    lines = _text(path).split("\n")  # splitlines() would also cut at U+2028 inside a text
    return [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]


def _text(path: Path) -> str:
    if not os.path.isfile(path):  # Path.is_file raises where a name is too long for any file
        raise InputError(f"there is no file {path} to import")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} is not UTF-8 text (byte {error.start}); convert it first") from error


def _decoded(text: str, name: str = "it") -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{name} is not JSON: {error}") from error


# ---------------------------------------------------------------- one form each


def _mem0(raw: Any) -> Brought:
    text = raw.get("memory", raw.get("text")) if isinstance(raw, Mapping) else None
    if not isinstance(text, str):
        raise InputError(f"a memory of mem0 has its text under 'memory', got {quoted(raw)}")
    known = {"id", "memory", "text", "hash", "metadata", "score", "expiration_date", *SCOPES, *TIMES}
    rest = {key: value for key, value in raw.items() if key not in known and value is not None}
    return Brought(
        held=text,
        scope=_scope(raw),
        observed_at=_time(raw),
        expires_at=end_of_day(raw.get("expiration_date")),
        metadata={**_metadata(raw), **rest, **_origin("mem0", raw.get("id"), raw)},
    )


def _langgraph(raw: Any) -> Brought:
    names = ("namespace", "key", "value", "created_at", "updated_at")
    item = raw if isinstance(raw, Mapping) else {name: getattr(raw, name, None) for name in names}
    value = item.get("value")
    if not isinstance(value, Mapping) or not value:
        raise InputError(f"an item of a LangGraph store has a dict under 'value', got {quoted(raw)}")
    namespace = item.get("namespace") or ()
    path = [str(part) for part in (namespace.split(".") if isinstance(namespace, str) else namespace)]
    text, rest = _told(value)
    origin = _origin("langgraph", item.get("key"), item)
    return Brought(held=text, observed_at=_time(item), metadata={**rest, "namespace": path, **origin})


def _told(value: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the text of a stored value, and the fields that are not in it.

    The text is the one under a usual key, or all fields as "key: value".
    """
    for key in TEXTS:
        inner, rest = value.get(key), {name: part for name, part in value.items() if name != key}
        if isinstance(inner, Mapping) and inner:
            text, more = _told(inner)
            return text, {**rest, **more}
        if isinstance(inner, str):
            return inner, rest
    lines = (
        f"{key}: {part if isinstance(part, str) else json.dumps(part, default=str)}" for key, part in value.items()
    )
    return "\n".join(lines), {}


@dataclass(frozen=True, slots=True)
class _Conversation:
    """One conversation, with the key under which its chat store kept it; None when there was no store."""

    key: str | None
    messages: list[Any]


def _conversations(content: Any) -> Iterator[_Conversation]:
    """Yield the conversations of a persisted chat store, or a single list of messages."""
    if isinstance(content, Mapping) and isinstance(content.get("store"), Mapping):
        for key, messages in content["store"].items():
            yield _Conversation(str(key), list(messages))
    elif isinstance(content, Iterable) and not isinstance(content, str | bytes | Mapping):
        yield _Conversation(None, list(content))
    else:
        raise InputError("to import from llama_index, give a list of ChatMessage or a persisted SimpleChatStore")


def _llama_index(raw: _Conversation) -> Brought:
    # The key keeps one user's conversation apart from another's; which of the two it names, nobody can tell.
    scope = None if raw.key is None else Scope(run_id=raw.key)
    return Brought(held=raw.messages, scope=scope, trust=None, metadata={"imported_from": "llama_index"})


def _jsonl(raw: Any) -> Brought:
    if not isinstance(raw, Mapping):
        raise InputError(f"a line is an object, got {quoted(raw)}")
    line = _line_of_record(raw) if "content_hash" in raw else raw
    held = held_in(line, "the line")
    if unknown := [key for key in line if key not in LINE]:
        raise InputError(
            f"nothing reads {named(unknown)} of a line; put it under 'metadata'. Keys are {', '.join(LINE)}"
        )
    trust = as_trust(line.get("trust"))
    return Brought(
        held=held,
        scope=_own_scope(line),
        source=_source(line.get("source")),
        observed_at=_time(line),
        valid_from=_moment(line, "valid_from"),
        valid_to=_moment(line, "valid_to"),
        expires_at=_moment(line, "expires_at"),
        ttl_s=as_lifetime(line.get("ttl")),
        trust=Trust.EXTERNAL if trust is None and not isinstance(held, list) else trust,
        metadata=_metadata(line),
    )


def _line_of_record(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a record, as `Record.to_json()` gives it, as the line that says the same.

    What the ledger and the policy have decided about it is left out: here they decide anew.
    """
    fields = Record.__dataclass_fields__
    line = {key: value for key, value in record.items() if key in STAMP or key == "observed_at" or key not in fields}
    text, slot, examples = record.get("text"), record.get("slot"), record.get("examples")
    if record.get("kind") == Kind.TASK and isinstance(slot, Mapping):
        return {**line, "name": slot.get("subject"), "demonstrations": examples}
    if isinstance(slot, Mapping):
        return {**line, **slot, "value": record.get("value"), "text": text}
    match record.get("kind"), examples:
        case Kind.EXAMPLE, [Mapping() as example]:
            return {**line, **example}
        case Kind.PREFERENCE, _:
            return {**line, "rule": text, "examples": examples or []}
        case _:
            return {**line, "text": text}


_READERS: dict[str, Callable[[Any], Brought]] = {
    "mem0": _mem0,
    "langgraph": _langgraph,
    "llama_index": _llama_index,
    "jsonl": _jsonl,
}
FORMS = tuple(_READERS)


# ---------------------------------------------------------------- what rows say about themselves


def _scope(raw: Mapping[str, Any]) -> Scope:
    given = {name: raw[name] for name in SCOPES if raw.get(name) is not None}
    for name, value in given.items():
        number = isinstance(value, int) and not isinstance(value, bool)
        if not number and not (isinstance(value, str) and value.strip()):
            raise InputError(
                f"{name} must be non-empty text, got {quoted(value)}; leave it out for everybody's knowledge"
            )
    return Scope(**{name: str(value) for name, value in given.items()})


def _own_scope(line: Mapping[str, Any]) -> Scope:
    """Return the scope of one of our own lines: its keys stand at the top, or under "scope" as in a record."""
    nested = line.get("scope") or {}
    if not isinstance(nested, Mapping) or not set(nested) <= set(SCOPES):
        raise InputError(f"scope must be an object with {', '.join(SCOPES)}, got {quoted(nested)}")
    top, inner = _scope(line), _scope(nested)
    if not (top.covers(inner) or inner.covers(top)):
        raise InputError(f"the line names two scopes, {quoted(top.name)} and {quoted(inner.name)}; give one")
    return inner if top.covers(inner) else top


def _time(raw: Mapping[str, Any]) -> datetime | None:
    name = next((name for name in TIMES if raw.get(name) is not None), None)
    return None if name is None else aware_time(raw[name], name)


def _moment(raw: Mapping[str, Any], name: str) -> datetime | None:
    return None if raw.get(name) is None else as_time(raw[name], name)


def _source(source: object) -> str | None:
    if source is not None and (not isinstance(source, str) or not source.strip()):
        raise InputError(f"source must be non-empty text, got {quoted(source)}")
    return source


def end_of_day(day: object) -> datetime | None:
    """Return the moment at which mem0's expiration_date is over, in UTC: the last day counts in full.

    Raises:
        InputError: it is no date such as "2026-05-03".
    """
    if day is None:
        return None
    try:
        last = datetime.fromisoformat(str(day)).date()
        return datetime.combine(last + timedelta(days=1), time(), UTC)
    except (ValueError, OverflowError) as error:
        raise InputError(f"expiration_date must be YYYY-MM-DD, such as 2026-05-03; got {quoted(day)}") from error


def _metadata(raw: Mapping[str, Any]) -> Mapping[str, Json]:
    metadata = raw.get("metadata") or {}
    if not isinstance(metadata, Mapping):
        raise InputError(f"metadata must be an object, got {quoted(metadata)}")
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
