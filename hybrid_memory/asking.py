"""Search, answer and explain: questions in, what the memory says out.

Flow:    question -> expired records out of sight -> evidence -> answerer -> answer log
Imports: errors, types, config, protocols, arguments, answer_log, adapters, upkeep, and the forgetting beside it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hybrid_memory.adapters import Adapters
from hybrid_memory.answer_log import AnswerLog
from hybrid_memory.arguments import at_least, listed, member, read_name, read_question, whole
from hybrid_memory.config import MOST_NEIGHBOURS
from hybrid_memory.errors import AdapterError, InputError, LockedError
from hybrid_memory.forgetting import Forgetting
from hybrid_memory.protocols import Answerer, Encoder, Filters, Ledger, Progress, Retriever
from hybrid_memory.questions import question_vectors
from hybrid_memory.types import Answer, Context, Explanation, Hit, Kind, Mode, Scope, quoted
from hybrid_memory.upkeep import Upkeep

__all__ = ["Asking"]

log = logging.getLogger(__name__)


def _read_mode(mode: Mode | str, known_at: datetime | None) -> Mode:
    read = member(Mode, "mode", mode) or Mode.HYBRID
    if read is Mode.WEIGHTS_ONLY and known_at is not None:
        raise InputError(
            "known_at is answered from evidence alone: the weights know only the present. Take mode='retrieval_only', "
            "or 'hybrid', which leaves them out"
        )
    return read


class Asking:
    """Carries out `memory.search`, `query_many`, `context` and `explain`; the arguments are theirs."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        encoder: Encoder,
        retriever: Retriever,
        answerer: Answerer,
        answers: AnswerLog,
        adapters: Adapters,
        upkeep: Upkeep,
        forgetting: Forgetting,
        neighbours: int,
    ) -> None:
        """`neighbours` is how many parts come along before and after a hit when a call does not say."""
        self._ledger = ledger
        self._encoder = encoder
        self._retriever = retriever
        self._answerer = answerer
        self._answers = answers
        self._adapters = adapters
        self._upkeep = upkeep
        self._forgetting = forgetting
        self._neighbours = neighbours

    def search(
        self,
        query: str,
        *,
        scope: Scope,
        top_k: int,
        filters: Filters | None,
        as_of: datetime | None,
        known_at: datetime | None,
        neighbours: int | None,
        explain: bool,
    ) -> list[Hit]:
        """Return the passages closest to the query; no language model is loaded."""
        whole("top_k", top_k, 1)
        count = self._beside(neighbours)
        self._ledger.expire(datetime.now(UTC))
        vector = question_vectors(self._encoder, [read_question(query)])
        hits = self._retriever.search(
            query,
            vector=vector,
            scope=scope,
            top_k=top_k,
            filters=filters,
            as_of=as_of,
            known_at=known_at,
            explain=explain,
        )
        if not count:
            return hits
        stretches = self._retriever.around(
            hits, count=count, scope=scope, filters=filters, as_of=as_of, known_at=known_at
        )
        return [hit for stretch in stretches for hit in stretch]

    def answer(
        self,
        questions: Sequence[str],
        *,
        mode: Mode | str,
        task: str | None,
        scope: Scope,
        filters: Filters | None,
        as_of: datetime | None,
        known_at: datetime | None,
        passages: int | None,
        neighbours: int | None,
        max_new_tokens: int | None,
        on_text: Callable[[str], None] | None,
        progress: Progress | None,
    ) -> list[Answer]:
        """Return one answer per question, and log them for feedback."""
        listed("query_many", questions, "questions, and query() one")
        named = _named(task, filters, passages, neighbours)
        at_least("passages", passages, 0)
        at_least("max_new_tokens", max_new_tokens, 1)
        count = self._beside(neighbours)
        if not questions:
            return []
        self._ledger.expire(datetime.now(UTC))
        before = self._ledger.clock()
        answers = self._answered(
            [read_question(question) for question in questions],
            mode=_read_mode(mode, known_at),
            task=named,
            scope=scope,
            filters=filters,
            as_of=as_of,
            known_at=known_at,
            passages=passages,
            neighbours=count,
            max_new_tokens=max_new_tokens,
            on_text=on_text,
            progress=progress,
        )
        self._answers.add(answers, scope)
        if self._ledger.clock() != before:  # something may have been forgotten while the answers were written
            self._forgetting.forget_answers(answers)
        return answers

    def _answered(self, questions: Sequence[str], *, mode: Mode, **options: Any) -> list[Answer]:
        """Answer; when an adapter cannot be used, mend what can be mended, and answer without the weights."""
        try:
            return self._answerer.answer(questions, mode=mode, **options)
        except AdapterError as error:
            with suppress(LockedError):  # another process writes just now: the next window mends it
                self._upkeep.delete_damaged()
            if mode is Mode.WEIGHTS_ONLY:
                raise
            log.warning("answered from retrieval: %s", error)
            answers = self._answerer.answer(questions, mode=Mode.RETRIEVAL_ONLY, **options)
            why = f"weights left out: {error}"
            return [replace(one, mode=mode, trace=(*one.trace, why), no_adapter=why) for one in answers]

    def context(
        self,
        question: str,
        *,
        mode: Mode | str,
        task: str | None,
        scope: Scope,
        filters: Filters | None,
        as_of: datetime | None,
        known_at: datetime | None,
        passages: int | None,
        neighbours: int | None,
        max_tokens: int | None,
    ) -> Context:
        """Return what would be sent to the model."""
        named = _named(task, filters, passages, neighbours)
        at_least("passages", passages, 0)
        at_least("max_tokens", max_tokens, 1)
        count = self._beside(neighbours)
        self._ledger.expire(datetime.now(UTC))
        return self._answerer.context(
            read_question(question),
            scope=scope,
            mode=_read_mode(mode, known_at),
            task=named,
            filters=filters,
            as_of=as_of,
            known_at=known_at,
            passages=passages,
            neighbours=count,
            max_tokens=max_tokens,
        )

    def _beside(self, neighbours: int | None) -> int:
        """Return how many parts come along before and after a hit: as the call says, or else the settings."""
        at_least("neighbours", neighbours, 0, most=MOST_NEIGHBOURS)
        return self._neighbours if neighbours is None else neighbours

    def explain(self, answer_id: str) -> Explanation:
        """Tell what a logged answer came from, by leaving each part out."""
        logged = self._answers.get(answer_id)
        stood_on = [self._ledger.get(record_id) for record_id in logged.record_ids]
        return self._answerer.explain(
            logged.question,
            logged.text,
            answer_id=answer_id,
            task=next((record for record in stood_on if record.kind is Kind.TASK), None),
            records=[self._ledger.get(record_id) for record_id in logged.shown],
            excerpts=logged.excerpts,
            written=logged.written,
            vote=logged.vote,
            adapters={name: self._adapters.usable(name) for stretch in logged.written for name in stretch.adapters},
            scope=logged.scope,
            mode=logged.mode,
        )


def _named(task: str | None, filters: Filters | None, passages: int | None, neighbours: int | None) -> str | None:
    """Return the name of the task that is asked, None for none; what is said about evidence has no place beside it."""
    if task is None:
        return None
    if not (filters is None and passages is None and neighbours is None):
        raise InputError(
            f"task {quoted(task)} is answered by its own demonstrations; leave filters, passages and neighbours out, "
            "or the task"
        )
    return read_name("task", task)
