"""What the retrieval stage offers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from hybrid_memory.protocols.shared import Filters, Progress
from hybrid_memory.types import FloatArray, Hit, Scope

__all__ = ["Encoder", "RemembersVectors", "Retriever"]


class Encoder(Protocol):
    """Turns text into vectors."""

    @property
    def dim(self) -> int:
        """Length of every vector this encoder returns."""
        ...

    @property
    def fingerprint(self) -> str:
        """Names model and settings; vectors of different fingerprints never meet in one index."""
        ...

    @property
    def vocabulary(self) -> Sequence[str]:
        """Whole lower-case words the encoder knows, commonest first; may be empty."""
        ...

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Return an array of shape (len(texts), dim), float32; row i belongs to texts[i]."""
        ...


@runtime_checkable
class RemembersVectors(Protocol):
    """An encoder that keeps vectors beyond the call; forgetting tells it."""

    def forget_vectors(self, vectors: FloatArray) -> int:
        """Delete the kept vectors that equal one of these, shape (n, dim); return how many there were."""
        ...


class Retriever(Protocol):
    """Finds passages: dense and lexical, fused, inside one scope."""

    def search(
        self,
        question: str,
        *,
        vector: FloatArray,
        scope: Scope,
        top_k: int,
        filters: Filters | None = None,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
        explain: bool = False,
    ) -> list[Hit]:
        """Return the best `top_k` hits for the question, best first: current ones, or those of the times given."""
        ...

    def around(
        self,
        hits: Sequence[Hit],
        *,
        count: int,
        scope: Scope,
        filters: Filters | None = None,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
    ) -> list[tuple[Hit, ...]]:
        """Return the hits with up to `count` parts of their documents before and after each, stretch by stretch."""
        ...

    def require_same_encoder(self) -> None:
        """Raise IndexMismatchError when the stored vectors were made by another encoder; one short query."""
        ...

    def catch_up(self) -> int:
        """Take in what the ledger has and the index lacks; return how many passages that was."""
        ...

    def reindex(self, encoder: Encoder, progress: Progress | None = None) -> int:
        """Embed every passage again with `encoder` and swap the index; return how many."""
        ...

    def save(self) -> None:
        """Write the snapshot aside and rename it into place."""
        ...

    def check(self) -> list[str]:
        """Return what is wrong with index and snapshot, one sentence each; empty when all is well."""
        ...
