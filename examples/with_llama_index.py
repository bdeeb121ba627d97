"""Retriever, query engine and chat memory of LlamaIndex over one memory. About half a minute.

hybrid-memory models pull        # once
python examples/with_llama_index.py
"""

import asyncio
import tempfile

from llama_index.core.base.llms.types import ChatMessage

from hybrid_memory import HybridMemory
from hybrid_memory.integrations.llama_index import HybridMemoryBlock, HybridMemoryQueryEngine, HybridMemoryRetriever

NOTES = ("The Lantern deck is the upper deck.", "Dogs must stay on the Lantern deck.", "Bicycles go into the hold.")


def main(memory: HybridMemory) -> None:
    """Ask the same memory through three doors."""
    memory.ingest_many(NOTES, trust="operator", source="handbook")

    for node in HybridMemoryRetriever(memory, top_k=2).retrieve("Where can my dog stay?"):
        print(f"retrieved  {node.score:.3f}  {node.text}")

    response = HybridMemoryQueryEngine(memory).query("Where can my dog stay?")
    print(f"answered   {response}  (from {len(response.source_nodes)} sources)")
    memory.feedback(response.metadata["answer_id"], correction="On the Lantern deck.")

    block = HybridMemoryBlock(memory=memory, scope={"user_id": "ann"}, top_k=1)
    asyncio.run(block.aput([ChatMessage(role="user", content="My dog is called Bosun.")]))
    told = asyncio.run(block.aget([ChatMessage(role="user", content="What is my dog called?")]))
    print(f"remembered {told}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, HybridMemory.open(folder) as memory:
        main(memory)
