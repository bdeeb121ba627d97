"""Records made up for measuring speed: texts, unit vectors, and a ledger with its retriever to put them into.

Flow:    retrieval_speed.py
Imports: hybrid_memory (stages included)

Vectors are clusters on the unit sphere, 384 numbers each; texts are 25 words from a vocabulary with few common and many
rare words. So what an approximate index finds among them says how it does on such vectors only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_memory.ledger.ledger import SqlLedger
from hybrid_memory.retrieval.retriever import HybridRetriever
from hybrid_memory.types import Decision, Draft, Entry, FloatArray, Kind, Route, Scope, Sensitivity, Trust

__all__ = ["DIM", "EVERYONE", "SHARES", "Given", "entries", "made_up", "opened", "timed"]

DIM = 384
EVERYONE = Scope()
NOW = datetime.now(UTC)
SHARES = {"10 %": 10, "1 %": 100, "0.1 %": 1000}
"""Share of the records a filter leaves -> how many groups the records are in."""
DECISION = Decision(
    route=Route.RETRIEVE,
    kind=Kind.FACT,
    p_durable=0.5,
    p_behaviour=0.5,
    sensitivity=Sensitivity.NORMAL,
    trust=Trust.USER,
    reasons=(),
    policy="benchmark@000000000000",
)


class Given:
    """An encoder that has every vector already: what is left is the package's own work."""

    dim = DIM
    fingerprint = "given"
    vocabulary: Sequence[str] = ()

    def __init__(self, texts: Sequence[str], vectors: FloatArray) -> None:
        self._rows = dict(zip(texts, vectors, strict=True))

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Return the vectors of known texts."""
        return np.stack([self._rows[text] for text in texts]) if texts else np.zeros((0, DIM), np.float32)


def made_up(count: int, seed: int) -> tuple[list[str], FloatArray]:
    """Return texts and unit vectors: the centres are always the same, the rest depends on the seed."""
    centres = np.random.default_rng(0).standard_normal((2_000, DIM), dtype=np.float32)
    rng = np.random.default_rng(seed)
    vectors = centres[rng.integers(0, len(centres), count)] + rng.standard_normal((count, DIM), dtype=np.float32)
    words = np.minimum(rng.zipf(1.3, size=(count, 25)), 50_000)
    texts = [f"record{seed}x{row} " + " ".join(f"w{word}" for word in line) for row, line in enumerate(words)]
    return texts, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def entries(texts: Sequence[str], vectors: FloatArray, first: int) -> list[Entry]:
    """Return what the ledger takes; record i is in group i mod g of each share."""
    return [
        Entry(
            draft=Draft(
                text=text,
                kind=Kind.FACT,
                scope=EVERYONE,
                source="benchmark",
                trust=Trust.USER,
                observed_at=NOW,
                valid_from=NOW,
                passages=(text,),
                metadata={f"group{groups}": (first + row) % groups for groups in SHARES.values()},
            ),
            decision=DECISION,
            vectors=vectors[row : row + 1],
            encoder="given",
        )
        for row, text in enumerate(texts)
    ]


def opened(folder: Path, encoder: Any, **options: Any) -> tuple[SqlLedger, HybridRetriever]:
    """Return ledger and retriever over a folder."""
    ledger = SqlLedger.open(f"sqlite:///{folder}/ledger.sqlite", lock_path=folder / "lock", lock_timeout_s=60)
    return ledger, HybridRetriever(ledger, encoder, folder / "index", **options)


def timed(call: Callable[[], object]) -> float:
    """Return the seconds of processor time a call took: what it takes by the clock on an idle machine, one thread."""
    started = time.process_time()
    call()
    return time.process_time() - started
