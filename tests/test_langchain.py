"""The memory as a LangChain retriever."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_flow import open_memory

from hybrid_memory.memory import HybridMemory

pytest.importorskip("langchain_core", reason="not installed: pip install 'hybrid-memory-sdk[langchain]'")

from langchain_core.runnables import RunnableLambda

from hybrid_memory.integrations.langchain import HybridMemoryRetriever

CAFE = "The harbour café opens at nine."
MUSEUM = "The museum closes at six."


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[HybridMemory]:
    with open_memory(tmp_path) as opened:
        opened.ingest(CAFE, metadata={"city": "Bergen"})
        opened.ingest(MUSEUM, user_id="ann")
        yield opened


def test_a_document_is_a_record_with_its_metadata(memory: HybridMemory) -> None:
    """Its id is the record's, for feedback, trace and forget."""
    (document,) = HybridMemoryRetriever(memory=memory).invoke("when does the harbour café open")

    assert (document.id, document.page_content) == (memory.list()[0].id, CAFE)
    assert (document.metadata["city"], document.metadata["source"]) == ("Bergen", "text")


def test_scope_filters_and_k_are_kept(memory: HybridMemory) -> None:
    """`k` may be given per call, as LangChain's retrievers take it."""
    retriever = HybridMemoryRetriever(memory=memory, scope={"user_id": "ann"}, k=5)
    filtered = HybridMemoryRetriever(memory=memory, scope={"user_id": "ann"}, filters={"metadata.city": "Bergen"})

    assert len(retriever.invoke("open close")) == 2
    assert len(retriever.invoke("open close", k=1)) == 1
    assert [one.page_content for one in filtered.invoke("open close")] == [CAFE]
    then = HybridMemoryRetriever(memory=memory, scope={"user_id": "ann"}, known_at=memory.list()[0].recorded_at)
    assert [one.page_content for one in then.invoke("open close")] == [CAFE]


def test_neighbouring_parts_name_what_they_stand_beside(memory: HybridMemory) -> None:
    """The parts of a long text around the one that is found, beyond `k`."""
    names = ("anchors", "ballast", "cables")
    memory.ingest("\n\n".join(" ".join([f"The {name} are listed."] * 30) for name in names))

    documents = HybridMemoryRetriever(memory=memory, k=1, neighbours=1).invoke("ballast")

    assert [one.page_content.split()[1] for one in documents] == list(names)
    assert [one.metadata.get("beside") for one in documents] == [documents[1].id, None, documents[1].id]


def test_it_is_a_runnable(memory: HybridMemory) -> None:
    """Piped, batched and awaited."""
    chain = HybridMemoryRetriever(memory=memory, k=1) | RunnableLambda(lambda documents: documents[0].page_content)

    assert chain.batch(["harbour café", "café"]) == [CAFE, CAFE]
    assert asyncio.run(chain.ainvoke("harbour café")) == CAFE
