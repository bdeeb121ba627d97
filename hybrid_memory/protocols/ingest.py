"""What the ingest stage offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from hybrid_memory.types import Draft, Json, Scope, Trust

__all__ = ["Extractor", "Reader"]


class Reader(Protocol):
    """Turns one input into drafts."""

    def read(
        self,
        x: object,
        *,
        scope: Scope,
        source: str | None = None,
        observed_at: datetime | None = None,
        valid_from: datetime | None = None,
        valid_to: datetime | None = None,
        ttl_s: float | None = None,
        trust: Trust | str | None = None,
        supersedes: str | None = None,
        metadata: Mapping[str, Json] | None = None,
        idempotency_key: str | None = None,
    ) -> list[Draft]:
        """Return one draft per record the input becomes; the arguments are those of `HybridMemory.ingest`."""
        ...

    def imported(self, source: object, form: str) -> list[object]:
        """Return the rows of another memory's export, each of which `read` takes."""
        ...


class Extractor(Protocol):
    """States turns of a conversation anew, in sentences that stand alone."""

    def restate(self, drafts: Sequence[Draft]) -> tuple[list[Draft], list[str]]:
        """Return as many drafts in the same order, stated anew or as they are, and what became of each sentence."""
        ...
