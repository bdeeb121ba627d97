"""A LangGraph graph whose store is the memory. A few seconds.

pip install 'hybrid-memory-sdk[langgraph]' && hybrid-memory models pull        # once
python examples/with_langgraph.py
"""

import tempfile
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.store.base import BaseStore

from hybrid_memory import HybridMemory
from hybrid_memory.integrations.langgraph import HybridMemoryStore

NOTES = ("users", "ann", "notes")


class Said(TypedDict):
    """What goes through the graph."""

    text: str
    known: list[str]


def recall(state: Said, *, store: BaseStore) -> dict[str, Any]:
    """Look up what is known about the text, then keep the text."""
    known = [item.value["text"] for item in store.search(NOTES, query=state["text"], limit=1)]
    store.put(NOTES, state["text"], {"text": state["text"]})
    return {"known": known}


def main(memory: HybridMemory) -> None:
    """Run the graph twice; the second run knows what the first one was told."""
    graph = StateGraph(Said)
    graph.add_node("recall", recall)
    graph.add_edge(START, "recall")
    graph.add_edge("recall", END)
    compiled = graph.compile(store=HybridMemoryStore(memory, fields=["text"]))

    for text in ("My dog is called Bosun.", "What is my dog called?"):
        print(f"{text}  known before: {compiled.invoke({'text': text, 'known': []})['known']}")
    print(f"found by the memory itself: {memory.search('the name of the dog', top_k=1)[0].text}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, HybridMemory.open(folder) as memory:
        main(memory)
