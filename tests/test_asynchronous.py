"""The asynchronous facade: the same memory, awaitable."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path

import pytest

from hybrid_memory import AsyncHybridMemory, HybridMemory, InputError
from hybrid_memory.testing import open_tiny_memory

SENTENCE = "Spare keys hang in the Willow room."


def test_what_is_awaited_is_what_the_memory_returns(tmp_path: Path) -> None:
    """Two ingests at once are both stored, and a search finds what either wrote."""

    async def play() -> tuple[set[str], list[str]]:
        async with AsyncHybridMemory(open_tiny_memory(tmp_path)) as memory:
            receipts = await asyncio.gather(memory.ingest(SENTENCE), memory.ingest("Ferries leave from pier nine."))
            hits = await memory.search("keys in the Willow room", top_k=1)
            return {record.id for record in await memory.list()} - {r.record_id for r in receipts}, [
                h.text for h in hits
            ]

    assert asyncio.run(play()) == (set(), [SENTENCE])


def test_errors_reach_the_one_who_awaits(tmp_path: Path) -> None:
    """A bad input raises the same error as in the synchronous call."""

    async def play() -> None:
        async with AsyncHybridMemory(open_tiny_memory(tmp_path)) as memory:
            await memory.ingest("   ")

    with pytest.raises(InputError, match="empty"):
        asyncio.run(play())


def test_a_misspelt_option_is_named_to_the_one_who_awaits(tmp_path: Path) -> None:
    """As in the synchronous call; a stream, which is read in a loop, is none of its options."""

    async def play(**options: object) -> None:
        async with AsyncHybridMemory(open_tiny_memory(tmp_path)) as memory:
            await memory.query("Where are the keys?", **options)

    with pytest.raises(InputError, match=r"query\(\) has no option 'top_k'; did you mean passages"):
        asyncio.run(play(top_k=3))
    with pytest.raises(InputError, match=r"query\(\) has no option 'stream'"):
        asyncio.run(play(stream=True))


def test_every_verb_of_the_memory_can_be_awaited() -> None:
    """No public method is missing, but those that return no values: reindexing and replaying are maintenance."""
    verbs = {name for name, _ in inspect.getmembers(HybridMemory, inspect.isfunction) if not name.startswith("_")}

    assert verbs - set(dir(AsyncHybridMemory)) == {"apply_routing", "reindex", "replay_routing", "studied"}
