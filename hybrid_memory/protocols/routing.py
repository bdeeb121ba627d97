"""What the routing stage offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from hybrid_memory.types import Decision, Draft, Finding, FloatArray, Trust

__all__ = ["Router", "Screen"]


class Screen(Protocol):
    """Looks for what must not be stored as it is."""

    def screen(self, text: str) -> tuple[Finding, ...]:
        """Return what was seen; empty when the text is clean."""
        ...


class Router(Protocol):
    """Decides where a draft goes."""

    @property
    def name(self) -> str:
        """Name and fingerprint, as "default@1a2b3c4d5e6f"."""
        ...

    @property
    def patience_s(self) -> float | None:
        """Seconds without conflict that count as one more confirmation of a user's statement; None: age does not."""
        ...

    def quota(self, trust: Trust) -> int | None:
        """Return how many records of one source may be on their way into the weights or in them; None: any number."""
        ...

    def route(
        self,
        drafts: Sequence[Draft],
        vectors: FloatArray,
        findings: Sequence[tuple[Finding, ...]],
        confirmations: Sequence[int],
    ) -> list[Decision]:
        """Return one decision per draft.

        Args:
            drafts: what has been read and stamped.
            vectors: shape (len(drafts), dim); the embedding of each draft's text.
            findings: what the screens saw in each.
            confirmations: how many distinct sources of at least its standing said the same before, per draft.
        """
        ...
