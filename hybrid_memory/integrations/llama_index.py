"""The memory as LlamaIndex parts: a retriever, a query engine, and a block of its chat memory.

Flow:    LlamaIndex -> [llama_index] -> the public API -> nodes, responses, text
Imports: errors, types, memory, streaming. Needs no extra: llama-index-core is always there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.base.response.schema import Response, StreamingResponse
from llama_index.core.memory.memory import BaseMemoryBlock
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from pydantic import Field

from hybrid_memory.errors import InputError
from hybrid_memory.integrations.hits import hit_metadata
from hybrid_memory.memory import HybridMemory
from hybrid_memory.protocols import Filters
from hybrid_memory.types import Answer, Hit

__all__ = ["HybridMemoryBlock", "HybridMemoryQueryEngine", "HybridMemoryRetriever"]

OURS = ("record_id", "source", "kind", "valid_from", "similarity", "beside")
"""Metadata we add to every node: for the application, not for prompts or embeddings."""


class HybridMemoryRetriever(BaseRetriever):  # type: ignore[misc]
    """`HybridMemory.search` as a LlamaIndex retriever; no language model is loaded.

    Args:
        memory: an open memory.
        top_k: how many nodes at most, neighbours apart.
        filters: conditions on the records.
        as_of: as things stood then; None is now.
        known_at: by what the memory had recorded then; None is now.
        neighbours: parts before and after each that is found; None takes the memory's setting. Their score is 0.
        scope: `user_id=…` and the other scopes of every call.
    """

    def __init__(
        self,
        memory: HybridMemory,
        *,
        top_k: int = 10,
        filters: Filters | None = None,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
        neighbours: int | None = None,
        **scope: Any,
    ) -> None:
        super().__init__()
        self._memory = memory
        self._options: dict[str, Any] = {
            "top_k": top_k,
            "filters": filters,
            "as_of": as_of,
            "known_at": known_at,
            "neighbours": neighbours,
            **scope,
        }

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [_node(hit) for hit in self._memory.search(query_bundle.query_str, **self._options)]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


class HybridMemoryQueryEngine(BaseQueryEngine):  # type: ignore[misc]
    """`HybridMemory.query` as a LlamaIndex query engine: evidence and adapters become one response.

    The response's metadata has `answer_id` (for `memory.feedback`), `abstained`, `adapters`, `confidence`, `trace`.

    Args:
        memory: an open memory.
        streaming: give a StreamingResponse; its source nodes and metadata are there once the text has been read.
        options: those of `HybridMemory.query_many`, scopes included.
    """

    def __init__(self, memory: HybridMemory, *, streaming: bool = False, **options: Any) -> None:
        super().__init__(callback_manager=None)
        self._memory = memory
        self._streaming = streaming
        self._options = options

    def _query(self, query_bundle: QueryBundle) -> Response | StreamingResponse:
        if self._streaming:
            return self._stream(query_bundle.query_str)
        answer = self._memory.query(query_bundle.query_str, **self._options)
        return Response(response=answer.text, source_nodes=_sources(answer), metadata=_metadata(answer))

    async def _aquery(self, query_bundle: QueryBundle) -> Response | StreamingResponse:
        return await asyncio.to_thread(self._query, query_bundle)

    def _stream(self, question: str) -> StreamingResponse:
        stream = self._memory.query(question, stream=True, **self._options)
        response = StreamingResponse(response_gen=None, metadata={})

        def text() -> Any:
            yield from stream
            response.source_nodes = _sources(stream.answer)
            response.metadata.update(_metadata(stream.answer))

        response.response_gen = text()
        return response

    def _get_prompt_modules(self) -> dict[str, Any]:
        return {}


class HybridMemoryBlock(BaseMemoryBlock[str]):  # type: ignore[misc]
    """A block of LlamaIndex's `Memory`: what leaves the short-term memory is ingested, what is current comes back.

    The latest user message is the question. Facts come back one a line, best first. With `per_session` a session
    sees its own messages only (`run_id` is the session's id) beside what is known without a session.
    """

    name: str = "HybridMemory"
    memory: HybridMemory = Field(exclude=True)
    top_k: int = Field(default=5, ge=1)
    per_session: bool = False
    scope: dict[str, Any] = Field(default_factory=dict)
    """`user_id` and the other scopes of every call."""

    async def _aget(
        self, messages: list[ChatMessage] | None = None, session_id: str | None = None, **_options: Any
    ) -> str:
        question = _question(messages or [])
        if not question:
            return ""
        scope = self._scope(session_id)
        hits = await asyncio.to_thread(lambda: self.memory.search(question, top_k=self.top_k, **scope))
        return "\n".join(hit.text for hit in hits)

    async def _aput(self, messages: list[ChatMessage]) -> None:
        for message in messages:
            session_id = message.additional_kwargs.get("session_id")
            text = message.content
            if not text or message.role not in (MessageRole.USER, MessageRole.ASSISTANT):
                continue
            await asyncio.to_thread(self._ingest, message.role.value, text, session_id)

    async def atruncate(self, content: str, tokens_to_truncate: int) -> str | None:
        """Drop facts from the end, the least close ones first, until about that many tokens are gone."""
        lines = content.split("\n")
        dropped = 0
        while lines and dropped < tokens_to_truncate:
            dropped += len(lines.pop()) // 4 + 1  # about four characters a token, in English
        return "\n".join(lines) or None

    def _ingest(self, role: str, text: str, session_id: str | None) -> None:
        metadata = {"session_id": session_id} if session_id else None
        try:
            self.memory.ingest([{"role": role, "content": text}], metadata=metadata, **self._scope(session_id))
        except InputError:
            if role == "user":
                raise
            # an assistant turn that states nothing: "Sure!", a question

    def _scope(self, session_id: str | None) -> dict[str, Any]:
        return {**self.scope, "run_id": session_id} if self.per_session and session_id else self.scope


def _question(messages: Sequence[ChatMessage]) -> str:
    said = [message.content for message in messages if message.role is MessageRole.USER and message.content]
    return said[-1].strip() if said else ""


def _sources(answer: Answer) -> list[NodeWithScore]:
    return [_node(hit) for hit in answer.sources]


def _metadata(answer: Answer) -> dict[str, Any]:
    return {
        "answer_id": answer.id,
        "abstained": answer.abstained,
        "adapters": list(answer.adapters),
        "confidence": answer.confidence,
        "trace": list(answer.trace),
    }


def _node(hit: Hit) -> NodeWithScore:
    record = hit.record
    node = TextNode(
        id_=record.id,
        text=record.text,
        metadata={**record.metadata, **hit_metadata(hit)},
        excluded_llm_metadata_keys=list(OURS),
        excluded_embed_metadata_keys=list(OURS),
    )
    return NodeWithScore(node=node, score=hit.score)
