"""What the answering stage offers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from hybrid_memory.protocols.shared import Filters, Progress
from hybrid_memory.types import AdapterVersion, Answer, Context, Explanation, Mode, Record, Scope

__all__ = ["Answerer"]


class Answerer(Protocol):
    """Turns questions into answers."""

    def answer(
        self,
        questions: Sequence[str],
        *,
        scope: Scope,
        mode: Mode,
        filters: Filters | None,
        as_of: datetime | None,
        passages: int | None,
        max_new_tokens: int | None,
        on_text: Callable[[str], None] | None,
        progress: Progress | None,
    ) -> list[Answer]:
        """Return one answer per question; the arguments are those of `HybridMemory.query_many`."""
        ...

    def context(
        self,
        question: str,
        *,
        scope: Scope,
        mode: Mode,
        filters: Filters | None,
        as_of: datetime | None,
        passages: int | None,
    ) -> Context:
        """Return what would be sent to the model."""
        ...

    def explain(
        self,
        question: str,
        text: str,
        *,
        answer_id: str,
        records: Sequence[Record],
        adapters: Sequence[AdapterVersion],
        scope: Scope,
        mode: Mode,
    ) -> Explanation:
        """Return what an answer's text came from; `records` and `adapters` are those it was written with."""
        ...
