"""The memory as LlamaIndex's retriever, query engine and memory block."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.llms import MockLLM
from llama_index.core.memory import Memory
from llama_index.core.query_engine import RetrieverQueryEngine
from sqlalchemy.ext.asyncio import create_async_engine
from tiny_flow import open_memory

from hybrid_memory.integrations.llama_index import HybridMemoryBlock, HybridMemoryQueryEngine, HybridMemoryRetriever
from hybrid_memory.memory import HybridMemory

CAFE = "The harbour café opens at nine."
MUSEUM = "The museum closes at six."


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[HybridMemory]:
    with open_memory(tmp_path) as opened:
        opened.ingest(CAFE, metadata={"city": "Bergen"})
        opened.ingest(MUSEUM, user_id="ann")
        yield opened


# ---------------------------------------------------------------- retriever


def test_a_node_is_a_record_with_its_text_score_and_metadata(memory: HybridMemory) -> None:
    """Our own metadata stays out of prompts; the record's own goes in."""
    (found,) = HybridMemoryRetriever(memory, top_k=1).retrieve("when does the harbour café open")

    assert found.text == CAFE
    assert found.node.node_id == memory.list()[0].id
    assert found.score == memory.search("when does the harbour café open", top_k=1)[0].score
    assert found.node.metadata["source"] == "text"
    assert found.node.get_content(metadata_mode="llm") == f"city: Bergen\n\n{CAFE}"


def test_the_retriever_keeps_to_its_scope_filters_and_time(memory: HybridMemory) -> None:
    """They are given once and hold for every question."""

    def texts(**options: object) -> list[str]:
        retriever = HybridMemoryRetriever(memory, **options)  # type: ignore[arg-type]
        return sorted(node.text for node in retriever.retrieve("when does it open or close"))

    assert texts() == [CAFE]
    assert texts(user_id="ann") == [CAFE, MUSEUM]
    assert texts(user_id="ann", filters={"metadata.city": {"exists": False}}) == [MUSEUM]
    assert texts(user_id="ann", known_at=memory.list()[0].recorded_at) == [CAFE]


def test_the_retriever_can_be_awaited(memory: HybridMemory) -> None:
    """In a thread, so that the event loop goes on."""
    nodes = asyncio.run(HybridMemoryRetriever(memory).aretrieve("café"))

    assert [node.text for node in nodes] == [CAFE]


def test_the_retriever_fits_llama_indexs_own_query_engine(memory: HybridMemory) -> None:
    """A chain that was built for LlamaIndex takes it as it is."""
    engine = RetrieverQueryEngine.from_args(HybridMemoryRetriever(memory), llm=MockLLM())

    assert [node.text for node in engine.query("café").source_nodes] == [CAFE]


# ---------------------------------------------------------------- query engine


def test_a_response_carries_the_answer_its_sources_and_its_id(memory: HybridMemory) -> None:
    """The id is the one that feedback takes."""
    response = HybridMemoryQueryEngine(memory, mode="retrieval_only").query("when does the harbour café open")

    assert str(response) == memory.query("when does the harbour café open", mode="retrieval_only").text
    assert [node.text for node in response.source_nodes] == [CAFE]
    assert memory.feedback(response.metadata["answer_id"], accepted=True).record_id


def test_a_streamed_response_has_its_sources_once_the_text_is_read(memory: HybridMemory) -> None:
    """The pieces make up the same answer."""
    response = HybridMemoryQueryEngine(memory, streaming=True).query("when does the harbour café open")

    text = "".join(response.response_gen)

    assert text == memory.query("when does the harbour café open").text
    assert [node.text for node in response.source_nodes] == [CAFE]
    assert response.metadata["answer_id"]


def test_the_query_engine_can_be_awaited(memory: HybridMemory) -> None:
    """With the scope that it was given."""
    engine = HybridMemoryQueryEngine(memory, user_id="ann", passages=2)

    response = asyncio.run(engine.aquery("when does the museum close"))

    assert MUSEUM in [node.text for node in response.source_nodes]


# ---------------------------------------------------------------- memory block


def said(text: str, role: MessageRole = MessageRole.USER) -> ChatMessage:
    return ChatMessage(role=role, content=text)


def test_what_leaves_the_chat_history_comes_back_with_a_later_question(memory: HybridMemory) -> None:
    """LlamaIndex's Memory flushes old messages into the block, and asks it for every new one."""
    block = HybridMemoryBlock(memory=memory, scope={"user_id": "ben"}, top_k=2)
    engine = create_async_engine("sqlite+aiosqlite:///:memory:")
    small = {"token_limit": 60, "chat_history_token_ratio": 0.5, "token_flush_size": 10}

    async def talk() -> list[ChatMessage]:
        chat = Memory.from_defaults(session_id="s1", memory_blocks=[block], async_engine=engine, **small)
        await chat.aput(said("My locker in the boat house is number twelve."))
        for number in range(6):
            await chat.aput(said(f"Some other small talk about the weather, part {number}."))
        messages = await chat.aget(input="Which number is my locker?")
        await engine.dispose()
        return list(messages)

    messages = asyncio.run(talk())

    system = next(message.content for message in messages if message.role is MessageRole.SYSTEM)
    assert "My locker in the boat house is number twelve." in system
    (locker,) = memory.list(user_id="ben", filters={"text": {"contains": "locker"}})
    assert locker.metadata["session_id"] == "s1"
    assert "locker" not in " ".join(record.text for record in memory.list(user_id="ann"))


def test_a_block_per_session_keeps_sessions_apart(memory: HybridMemory) -> None:
    """The session is the run; what belongs to no session is seen in each."""
    block = HybridMemoryBlock(memory=memory, per_session=True)
    asyncio.run(block.aput([said("The code of the gate is seven.")], session_id="s1"))

    def told(session: str) -> str:
        return str(asyncio.run(block.aget([said("What is the code of the gate?")], session_id=session)))

    assert "seven" in told("s1")
    assert "seven" not in told("s2")
    assert CAFE in told("s2")


def test_turns_that_state_nothing_and_tool_messages_are_not_kept(memory: HybridMemory) -> None:
    """ "Sure!" and raw tool output would only be found by accident."""
    before = len(memory.list())
    block = HybridMemoryBlock(memory=memory)

    asyncio.run(block.aput([said("Sure!", MessageRole.ASSISTANT), said("{'rows': 3}", MessageRole.TOOL)]))

    assert len(memory.list()) == before


def test_without_a_question_the_block_is_empty(memory: HybridMemory) -> None:
    """Nothing was asked, so nothing is close to it."""
    assert asyncio.run(HybridMemoryBlock(memory=memory).aget([])) == ""


def test_truncation_drops_the_least_close_lines_first(memory: HybridMemory) -> None:
    """Eight characters are about two tokens and the line's end one more."""
    block = HybridMemoryBlock(memory=memory)

    assert asyncio.run(block.atruncate("closest\nsecond12\nthird123", 3)) == "closest\nsecond12"
    assert asyncio.run(block.atruncate("closest", 100)) is None
