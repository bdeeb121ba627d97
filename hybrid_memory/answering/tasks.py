"""Answer questions that are put to a task: by its adapter, or by its demonstrations in context.

A task is answered by its own demonstrations and by nothing else: no evidence, no preference, no other adapter.

Flow:    name of a task, questions -> [tasks] -> Answer
Imports: errors, types, protocols, config, evidence, grids; the other modules of this stage.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import fmean

from ulid import ULID

from hybrid_memory.answering.attribution import as_hit, attribute
from hybrid_memory.answering.fitting import Room, left_out
from hybrid_memory.answering.reasons import not_serving
from hybrid_memory.config import AnswerSettings
from hybrid_memory.errors import NotFoundError
from hybrid_memory.evidence import ask
from hybrid_memory.grids import View, all_grids, bare, like, read_grid, views, vote
from hybrid_memory.protocols import LanguageModel, Ledger, Progress
from hybrid_memory.types import (
    AdapterVersion,
    Answer,
    Context,
    Explanation,
    Generation,
    Kind,
    Learning,
    Mode,
    Record,
    Scope,
    Slot,
    Stretch,
    Turn,
    quoted,
)

__all__ = ["TaskAnswers"]


@dataclass(frozen=True, slots=True)
class _Way:
    """How the questions to one task are answered."""

    task: Record
    adapter: AdapterVersion | None
    shown: bool
    """Whether the demonstrations stand in the prompt."""
    augmentations: tuple[str, ...]
    """Under which the adapter has studied the task."""
    reason: str
    left_out: int = 0
    """How many demonstrations the prompt leaves out, from the first one on."""
    cut: tuple[str, ...] = ()
    """Why, for the trace."""

    @property
    def in_grids(self) -> bool:
        """Whether the adapter has studied grids, which have one form for it."""
        texts = (text for one in self.task.examples for text in (one.prompt, one.response))
        return self.adapter is not None and all_grids(texts)

    def views(self, question: str) -> tuple[View, ...]:
        """Return from which sides a question is looked at; one that is no grid has one side."""
        return views(self.augmentations if self.in_grids and read_grid(question) is not None else None)

    def chats(self, question: str) -> list[tuple[Turn, ...]]:
        """Return the prompt under each view."""
        shots = self.task.examples[self.left_out :] if self.shown else ()
        asked = bare(question) if self.in_grids else question
        return [ask(view.forward(asked), shots=shots) for view in self.views(question)]

    def said(self, text: str) -> str:
        """Return an answer in the form in which the task writes its own."""
        return like(text, self.task.examples[0].response) if self.in_grids else text


class TaskAnswers:
    """Answers from the tasks of one ledger."""

    def __init__(self, ledger: Ledger, language_model: Callable[[], LanguageModel], settings: AnswerSettings) -> None:
        self._ledger = ledger
        self._language_model = language_model
        self._settings = settings

    def answer(
        self,
        name: str,
        questions: Sequence[str],
        *,
        scope: Scope,
        mode: Mode,
        as_of: datetime | None,
        known_at: datetime | None = None,
        max_new_tokens: int | None,
        on_text: Callable[[str], None] | None,
        progress: Progress | None,
    ) -> list[Answer]:
        """Return one answer per question, voted over the views under which the task was studied.

        Raises:
            NotFoundError: the scope has no task of that name; names those it has.
        """
        started = time.monotonic()
        present = as_of is None and known_at is None
        way = self._way(self._named(name, scope, as_of, known_at), mode, present=present)
        lm = self._language_model()
        longest = max_new_tokens or max(self._settings.max_new_tokens, _longest(way.task))
        ways = [_fitted(way, question, Room.beside_answer(lm, longest)) for question in questions]
        asked = [one.chats(question) for one, question in zip(ways, questions, strict=True)]
        streamed = on_text if len(questions) == 1 and way.adapter is None else None
        chosen = time.monotonic()
        written = lm.generate(
            [chat for chats in asked for chat in chats],
            adapters=[way.adapter] if way.adapter else [],
            max_new_tokens=longest,
            on_text=streamed,
        )
        if progress is not None:
            progress("answer", len(questions), len(questions))
        seconds = {"choose": chosen - started, "generate": time.monotonic() - chosen}
        share = {stage: spent / len(questions) for stage, spent in seconds.items()}
        rest = iter(written)
        answers = [
            _answered(one, question, [next(rest) for _ in chats], mode, share)
            for one, question, chats in zip(ways, questions, asked, strict=True)
        ]
        if on_text is not None and streamed is None and len(answers) == 1:
            on_text(answers[0].text)
        return answers

    def context(
        self,
        name: str,
        question: str,
        *,
        scope: Scope,
        mode: Mode,
        as_of: datetime | None,
        known_at: datetime | None,
        room: Room | None,
    ) -> Context:
        """Return the demonstrations before the question, for a model that has no adapter of the task.

        Raises:
            NotFoundError: the scope has no task of that name; names those it has.
        """
        present = as_of is None and known_at is None
        way = self._way(self._named(name, scope, as_of, known_at), mode, present=present)
        adapters = (way.adapter.id,) if way.adapter else ()
        if mode is not Mode.WEIGHTS_ONLY:
            way = replace(way, adapter=None, shown=True)
        if room is not None:
            way = _fitted(way, question, room)
        shown = len(way.task.examples) - way.left_out if way.shown else 0
        return Context(
            messages=way.chats(question)[0],
            sources=(as_hit(way.task),),
            adapters=adapters,
            masked=(),
            trace=(f"{shown} demonstrations stand in the context", way.reason, *way.cut),
            shown=(way.task.id,) if way.shown else (),
        )

    def explain(
        self, task: Record, question: str, text: str, *, answer_id: str, shown: bool, adapters: Sequence[AdapterVersion]
    ) -> Explanation:
        """Return what the demonstrations or the adapter give to an answer, as the question was asked.

        The answer is scored under the plain view alone.
        """
        lm = self._language_model()
        room = Room.beside_answer(lm, len(lm.chat_tokens((Turn("assistant", text),))))
        way = _fitted(_Way(task, next(iter(adapters), None), shown, (), ""), question, room)
        without = ask(bare(question) if way.in_grids else question)
        return attribute(
            lm,
            bare(text) if way.in_grids else text,
            answer_id=answer_id,
            whole=way.chats(question)[0],
            bare=without,
            without={task.id: without} if shown else {},
            adapters=adapters,
        )

    # ------------------------------------------------------------ which task, and how

    def _named(self, name: str, scope: Scope, as_of: datetime | None, known_at: datetime | None) -> Record:
        """Return the task of that name that is nearest to who asks: a user's own before the organisation's."""
        found = self._ledger.find(scope=scope, filters={"kind": Kind.TASK.value}, as_of=as_of, known_at=known_at)
        wanted = Slot(name, "").key
        called = {_name(record): record for record in sorted(found, key=_nearness)}
        same = [record for known, record in called.items() if Slot(known, "").key == wanted]
        if not same:
            there = f"it has {', '.join(sorted(called))}" if called else "it has none"
            raise NotFoundError(
                f"scope {quoted(scope.name)} has no task {quoted(name)}; {there}. "
                "Ingest Task(name, demonstrations) to tell one"
            )
        return max(same, key=_nearness)

    def _way(self, task: Record, mode: Mode, *, present: bool) -> _Way:
        """Return how the task is answered; the weights know only the present."""
        name = _name(task)
        if mode is Mode.RETRIEVAL_ONLY or not present:
            return _Way(
                task, None, True, (), f"task {quoted(name)}: its demonstrations in context; weights are left out"
            )
        adapter = self._adapter(task)
        if adapter is not None:
            edits = self._ledger.self_edits([task.id])
            augmentations = tuple(name for edit in edits for name in edit.directives.augmentations or ())
            return _Way(task, adapter, False, augmentations, f"task {quoted(name)}: {adapter.id} learned it")
        why = f"it {not_serving(task)}"
        if mode is Mode.WEIGHTS_ONLY:
            return _Way(task, None, False, (), f"task {quoted(name)}: the bare model, for {why}")
        return _Way(task, None, True, (), f"task {quoted(name)}: its demonstrations in context, for {why}")

    def _adapter(self, task: Record) -> AdapterVersion | None:
        """Return the adapter that serves and has learned this very task, as it is told now."""
        if task.learning is not Learning.LEARNED or task.shard_id is None:
            return None
        shards = self._ledger.shards(scope=task.scope)
        active = next((one.active for one in shards if one.id == task.shard_id and not one.masked), None)
        versions = self._ledger.versions(shard_id=task.shard_id)
        return next((one for one in versions if one.id == active and one.record_ids == (task.id,)), None)


def _fitted(way: _Way, question: str, room: Room) -> _Way:
    """Return the way without the demonstrations there is no room for: the last ones stand next to the question."""

    def chat(many: int) -> tuple[Turn, ...]:
        return max(replace(way, left_out=many).chats(question), key=room.count)

    most = len(way.task.examples) if way.shown else 0
    count = left_out(most, chat, room)
    if not count:
        return way
    return replace(
        way, left_out=count, shown=count < most, cut=(f"{count} of {most} demonstrations left out: {room.reason}",)
    )


def _answered(way: _Way, question: str, written: Sequence[Generation], mode: Mode, seconds: dict[str, float]) -> Answer:
    """Return the answer that most views gave, seen from the front again."""
    seen = way.views(question)
    turned = [way.said(view.back(one.text)) for view, one in zip(seen, written, strict=True)]
    shares = vote(turned)
    text = next(iter(shares))
    adapters = (way.adapter.id,) if way.adapter else ()
    trace = [way.reason, *way.cut]
    if len(seen) > 1:
        trace.append(f"{turned.count(text)} of {len(seen)} views agree: {', '.join(view.name for view in seen)}")
    return Answer(
        id=str(ULID()),
        question=question,
        text=text,
        mode=mode,
        sources=(as_hit(way.task),),
        adapters=adapters,
        abstained=False,
        trace=tuple(trace),
        prompt_tokens=sum(one.prompt_tokens for one in written),
        completion_tokens=sum(one.completion_tokens for one in written),
        seconds=seconds,
        confidence=math.exp(
            min(0.0, fmean(one.mean_logprob for one, said in zip(written, turned, strict=True) if said == text))
        ),
        shown=(way.task.id,) if way.shown else (),
        written=(Stretch(text, adapters),),
        vote=shares if len(seen) > 1 else {},
        no_adapter="" if adapters else way.reason,
    )


def _name(task: Record) -> str:
    return "" if task.slot is None else task.slot.subject


def _nearness(task: Record) -> tuple[int, str]:
    """Order tasks by how much of the scope they name; of equally near ones the newer comes last."""
    return sum(value is not None for value in task.scope.values()), task.id


def _longest(task: Record) -> int:
    """Return the length of the longest answer shown: a grid's digits are a token each, words have fewer."""
    return max(len(one.response) for one in task.examples)
