"""The dense stores that the contract is kept with: how each is opened again, counted and emptied behind our back."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

NAMES = ("faiss", "simple", "chroma", "qdrant", "pgvector")
PERSISTENT = ("chroma", "qdrant", "pgvector")


@dataclass
class Backend:
    """One kind of store; `open` gives the same content again after the process has gone."""

    name: str
    open: Callable[..., Any]
    """Takes `dim`, for the one store that must know it before the first vector."""
    count: Callable[[Any], int]
    """How many nodes the store has, asked past LlamaIndex."""
    close: Callable[[], None] = lambda: None
    """Let another process open it."""


@contextlib.contextmanager
def backend(name: str, folder: Path, server: Callable[[], str]) -> Iterator[Backend]:
    """Give a fresh store of that kind in the folder; `server` gives the URI of a PostgreSQL server."""
    yield {"faiss": _faiss, "simple": _simple, "chroma": _chroma, "qdrant": _qdrant, "pgvector": _pgvector}[name](
        folder, server
    )


def missing(package: str, extra: str) -> str:
    return f"{package} is not installed: pip install 'hybrid-memory-sdk[{extra}]'"


def _faiss(_folder: Path, _server: Callable[[], str]) -> Backend:
    return Backend("faiss", lambda dim=8: None, lambda store: 0)


def _simple(_folder: Path, _server: Callable[[], str]) -> Backend:
    from llama_index.core.vector_stores import SimpleVectorStore

    kept = SimpleVectorStore()  # in memory: whoever wants it again keeps it
    return Backend("simple", lambda dim=8: kept, lambda store: len(store.data.embedding_dict))


def _chroma(folder: Path, _server: Callable[[], str]) -> Backend:
    chromadb = pytest.importorskip("chromadb", reason=missing("chromadb", "chroma"))
    stores = pytest.importorskip("llama_index.vector_stores.chroma", reason=missing("its store", "chroma"))

    def opened(dim: int = 8) -> Any:
        settings = chromadb.Settings(anonymized_telemetry=False)
        client = chromadb.PersistentClient(path=str(folder / "chroma"), settings=settings)
        return stores.ChromaVectorStore(chroma_collection=client.get_or_create_collection("memory"))

    return Backend("chroma", opened, lambda store: store.client.count())


def _qdrant(folder: Path, _server: Callable[[], str]) -> Backend:
    clients = pytest.importorskip("qdrant_client", reason=missing("qdrant-client", "qdrant"))
    stores = pytest.importorskip("llama_index.vector_stores.qdrant", reason=missing("its store", "qdrant"))
    held: list[Any] = []

    def opened(dim: int = 8) -> Any:
        for client in held:
            client.close()  # local mode: one client a folder
        held[:] = [clients.QdrantClient(path=str(folder / "qdrant"))]
        return stores.QdrantVectorStore(client=held[0], collection_name="memory")

    return Backend("qdrant", opened, lambda store: store.client.count("memory").count, lambda: held[0].close())


def _pgvector(folder: Path, server: Callable[[], str]) -> Backend:
    stores = pytest.importorskip("llama_index.vector_stores.postgres", reason=missing("its store", "pgvector"))
    uri = server()
    table = f"memory_{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"

    def opened(dim: int = 8) -> Any:
        return stores.PGVectorStore.from_params(
            connection_string=uri.replace("postgresql://", "postgresql+psycopg2://"),
            async_connection_string=uri.replace("postgresql://", "postgresql+asyncpg://"),
            table_name=f"{table}_{dim}",
            embed_dim=dim,
        )

    def count(store: Any) -> int:
        import psycopg2

        with contextlib.closing(psycopg2.connect(uri)) as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM data_{table}_8")
            return int(cursor.fetchone()[0])

    return Backend("pgvector", opened, count)
