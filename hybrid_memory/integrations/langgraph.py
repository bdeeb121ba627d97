"""The memory as a LangGraph store: items by namespace and key, found by filter or by meaning.

Flow:    LangGraph -> [langgraph] -> facts in slots (ingest), records (list), hits (search)
Imports: errors, types, memory, protocols. Needs the extra `langgraph`.

An item is a fact whose slot is its namespace and key, so that a later `put` replaces an earlier one by the ledger's
own rules, and history stays. `delete` forgets: item, history, vectors, and what adapters learned of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from hybrid_memory.errors import InputError, MissingExtraError
from hybrid_memory.memory import HybridMemory
from hybrid_memory.types import Fact, Json, Record, Route, Trust, quoted

try:
    from langgraph.store.base import (
        BaseStore,
        GetOp,
        Item,
        ListNamespacesOp,
        MatchCondition,
        PutOp,
        SearchItem,
        SearchOp,
    )
    from langgraph.store.base.embed import get_text_at_path, tokenize_path
except ImportError as error:
    raise MissingExtraError(
        "the LangGraph store needs langgraph: pip install 'hybrid-memory-sdk[langgraph]'"
    ) from error

__all__ = ["HybridMemoryStore"]

SOURCE = "langgraph"
ITEM = "item"
"""Metadata key: which item a record is a version of."""
OPERATORS = {"$eq": "eq", "$ne": "ne", "$gt": "gt", "$gte": "gte", "$lt": "lt", "$lte": "lte"}
SCOPES = ("tenant_id", "user_id", "agent_id", "run_id")


class HybridMemoryStore(BaseStore):  # type: ignore[misc]
    """A LangGraph `BaseStore` over one memory; `graph.compile(store=HybridMemoryStore(memory))`.

    Semantic search is always on: every item is embedded, whole or by its `fields`, as one passage.
    Items do not expire by access (`ttl`), which LangGraph answers with NotImplementedError.

    Args:
        memory: an open memory.
        fields: paths of the values that are searched, such as "text" or "notes[*].title"; "$" is all of it.
        route: where items go. "retrieve" stores every item whatever the policy and the screens say, as a store must;
            None lets them decide, and a `put` that they drop is an InputError.
        trust: who vouches for items.
        scope: `user_id=…` and the other scopes of every item.
    """

    __slots__ = ("_fields", "_memory", "_route", "_scope", "_trust")

    def __init__(
        self,
        memory: HybridMemory,
        *,
        fields: Sequence[str] = ("$",),
        route: Route | str | None = Route.RETRIEVE,
        trust: Trust | str = Trust.USER,
        **scope: Any,
    ) -> None:
        self._memory = memory
        self._fields = tuple(fields)
        self._route = route
        self._trust = trust
        self._scope: dict[str, Any] = scope

    def batch(self, ops: Iterable[Any]) -> list[Any]:
        """Do the operations; what is read in a batch is what was there before it, of two puts the last one counts."""
        asked = list(ops)
        results = [self._read(op) for op in asked]
        for op in {(op.namespace, op.key): op for op in asked if isinstance(op, PutOp)}.values():
            self._put(op)
        return results

    async def abatch(self, ops: Iterable[Any]) -> list[Any]:
        """Do the operations in a thread."""
        return await asyncio.to_thread(self.batch, list(ops))

    def _read(self, op: Any) -> Any:
        if isinstance(op, GetOp):
            record = self._record(op.namespace, op.key)
            return None if record is None else Item(**_fields_of(record))
        if isinstance(op, SearchOp):
            return self._found(op)
        if isinstance(op, ListNamespacesOp):
            return self._namespaces(op)
        if isinstance(op, PutOp):
            return None
        raise InputError(
            f"unknown operation {type(op).__name__}; accepted are GetOp, PutOp, SearchOp, ListNamespacesOp"
        )

    def _record(self, namespace: tuple[str, ...], key: str) -> Record | None:
        found = self._memory.list(
            filters=self._ours({f"metadata.{ITEM}": _name(namespace, key)}), limit=1, **self._scope
        )
        return found[0] if found else None

    def _found(self, op: SearchOp) -> list[SearchItem]:
        conditions = list(_conditions("value", op.filter or {}))
        filters = self._ours({**_inside(op.namespace_prefix), **({"and": conditions} if conditions else {})})
        last = op.offset + op.limit
        if not op.query:
            records = self._memory.list(filters=filters, limit=last, **self._scope)
            return [SearchItem(**_fields_of(record)) for record in records[op.offset :]]
        indexed = {**filters, "metadata.indexed": True}
        hits = self._memory.search(op.query, top_k=last, filters=indexed, neighbours=0, **self._scope)
        return [SearchItem(**_fields_of(hit.record), score=hit.score) for hit in hits[op.offset :]]

    def _namespaces(self, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        conditions = op.match_conditions or ()
        prefix = next((one.path for one in conditions if one.match_type == "prefix" and "*" not in one.path), ())
        records = self._memory.list(filters=self._ours(_inside(tuple(prefix))), **self._scope)
        everything = {_namespace(record) for record in records}
        matching = {one[: op.max_depth] for one in everything if all(_matches(each, one) for each in conditions)}
        return sorted(matching)[op.offset : op.offset + op.limit]

    def _put(self, op: PutOp) -> None:
        name = _name(op.namespace, op.key)
        if op.value is None:
            records = self._memory.list(
                filters=self._ours({f"metadata.{ITEM}": name}), all_statuses=True, **self._scope
            )
            if records:
                self._memory.forget([record.id for record in records])
            return
        before = self._record(op.namespace, op.key)
        value = _plain(op.value)
        text = "" if op.index is False else _text(value, self._fields if op.index is None else op.index)
        receipt = self._memory.ingest(
            Fact(
                subject=f"{'/'.join(op.namespace)} {name}",
                attribute=op.key,
                value=_digest(json.dumps([value, text], sort_keys=True)),
                text=text or op.key,
            ),
            source=SOURCE,
            trust=self._trust,
            route=self._route,
            force=True,  # a key may be filled again after it was deleted
            metadata={
                ITEM: name,
                "namespace": list(op.namespace),
                "key": op.key,
                "item_value": value,
                "indexed": bool(text),
                "created_at": None if before is None else _fields_of(before)["created_at"].isoformat(),
                **{f"label {depth}": label for depth, label in enumerate(op.namespace)},
                **dict(_leaves("value", value)),
            },
            **self._scope,
        )
        if receipt.route in (Route.DROP, Route.QUARANTINE):
            raise InputError(
                f"item {quoted(op.key)} was routed to {receipt.route.value} and will not be found: "
                f"{receipt.decision.reasons[-1]}; HybridMemoryStore(memory, route='retrieve') stores every item"
            )

    def _ours(self, conditions: Mapping[str, Json]) -> dict[str, Json]:
        """Add: an item of exactly this store's scope; a scope alone would see everybody's items too."""
        exactly = {name: {"eq": self._scope.get(name)} for name in SCOPES}
        return {"source": SOURCE, f"metadata.{ITEM}": {"exists": True}, **exactly, **conditions}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _name(namespace: Sequence[str], key: str) -> str:
    return _digest(json.dumps([list(namespace), key]))


def _plain(value: Mapping[str, Any]) -> dict[str, Json]:
    try:
        plain: dict[str, Json] = json.loads(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(f"an item's value must be JSON data: {error}") from error
    return plain


def _text(value: Mapping[str, Json], fields: Sequence[str]) -> str:
    texts = [text for field in fields for text in (_whole(value) if field == "$" else _at(value, field))]
    return "\n".join(text for text in texts if text.strip())


def _at(value: Mapping[str, Json], field: str) -> list[str]:
    found: list[str] = get_text_at_path(value, tokenize_path(field))
    return found


def _whole(value: Mapping[str, Json]) -> list[str]:
    """Return "name: value" lines, or the one value alone: a model reads them more easily than JSON."""
    lines = list(_lines("", value))
    return [lines[0][1]] if len(lines) == 1 else [f"{path}: {text}" for path, text in lines]


def _lines(path: str, value: Json) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _lines(f"{path}.{key}" if path else key, item)
    elif value is not None:
        yield path, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _leaves(path: str, value: Json) -> Iterator[tuple[str, Json]]:
    """Yield what filters compare: scalars as they are, lists and dicts as their JSON text under a name of their own."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(f"{path}.{key}", item)
    if isinstance(value, Mapping | list | tuple):
        yield f"json {path}", json.dumps(value, sort_keys=True)
    elif value is not None:
        yield path, value


def _conditions(path: str, wanted: Mapping[str, Any]) -> Iterator[dict[str, Json]]:
    """Yield the ledger's filters for a LangGraph filter; nested dicts are conditions on their members."""
    for key, value in wanted.items():
        name = f"{path}.{key}"
        if isinstance(value, Mapping) and any(str(operator).startswith("$") for operator in value):
            for operator, operand in value.items():
                yield _compared(name, operator, operand)
        elif isinstance(value, Mapping):
            yield from _conditions(name, value)
        else:
            yield _compared(name, "$eq", value)


def _compared(name: str, operator: str, operand: Any) -> dict[str, Json]:
    if operator not in OPERATORS:
        raise InputError(f"unknown operator {quoted(operator)} in a filter; known are {', '.join(OPERATORS)}")
    if operand is None:
        nothing: dict[str, Json] = {f"metadata.{name}": None, f"metadata.json {name}": None}
        return nothing if operator == "$eq" else {"not": nothing}
    if isinstance(operand, Mapping | list | tuple):
        return {f"metadata.json {name}": {OPERATORS[operator]: json.dumps(operand, sort_keys=True)}}
    return {f"metadata.{name}": {OPERATORS[operator]: operand}}


def _inside(prefix: Sequence[str]) -> dict[str, Json]:
    return {f"metadata.label {depth}": label for depth, label in enumerate(prefix)}


def _namespace(record: Record) -> tuple[str, ...]:
    labels = record.metadata["namespace"]
    return tuple(str(label) for label in labels) if isinstance(labels, list | tuple) else ()


def _matches(condition: MatchCondition, namespace: tuple[str, ...]) -> bool:
    path = tuple(condition.path)
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[-len(path) or len(namespace) :]
    return len(part) == len(path) and all(wanted in ("*", label) for wanted, label in zip(path, part, strict=True))


def _fields_of(record: Record) -> dict[str, Any]:
    created = record.metadata["created_at"]
    return {
        "namespace": _namespace(record),
        "key": record.metadata["key"],
        "value": record.metadata["item_value"],
        "created_at": record.recorded_at if created is None else datetime.fromisoformat(str(created)),
        "updated_at": record.recorded_at,
    }
