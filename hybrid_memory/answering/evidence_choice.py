"""Choose the evidence for a question: examples to go by, or facts to read.

Flow:    question -> retriever -> [evidence choice] -> second look, prompt
Imports: types, protocols, config, forms; the other modules of this stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from hybrid_memory.answering.rivals import with_rivals
from hybrid_memory.answering.second_look import known_similarity
from hybrid_memory.config import AnswerSettings
from hybrid_memory.forms import shapes_behaviour
from hybrid_memory.protocols import Filters, Ledger, Retriever
from hybrid_memory.types import FloatArray, Hit, Kind, Record, Scope, Status

__all__ = ["EvidenceChooser", "are_demonstrations", "best", "of_kind"]

NEAREST = 5
"""Hits among which the one nearest in meaning tells what kind of evidence is wanted."""
FOUND = 20
"""Hits among which a second look finds those nearest in meaning."""


class EvidenceChooser:
    """Finds evidence in one ledger, within what a question may see."""

    def __init__(self, ledger: Ledger, retriever: Retriever, settings: AnswerSettings) -> None:
        self._ledger = ledger
        self._retriever = retriever
        self._settings = settings

    def find(
        self,
        question: str,
        vector: FloatArray,
        scope: Scope,
        *,
        filters: Filters | None,
        as_of: datetime | None,
        known_at: datetime | None,
        wanted: int,
    ) -> tuple[Hit, ...]:
        """Return the nearest examples if the question looks like one, or else facts, best first; more than are shown.

        Args:
            question: its words.
            vector: its embedding, shape (dim,), unit length.
            scope: who asks.
            filters: further conditions on the records.
            as_of: as things stood then; None is now.
            known_at: by what had been recorded then; None is now.
            wanted: facts that will be shown; 0 finds nothing.
        """
        if wanted == 0:
            return ()

        def near(top_k: int, within: Filters | None) -> list[Hit]:
            hits = self._retriever.search(
                question, vector=vector, scope=scope, top_k=top_k, filters=within, as_of=as_of, known_at=known_at
            )
            return with_rivals(question, [hit for hit in hits if self._near_enough(hit)], hits)

        found = near(max(wanted, FOUND), filters)
        # words alone make no example near: the meaning decides what kind of evidence the question wants
        nearest = max(found[: max(wanted, NEAREST)], key=known_similarity, default=None)
        if nearest is not None and nearest.record.kind is Kind.EXAMPLE and self._settings.demonstrations:
            return tuple(near(self._settings.demonstrations, of_kind(filters, {"eq": Kind.EXAMPLE.value})))
        return tuple(hit for hit in found if _is_fact(hit.record))

    def _near_enough(self, hit: Hit) -> bool:
        said = hit.scores.get("lexical", 0.0) >= self._settings.min_words
        return said or not hit.similarity < self._settings.min_similarity

    def around(
        self,
        hits: Sequence[Hit],
        scope: Scope,
        *,
        count: int,
        filters: Filters | None,
        as_of: datetime | None,
        known_at: datetime | None,
    ) -> list[tuple[Hit, ...]]:
        """Return facts with those beside them in their documents, as stretches; see `protocols.Retriever.around`."""
        stretches = self._retriever.around(
            hits, count=count, scope=scope, filters=filters, as_of=as_of, known_at=known_at
        )
        return [tuple(hit for hit in one if hit.beside is None or _is_fact(hit.record)) for one in stretches]

    def correction(
        self, question: str, vector: FloatArray, scope: Scope, filters: Filters | None, *, stale: str
    ) -> Hit | None:
        """Return what replaced a learned record that is no longer current; None if nothing has that may be seen."""
        record = self._ledger.get(stale)
        while record.status is Status.SUPERSEDED and record.superseded_by is not None:
            record = self._ledger.get(record.superseded_by)
        if record.status is not Status.ACTIVE:
            return None
        only: Filters = {"id": record.id}
        both: Filters = only if filters is None else {"and": [filters, only]}
        found = self._retriever.search(question, vector=vector, scope=scope, top_k=1, filters=both)
        return found[0] if found else None


def _is_fact(record: Record) -> bool:
    """Tell whether a record is read, not gone by."""
    return record.kind is not Kind.EXAMPLE and not shapes_behaviour(record)


def of_kind(filters: Filters | None, condition: Filters) -> Filters:
    """Return the filters with a condition on the kind of record; it is applied before the search."""
    kind: Filters = {"kind": condition}
    return kind if filters is None else {"and": [filters, kind]}


def are_demonstrations(hits: Sequence[Hit]) -> bool:
    """Tell whether the evidence is examples to go by, not facts to read."""
    return bool(hits) and hits[0].record.kind is Kind.EXAMPLE


def best(hits: Sequence[Hit], wanted: int, *, first: str | None) -> tuple[Hit, ...]:
    """Return the evidence to show: all demonstrations, or `wanted` facts with the record `first` before all others."""
    if are_demonstrations(hits):
        return tuple(hits)
    return tuple(sorted(hits, key=lambda hit: hit.record.id != first)[:wanted])
