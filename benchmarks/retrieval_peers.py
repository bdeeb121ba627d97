"""Other stores on given vectors; run by retrieval_speed.py with the Python of their own environment.

    PYTHON -m benchmarks.retrieval_peers FOLDER [STORE ...]      (FOLDER has vectors.npz: vectors, asked)

Imports: numpy, retrieval_inserts, and each store inside its function.
One JSON line per store; one that is not installed says so.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.retrieval_inserts import SPARE, insert_rates


def mem0_faiss(folder: Path, vectors: Any) -> tuple[Callable[[int, int], None], Callable[[Any], Any]]:
    """mem0's FAISS store: index and payloads are written to disk with every call."""
    from mem0.vector_stores.faiss import FAISS

    store = FAISS(collection_name="test", path=str(folder / "mem0"), embedding_model_dims=vectors.shape[1])

    def insert(first: int, last: int) -> None:
        ids = [str(row) for row in range(first, last)]
        payloads = [{"data": f"record {row}", "group": row % 10} for row in range(first, last)]
        store.insert(vectors=vectors[first:last].tolist(), payloads=payloads, ids=ids)

    return insert, lambda row: store.search(query="", vectors=row.tolist(), top_k=10)


def chroma(folder: Path, vectors: Any) -> tuple[Callable[[int, int], None], Callable[[Any], Any]]:
    """Chroma, persistent, cosine."""
    import chromadb

    client = chromadb.PersistentClient(path=str(folder / "chroma"))
    kept = client.create_collection("test", metadata={"hnsw:space": "cosine"}, embedding_function=None)

    most = client.get_max_batch_size()

    def insert(first: int, last: int) -> None:
        for begin in range(first, last, most):
            rows = range(begin, min(begin + most, last))
            kept.add(
                ids=[str(row) for row in rows],
                embeddings=vectors[rows.start : rows.stop],
                documents=[f"record {row}" for row in rows],
                metadatas=[{"group": row % 10} for row in rows],
            )

    return insert, lambda row: kept.query(query_embeddings=row[None], n_results=10)


def llama_index_simple(folder: Path, vectors: Any) -> tuple[Callable[[int, int], None], Callable[[Any], Any]]:
    """LlamaIndex's SimpleVectorStore, persisted with every call."""
    from llama_index.core.schema import TextNode
    from llama_index.core.vector_stores import SimpleVectorStore, VectorStoreQuery

    store = SimpleVectorStore()

    def insert(first: int, last: int) -> None:
        store.add(
            [
                TextNode(id_=str(row), text=f"record {row}", embedding=vectors[row].tolist(), metadata={"n": row % 10})
                for row in range(first, last)
            ]
        )
        store.persist(str(folder / "simple.json"))

    return insert, lambda row: store.query(VectorStoreQuery(query_embedding=row.tolist(), similarity_top_k=10))


def txtai_faiss(folder: Path, vectors: Any) -> tuple[Callable[[int, int], None], Callable[[Any], Any]]:
    """The index of txtai (FAISS) with given vectors, saved with every call."""
    from txtai import Embeddings

    index = Embeddings(transform=lambda rows: np.asarray(rows, dtype=np.float32), content=False, backend="faiss")
    begun: list[bool] = []

    def insert(first: int, last: int) -> None:
        (index.upsert if begun else index.index)([(row, vectors[row], None) for row in range(first, last)])
        begun.append(True)
        index.save(str(folder / "txtai"))

    return insert, lambda row: index.search(row, 10)


STORES = {"mem0 (FAISS)": mem0_faiss, "Chroma": chroma, "SimpleVectorStore": llama_index_simple, "txtai": txtai_faiss}


def measure(name: str, folder: Path, vectors: Any, asked: Any) -> dict[str, Any]:
    """Insert in calls of several sizes, then search."""
    insert, search = STORES[name](folder, vectors)
    rates = insert_rates(insert, len(vectors) - SPARE)
    search(asked[0])
    times = []
    for row in asked:
        started = time.process_time()
        search(row)
        times.append(time.process_time() - started)
    return {
        "store": name,
        "records": len(vectors) - SPARE,
        **rates,
        "search p50 ms": 1000 * float(np.median(times)),
        "search p95 ms": 1000 * float(np.percentile(times, 95)),
    }


def main() -> None:
    """Measure every store that is installed, or those that are named."""
    folder = Path(sys.argv[1])
    given = np.load(folder / "vectors.npz")
    for name in sys.argv[2:] or STORES:
        try:
            row = measure(name, folder, given["vectors"], given["asked"])
        except ImportError as error:
            row = {"store": name, "not measured": str(error)}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
