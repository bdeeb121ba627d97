"""What the answering stage offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from hybrid_memory.protocols.shared import Filters, Progress
from hybrid_memory.types import AdapterVersion, Answer, Context, Explanation, Mode, Record, Scope, Stretch

__all__ = ["Answerer"]


class Answerer(Protocol):
    """Turns questions into answers."""

    def answer(
        self,
        questions: Sequence[str],
        *,
        scope: Scope,
        mode: Mode,
        task: str | None,
        filters: Filters | None,
        as_of: datetime | None,
        known_at: datetime | None,
        passages: int | None,
        neighbours: int,
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
        task: str | None,
        filters: Filters | None,
        as_of: datetime | None,
        known_at: datetime | None,
        passages: int | None,
        neighbours: int,
        max_tokens: int | None,
    ) -> Context:
        """Return the merge without generation; the arguments are those of `HybridMemory.context`."""
        ...

    def explain(
        self,
        question: str,
        text: str,
        *,
        answer_id: str,
        task: Record | None,
        records: Sequence[Record],
        excerpts: Mapping[str, str],
        written: Sequence[Stretch],
        vote: Mapping[str, float],
        adapters: Mapping[str, AdapterVersion],
        scope: Scope,
        mode: Mode,
    ) -> Explanation:
        """Return what an answer's text came from.

        `task` is the one it was put to, `records` are those its prompt showed,
        of some of them only `excerpts`, by their ids; `written` and `vote` as in the Answer;
        `adapters` by their names in `written`.
        """
        ...
