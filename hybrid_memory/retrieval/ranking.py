"""What moves a passage up or down besides meaning and words: time, age, trust, likeness to better ones.

Flow:    candidates with their records -> [ranking] -> retriever
Imports: types, and retrieval.time_words.

Each is a part of its own in `Hit.scores`, added to the others, and off until it is given a weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from hybrid_memory.retrieval.time_words import interval
from hybrid_memory.types import FloatArray, Record, Trust

__all__ = ["Ranking", "most_different"]

DAY_S = 86_400.0
TRUSTED = {Trust.OPERATOR: 1.0, Trust.USER: 0.5, Trust.EXTERNAL: 0.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Weights, in the unit of the fused score: meaning and words give at most their own weights."""

    recency_weight: float = 0.0
    half_life_days: float = 30.0
    """Days after which what recency gives has halved."""
    trust_weight: float = 0.0
    time_weight: float = 0.0
    """For what began in the time that the question names."""
    diversity: float = 0.0
    """0 ranks by score alone; towards 1, a passage loses more for being like one above it."""

    @property
    def needs_records(self) -> bool:
        """Tell whether anything here is decided by the records."""
        return bool(self.recency_weight or self.trust_weight or self.time_weight)

    def parts(self, question: str, records: Mapping[int, Record], *, now: datetime) -> dict[str, dict[int, float]]:
        """Return part -> passage id -> what it adds; parts without a weight are left out.

        Args:
            question: may name a time.
            records: passage id -> its record.
            now: age is counted up to here; `as_of` when the question is about the past.
        """
        parts: dict[str, dict[int, float]] = {}
        if self.recency_weight:
            parts["recency"] = {
                key: self.recency_weight * 0.5 ** (_days(record, now) / self.half_life_days)
                for key, record in records.items()
            }
        if self.trust_weight:
            parts["trust"] = {key: self.trust_weight * TRUSTED[record.trust] for key, record in records.items()}
        span = interval(question, now=now) if self.time_weight else None
        if span is not None:
            begin, end = span
            parts["time"] = {
                key: self.time_weight for key, record in records.items() if begin <= record.valid_from < end
            }
        return parts


def most_different(
    ids: Sequence[int], scores: Mapping[int, float], vectors: FloatArray, *, diversity: float
) -> list[int]:
    """Return the ids by maximal marginal relevance: score, less the likeness to the nearest one above.

    Source: Carbonell and Goldstein, SIGIR 1998, with lambda = 1 - diversity, and scores scaled to [0, 1].

    Args:
        ids: candidates, best first.
        scores: id -> fused score.
        vectors: shape (len(ids), dim), unit rows.
        diversity: in [0, 1].
    """
    if not ids:
        return []
    relevance = np.asarray([scores[key] for key in ids], dtype=np.float32)
    relevance = (relevance - relevance.min()) / max(float(np.ptp(relevance)), 1e-9)
    likeness = np.zeros(len(ids), dtype=np.float32)
    chosen: list[int] = []
    left = np.ones(len(ids), dtype=bool)
    for _ in ids:
        worth = np.where(left, (1 - diversity) * relevance - diversity * likeness, -np.inf)
        place = int(np.argmax(worth))
        chosen.append(ids[place])
        left[place] = False
        likeness = np.maximum(likeness, vectors @ vectors[place])
    return chosen


def _days(record: Record, now: datetime) -> float:
    return max(0.0, (now - record.valid_from).total_seconds() / DAY_S)
