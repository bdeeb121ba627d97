"""The memory with mem0's verbs and mem0's return values, for applications that were written for mem0.

Flow:    add, search, get, get_all, update, delete, delete_all, history -> the public API -> plain dicts
Imports: errors, types, memory, the import of mem0's exports. Needs no extra: mem0 itself is not used.

Return values follow mem0ai 2.2 (`mem0/memory/main.py`). What differs is in docs/how-to/integrations.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hybrid_memory.errors import InputError, NotFoundError
from hybrid_memory.ingest.imports import end_of_day
from hybrid_memory.memory import HybridMemory
from hybrid_memory.protocols import Filters
from hybrid_memory.types import Hit, IngestReceipt, Json, Record, Route, Status, named, quoted

__all__ = ["Memory"]

PROMOTED = {"role": "role", "name": "actor_id"}
"""Metadata of ours that mem0 has at the top of an item, under its own name."""
JOINS = {"AND": "and", "OR": "or", "NOT": "not"}
FIELDS = {"created_at": "observed_at", "updated_at": "recorded_at", "actor_id": "metadata.name"} | {
    name: name for name in ("user_id", "agent_id", "run_id")
}


class Memory:
    """mem0's `Memory` over a HybridMemory: `Memory(HybridMemory.open("./acme"))`."""

    def __init__(self, memory: HybridMemory) -> None:
        """Wrap an open memory; it stays the caller's to close."""
        self.memory = memory

    def add(
        self,
        messages: str | Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        metadata: Mapping[str, Json] | None = None,
        infer: bool = True,
        expiration_date: str | None = None,
    ) -> dict[str, list[dict[str, Json]]]:
        """Ingest text or messages; `{"results": [{"id", "memory", "event"}, …]}`.

        Args:
            messages: text, one message, or a list of messages with role and content.
            user_id: scope; one of the three is obligatory, as with mem0.
            agent_id: scope.
            run_id: scope.
            metadata: stored with every record.
            infer: True lets the routing policy decide what is worth keeping; False keeps every message as it is.
            expiration_date: YYYY-MM-DD, the last day (UTC) on which it is found.

        Returns:
            One entry per record that is new: event "ADD", or "UPDATE" with "previous_memory" when it replaced one.

        Raises:
            InputError: no scope, a day that is over, or nothing that can be used.
        """
        # In whole seconds a lifetime is exact, so the end is midnight.
        now, end = datetime.now(UTC).replace(microsecond=0), end_of_day(expiration_date)
        if end is not None and end <= now:
            raise InputError(f"expiration_date {expiration_date} is over; give today or a later day")
        scope, _ = _read({}, user_id=user_id, agent_id=agent_id, run_id=run_id)
        given = [messages] if isinstance(messages, Mapping) else messages
        summary = self.memory.ingest_many(
            [given if isinstance(given, str) else list(given)],
            metadata=metadata,
            observed_at=now if end is not None else None,
            ttl=None if end is None else end - now,
            route=None if infer else Route.RETRIEVE,
            **scope,
        )
        if summary.failures:
            raise InputError(summary.failures[0][1])
        return {"results": [self._added(one) for one in summary.receipts if one.record_id and not one.duplicate]}

    def search(
        self,
        query: str,
        *,
        top_k: int = 20,
        filters: Filters | None = None,
        threshold: float | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        limit: int | None = None,
    ) -> dict[str, list[dict[str, Json]]]:
        """Return the closest memories, best first: `{"results": [{"id", "memory", "score", …}, …]}`.

        Args:
            query: what is sought.
            top_k: how many at most.
            filters: scopes, as mem0 2 wants them, and conditions on metadata, with mem0's operators, AND, OR, NOT.
            threshold: least `score`; None takes all.
            user_id: scope, as mem0 1 wants it; likewise agent_id, run_id.
            agent_id: scope.
            run_id: scope.
            limit: mem0 1's name of top_k.

        Returns:
            `score` is the cosine, 0.0 where only the words matched. The order is that of both together.
        """
        scope, conditions = _read(filters, user_id=user_id, agent_id=agent_id, run_id=run_id)
        hits = self.memory.search(query, top_k=limit or top_k, neighbours=0, filters=conditions, **scope)
        scored = [(hit, _score(hit)) for hit in hits]
        kept = [(hit, score) for hit, score in scored if threshold is None or score >= threshold]
        return {"results": [{**_item(hit.record), "score": score} for hit, score in kept]}

    def get(self, memory_id: str) -> dict[str, Json] | None:
        """Return a memory as it is now, under the id that was asked for; None when there is none."""
        try:
            record = self._newest(memory_id)
        except NotFoundError:
            return None
        return None if record.status is Status.FORGOTTEN else {**_item(record), "id": memory_id}

    def get_all(
        self,
        *,
        filters: Filters | None = None,
        top_k: int = 20,
        show_expired: bool = False,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        limit: int | None = None,
    ) -> dict[str, list[dict[str, Json]]]:
        """Return current memories in the order of recording; arguments as for `search`."""
        scope, conditions = _read(filters, user_id=user_id, agent_id=agent_id, run_id=run_id)
        if show_expired:
            conditions = {**(conditions or {}), "status": {"in": [Status.ACTIVE.value, Status.EXPIRED.value]}}
        records = self.memory.list(filters=conditions, all_statuses=show_expired, limit=limit or top_k, **scope)
        return {"results": [_item(record) for record in records]}

    def update(
        self,
        memory_id: str,
        text: str | None = None,
        metadata: Mapping[str, Json] | None = None,
        *,
        data: str | None = None,
    ) -> dict[str, str]:
        """Replace a memory's text, its metadata, or both; the id goes on naming it.

        Args:
            memory_id: of any version of it.
            text: the new content.
            metadata: the new metadata.
            data: mem0 1's name of text.

        Raises:
            InputError: nothing to change, or no such memory.
        """
        content = text if text is not None else data
        if content is None and metadata is None:
            raise InputError("at least one of text and metadata must be given")
        record = self._known(memory_id)
        if content is None:
            self.memory.update(record.id, metadata=metadata)
        else:
            self.memory.update(record.id, content, metadata=metadata)
        return {"message": "Memory updated successfully!"}

    def delete(self, memory_id: str) -> dict[str, str]:
        """Forget a memory, its earlier versions included, in retrieval and in the weights."""
        self._known(memory_id)
        self.memory.forget([record.id for record in self._versions(memory_id) if record.status is not Status.FORGOTTEN])
        return {"message": "Memory deleted successfully!"}

    def delete_all(
        self, user_id: str | None = None, agent_id: str | None = None, run_id: str | None = None
    ) -> dict[str, str]:
        """Forget everything inside a scope."""
        self.memory.forget(**_read({}, user_id=user_id, agent_id=agent_id, run_id=run_id)[0])
        return {"message": "Memories deleted successfully!"}

    def history(self, memory_id: str) -> list[dict[str, Json]]:
        """Return what happened to a memory, oldest first: "ADD", "UPDATE", "DELETE". Forgotten texts are None."""
        lines: list[dict[str, Json]] = []
        versions = self._versions(memory_id)
        for record in versions:
            text = None if record.status is Status.FORGOTTEN else record.text
            before = lines[-1]["new_memory"] if lines else None
            lines.append(_line(memory_id, record, before=before, text=text, event="UPDATE" if lines else "ADD"))
        last = versions[-1]
        if last.status is Status.FORGOTTEN:
            gone = _line(memory_id, last, before=None, text=None, event="DELETE")
            at = next(event.at for event in self.memory.history(last.id) if event.name == "forgotten")
            lines.append({**gone, "updated_at": at.isoformat(), "is_deleted": True})
        return lines

    def _added(self, receipt: IngestReceipt) -> dict[str, Json]:
        record = self.memory.get(str(receipt.record_id))
        added: dict[str, Json] = {"id": record.id, "memory": record.text, "event": "ADD", **_promoted(record)}
        if receipt.superseded:
            added.update(event="UPDATE", previous_memory=self.memory.get(receipt.superseded[0]).text)
        return added

    def _known(self, memory_id: str) -> Record:
        try:
            record = self._newest(memory_id)
        except NotFoundError as error:
            raise InputError(f"Memory with id {named([memory_id])} not found") from error
        if record.status is Status.FORGOTTEN:
            raise InputError(f"Memory with id {memory_id} not found: it was deleted")
        return record

    def _newest(self, memory_id: str) -> Record:
        record = self.memory.get(memory_id)
        while record.status is Status.SUPERSEDED and record.superseded_by is not None:
            record = self.memory.get(record.superseded_by)
        return record

    def _versions(self, memory_id: str) -> list[Record]:
        named = [event.record_id for event in self.memory.history(memory_id) if event.record_id is not None]
        return [self.memory.get(record_id) for record_id in dict.fromkeys(named)]


def _read(filters: Filters | None, **given: str | None) -> tuple[dict[str, Any], Filters | None]:
    """Return the scopes, of which there must be one, and the other conditions in our form."""
    rest = dict(filters or {})
    scope: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    for name in given:
        if isinstance(rest.get(name), str):
            wanted = str(rest.pop(name))
            if scope.setdefault(name, wanted) != wanted:
                raise InputError(
                    f"{name} is {quoted(scope[name])} as argument and {quoted(wanted)} in filters; give it once"
                )
    if not scope:
        raise InputError(
            "at least one of user_id, agent_id, run_id is needed, as an argument or in filters={'user_id': 'ann'}"
        )
    return scope, _translated(rest) or None


def _translated(filters: Mapping[str, Json]) -> dict[str, Json]:
    """Return mem0's filters in our form: its fields lie in our metadata, its joins are written in capitals."""
    ours: dict[str, Json] = {}
    for key, value in filters.items():
        if key in JOINS:
            parts: list[Json] = [_translated(part) for part in value if isinstance(part, Mapping)]  # type: ignore[union-attr]
            ours[JOINS[key]] = {"or": parts} if key == "NOT" else parts
        else:
            ours[FIELDS.get(key, f"metadata.{key}")] = {"exists": True} if value == "*" else value
    return ours


def _item(record: Record) -> dict[str, Json]:
    item: dict[str, Json] = {
        "id": record.id,
        "memory": record.text,
        "hash": record.content_hash,
        "metadata": {key: value for key, value in record.metadata.items() if key not in PROMOTED} or None,
        "score": None,
        "created_at": record.observed_at.isoformat(),
        "updated_at": record.recorded_at.isoformat(),
    }
    scopes = zip(record.scope.keys(), record.scope.values(), strict=True)
    item.update({name: value for name, value in scopes if value is not None})
    ends = [end for end in (record.valid_to, record.expires_at) if end is not None]
    if ends:
        item["expiration_date"] = (min(ends) - timedelta(microseconds=1)).date().isoformat()
    return item | _promoted(record)


def _promoted(record: Record) -> dict[str, Json]:
    return {name: record.metadata[key] for key, name in PROMOTED.items() if key in record.metadata}


def _score(hit: Hit) -> float:
    return 0.0 if math.isnan(hit.similarity) else hit.similarity


def _line(memory_id: str, record: Record, *, before: Json, text: str | None, event: str) -> dict[str, Json]:
    return {
        "id": record.id,
        "memory_id": memory_id,
        "old_memory": before,
        "new_memory": text,
        "event": event,
        "created_at": record.observed_at.isoformat(),
        "updated_at": record.recorded_at.isoformat(),
        "is_deleted": False,
        "actor_id": record.metadata.get("name"),
        "role": record.metadata.get("role"),
    }
