"""A LangChain chain over the memory's retriever. A few seconds.

pip install 'hybrid-memory-sdk[langchain]' && hybrid-memory models pull        # once
python examples/with_langchain.py
"""

import tempfile

from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda

from hybrid_memory import HybridMemory
from hybrid_memory.integrations.langchain import HybridMemoryRetriever


def quoted(documents: list[Document]) -> str:
    """Return the documents as numbered lines, as a prompt would have them."""
    return "\n".join(f"[{number}] {document.page_content}" for number, document in enumerate(documents, start=1))


def main(memory: HybridMemory) -> None:
    """Pipe what is retrieved for one user into the next step."""
    memory.ingest("Dogs must stay on the Lantern deck.", source="handbook")
    memory.ingest("My dog is called Bosun.", user_id="ann")
    memory.ingest("My dog is called Skipper.", user_id="ben")

    chain = HybridMemoryRetriever(memory=memory, k=2, scope={"user_id": "ann"}) | RunnableLambda(quoted)
    print(chain.invoke("Where can my dog stay, and what is it called?"))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, HybridMemory.open(folder) as memory:
        main(memory)
