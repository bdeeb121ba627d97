"""The memory as a LangChain retriever.

Flow:    LangChain -> [langchain] -> HybridMemory.search -> documents
Imports: errors, types, memory. Needs the extra `langchain`.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from pydantic import Field

from hybrid_memory.errors import MissingExtraError
from hybrid_memory.integrations.hits import hit_metadata
from hybrid_memory.memory import HybridMemory
from hybrid_memory.types import Hit

try:
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever
except ImportError as error:
    raise MissingExtraError(
        "the LangChain retriever needs langchain-core: pip install 'hybrid-memory-sdk[langchain]'"
    ) from error

__all__ = ["HybridMemoryRetriever"]


class HybridMemoryRetriever(BaseRetriever):  # type: ignore[misc]
    """`HybridMemory.search` as a LangChain retriever; no language model is loaded.

    Each document's `id` is the record's; its metadata holds the record's own and `record_id`, `source`, `kind`,
    `valid_from`, `score`, `similarity`. `invoke(question, k=3)` overrides `k` for one call.
    """

    memory: HybridMemory = Field(exclude=True)
    k: int = Field(default=10, ge=1)
    filters: dict[str, Any] | None = None
    as_of: datetime | None = None
    known_at: datetime | None = None
    neighbours: int | None = None
    """Parts before and after each that is found, beyond `k`; None takes the memory's setting."""
    scope: dict[str, Any] = Field(default_factory=dict)
    """`user_id` and the other scopes of every call."""

    def _get_relevant_documents(self, query: str, *, k: int | None = None, **_context: Any) -> list[Document]:
        hits = self.memory.search(
            query,
            top_k=self.k if k is None else k,
            filters=self.filters,
            as_of=self.as_of,
            known_at=self.known_at,
            neighbours=self.neighbours,
            **self.scope,
        )
        return [_document(hit) for hit in hits]

    async def _aget_relevant_documents(self, query: str, *, k: int | None = None, **_context: Any) -> list[Document]:
        return await asyncio.to_thread(self._get_relevant_documents, query, k=k)


def _document(hit: Hit) -> Document:
    record = hit.record
    ours = {**hit_metadata(hit), "score": hit.score}
    return Document(id=record.id, page_content=record.text, metadata={**record.metadata, **ours})
