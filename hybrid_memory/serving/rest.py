"""REST: the public API, one path a verb. Bodies are its arguments, answers are its values as JSON.

Flow:    app -> [rest] -> HybridMemory
Imports: errors, types, memory, and the modules beside it.

Handlers are plain functions: FastAPI runs them in threads, and the event loop stays free while a model writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, TypeAlias

from fastapi import Query as InQuery
from fastapi.responses import StreamingResponse

from hybrid_memory.errors import InputError
from hybrid_memory.memory import HybridMemory
from hybrid_memory.serving.bodies import (
    Consolidation,
    Feedback,
    Forgetting,
    Ingestion,
    Listing,
    Prompt,
    Purge,
    Query,
    Rollback,
    Search,
    SignedReceipt,
    Update,
    read_filters,
)
from hybrid_memory.serving.events import event, started
from hybrid_memory.types import finite

__all__ = ["Rest", "Route"]

Route: TypeAlias = tuple[str, str, Callable[..., Any]]
"""Method, path, handler."""


class Rest:
    """The handlers of one memory."""

    def __init__(self, memory: HybridMemory) -> None:
        self._memory = memory

    def routes(self) -> list[Route]:
        """Return every path there is."""
        return [
            ("GET", "/health", self.health),
            ("POST", "/v1/records", self.ingest),
            ("GET", "/v1/records", self.records),
            ("GET", "/v1/records/{record_id}", self.record),
            ("PATCH", "/v1/records/{record_id}", self.update),
            ("GET", "/v1/records/{record_id}/history", self.history),
            ("POST", "/v1/search", self.search),
            ("POST", "/v1/query", self.query),
            ("POST", "/v1/context", self.context),
            ("POST", "/v1/feedback", self.feedback),
            ("POST", "/v1/consolidate", self.consolidate),
            ("POST", "/v1/forget", self.forget),
            ("POST", "/v1/receipts/check", self.check_receipt),
            ("POST", "/v1/purge", self.purge),
            ("GET", "/v1/adapters", self.adapters),
            ("POST", "/v1/adapters/rollback", self.rollback),
            ("POST", "/v1/adapters/{version_id}/promote", self.promote),
            ("GET", "/v1/doctor", self.doctor),
        ]

    def health(self) -> Any:
        """Say that the server is up; asks nothing of the memory."""
        return {"status": "ok"}

    def ingest(self, body: Ingestion) -> Any:
        """Store one input; durable when the response comes."""
        x, options = body.read()
        return finite(self._memory.ingest(x, **options).to_json())

    def records(self, listing: Annotated[Listing, InQuery()]) -> Any:
        """List the records a question in this scope sees; `filters` is a JSON object, page with `after`."""
        options = {**listing.options(), "filters": read_filters(listing.filters), "limit": listing.limit}
        return {"records": [finite(record.to_json()) for record in self._memory.list(**options)]}

    def record(self, record_id: str) -> Any:
        """Return one record."""
        return finite(self._memory.get(record_id).to_json())

    def update(self, record_id: str, body: Update) -> Any:
        """Change a record's metadata, or supersede it by new content; return the record that now holds."""
        x, options = body.said()
        return finite(self._memory.update(record_id, x, **options).to_json())

    def history(self, record_id: str) -> Any:
        """Return what happened to a record and to the other values of its slot."""
        return {"events": [finite(one.to_json()) for one in self._memory.history(record_id)]}

    def search(self, body: Search) -> Any:
        """Return the closest passages; no language model is loaded."""
        return {"hits": [finite(hit.to_json()) for hit in self._memory.search(body.query, **body.options("query"))]}

    def query(self, body: Query) -> Any:
        """Answer one question, at once or as server-sent events: `{"text": …}` pieces, then `{"answer": …}`."""
        options = body.options("question", "stream")
        if not body.stream:
            return finite(self._memory.query(body.question, **options).to_json())
        stream = self._memory.query(body.question, stream=True, **options)
        pieces = started(stream)

        def events() -> Iterator[str]:
            for piece in pieces:
                yield event({"text": piece})
            yield event({"answer": finite(stream.answer.to_json())})

        return StreamingResponse(events(), media_type="text/event-stream")

    def context(self, body: Prompt) -> Any:
        """Return the messages that a question would be asked with, for a model of the caller's own."""
        return finite(self._memory.context(body.question, **body.options("question")).to_json())

    def feedback(self, body: Feedback) -> Any:
        """Accept or correct an answer, or an agent's finished turn."""
        return finite(self._memory.feedback(body.judged(), **body.options("answer_id", "messages")).to_json())

    def consolidate(self, body: Consolidation) -> Any:
        """Open a learning window; the response comes when it closes, so give a budget."""
        return finite(self._memory.consolidate(**body.options()).to_json())

    def forget(self, body: Forgetting) -> Any:
        """Forget records in both halves; the receipt says what is still due."""
        return finite(self._memory.forget(**body.options()).to_json())

    def check_receipt(self, body: SignedReceipt) -> Any:
        """Tell whether a receipt is word for word what was signed."""
        return {"unchanged": self._memory.check_receipt(body.receipt)}

    def purge(self, body: Purge) -> Any:
        """Delete for good what has outlived its ttl."""
        return finite(self._memory.purge(**body.options()).to_json())

    def adapters(self) -> Any:
        """List every adapter version."""
        return {"adapters": [finite(one.to_json()) for one in self._memory.adapters.list()]}

    def promote(self, version_id: str) -> Any:
        """Make a version serve."""
        return finite(self._memory.adapters.promote(version_id).to_json())

    def rollback(self, body: Rollback) -> Any:
        """Go back to an earlier version, or to what served at a time."""
        if body.to is not None and body.at is not None:
            raise InputError("give a version (to) or a time (at), not both")
        rollback = self._memory.adapters.rollback
        done = (
            rollback(body.to, shard_id=body.shard_id) if body.at is None else rollback(body.at, shard_id=body.shard_id)
        )
        return finite(done.to_json())

    def doctor(self) -> Any:
        """Check ledger, index and adapters."""
        return finite(dict(self._memory.doctor()))
