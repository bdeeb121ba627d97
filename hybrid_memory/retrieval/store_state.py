"""What a vector store holds of a memory, written down beside the memory.

Flow:    vector_store writes it with every change and trusts it at the next start
Imports: errors, types, durable, protocols.

Without this file a store is filled anew, under a new name; what it held under the old one is never found again.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hybrid_memory import durable
from hybrid_memory.protocols import Ledger
from hybrid_memory.types import IdArray, Value

__all__ = ["FILE", "StoreState", "left_behind", "vector_digest"]

FILE = "vector_store.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreState(Value):
    """One memory's part of one vector store."""

    store: str
    """The store's class."""
    encoder: str
    """Fingerprint of the encoder that made the vectors."""
    space: str = field(default_factory=lambda: secrets.token_hex(8))
    """What tells this memory's nodes from others' in the same store: 16 hex digits."""
    held: tuple[tuple[int, int], ...] = ()
    """The passages in the store, as ranges from, to; both included."""
    taking: int = 0
    """The last passage of a batch that was being sent; 0 when none was. What is in between may be there or not."""
    removals: int = 0
    """Number of the last removal in the ledger that the store has followed."""
    abandoned: tuple[tuple[str, int], ...] = ()
    """Spaces whose first batch was cut short, and how far it went; they are cleared once another batch has arrived."""
    digest: str = ""
    """Of the last held passage's vector: a ledger that was put back has another one there, or none."""

    @property
    def ids(self) -> IdArray:
        """The passages in the store: int64, ascending."""
        parts = [np.arange(first, last + 1, dtype=np.int64) for first, last in self.held]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)

    @staticmethod
    def ranges(ids: IdArray) -> tuple[tuple[int, int], ...]:
        """Return ascending ids as ranges.

        >>> StoreState.ranges(np.array([1, 2, 3, 7]))
        ((1, 3), (7, 7))
        """
        if not ids.size:
            return ()
        breaks = np.flatnonzero(np.diff(ids) > 1)
        firsts, lasts = ids[[0, *(breaks + 1)]], ids[[*breaks, -1]]
        return tuple((int(first), int(last)) for first, last in zip(firsts, lasts, strict=True))

    def write(self, folder: Path) -> None:
        """Replace the file in one step."""
        durable.write_text(folder / FILE, json.dumps(self.to_json()) + "\n")

    @classmethod
    def read(cls, folder: Path) -> StoreState | None:
        """Return what is written down; None when nothing is, or nothing that can be read."""
        try:
            content = json.loads((folder / FILE).read_text(encoding="utf-8"))
            held = tuple((int(first), int(last)) for first, last in content.pop("held"))
            abandoned = tuple((str(space), int(last)) for space, last in content.pop("abandoned"))
            return cls(**content, held=held, abandoned=abandoned)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None


def vector_digest(ledger: Ledger, passage_id: int) -> str:
    """Return 16 hex digits of a passage's stored vector; "" when there is no such passage."""
    ids, vectors = ledger.vectors([passage_id])
    return hashlib.sha256(vectors[0].tobytes()).hexdigest()[:16] if ids else ""


def left_behind(ledger: Ledger, folder: Path) -> list[str]:
    """Return a sentence when a vector store that is not in use now still has what the ledger removed since."""
    state = StoreState.read(folder)
    if state is None:
        return []
    gone = np.intersect1d(ledger.removals_after(state.removals)[1], state.ids)
    if not gone.size:
        return []
    return [
        f"{state.store} still holds {gone.size} vectors of passages that were forgotten since it was last used; "
        "open the memory with vector_store=… once, or delete its collection and this memory's index/vector_store.json"
    ]
