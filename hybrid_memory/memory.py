"""The memory: ingest -> query -> consolidate -> forget.

Flow:    this is the flow; each method hands its call to the part that carries it out.
Imports: types, protocols, config, errors, and the flow modules beside it. Knows every stage by its protocol only.
"""

from __future__ import annotations

import logging
import os.path
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, overload

from hybrid_memory.adapters import Adapters
from hybrid_memory.arguments import (
    at_least,
    callback,
    known_options,
    listed,
    member,
    moment,
    positive,
    read_path,
    read_policy,
    seconds,
    whole,
)
from hybrid_memory.benchmark import BenchmarkReport, replay
from hybrid_memory.config import Settings, folder_and_settings
from hybrid_memory.errors import ClosedError, IndexMismatchError, InputError, LedgerError
from hybrid_memory.inspection import problems, trace, where
from hybrid_memory.parts import Parts
from hybrid_memory.protocols import Filters, Ledger, Progress, TextModel
from hybrid_memory.review import Review
from hybrid_memory.scoping import mentions, read_scope
from hybrid_memory.streaming import AnswerStream
from hybrid_memory.types import (
    GENERATOR,
    Answer,
    Audit,
    ConsolidationReport,
    Context,
    Decision,
    Event,
    Example,
    Explanation,
    GeneratorReport,
    Hit,
    IngestReceipt,
    IngestSummary,
    Json,
    Kind,
    Lesson,
    Mode,
    Receipt,
    Record,
    Replay,
    Route,
    Scope,
    Trust,
    Turn,
    quoted,
)

__all__ = ["HybridMemory"]

log = logging.getLogger(__name__)


class HybridMemory:
    """A memory with two halves: retrieval for what changes, adapter weights for what lasts.

    Open one with `HybridMemory.open("./acme")`; it is a context manager. Scopes (`tenant_id`, `user_id`,
    `agent_id`, `run_id`) may be given to every call; without any, knowledge is everybody's. A query sees
    everybody's knowledge and its own scope's, never another's.
    """

    def __init__(self, parts: Parts) -> None:
        """Take assembled parts; use `open` or `from_config`."""
        self._assembled = parts
        self._closed = False

    @property
    def _parts(self) -> Parts:
        if self._closed:
            raise ClosedError("this memory is closed; open it again, or close it after its last use")
        return self._assembled

    @property
    def _ledger(self) -> Ledger:
        return self._parts.ledger

    @property
    def adapters(self) -> Adapters:
        """Adapter versions: list them, switch between them, switch them off."""
        return self._parts.adapters

    @property
    def review(self) -> Review:
        """What was set aside: list it, approve it, reject it."""
        return self._parts.review

    # ------------------------------------------------------------ the flow

    def ingest(
        self,
        x: object,
        *,
        tenant_id: str | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        source: str | None = None,
        observed_at: datetime | None = None,
        valid_from: datetime | None = None,
        valid_to: datetime | None = None,
        ttl: timedelta | float | None = None,
        trust: Trust | str | None = None,
        supersedes: str | None = None,
        route: Route | str | None = None,
        metadata: Mapping[str, Json] | None = None,
        idempotency_key: str | None = None,
        dry_run: bool = False,
        force: bool = False,
    ) -> IngestReceipt:
        """Read, screen, route and store one input; durable when it returns.

        Args:
            x: text, a Path (file or folder), chat messages, a llama-index Document, Example, Preference, Fact or Task.
            tenant_id: scope; likewise user_id, agent_id, run_id.
            source: where it comes from.
            observed_at: when it was seen, timezone-aware; now by default.
            valid_from: when it begins to be true; observed_at by default.
            valid_to: when it stops being true.
            ttl: lifetime, a timedelta or seconds.
            trust: "operator", "user" or "external".
            supersedes: id of the record it replaces.
            route: None lets the policy decide; or "retrieve", "learn", "drop", "quarantine".
            metadata: JSON data to filter by.
            idempotency_key: makes a repeated call harmless.
            dry_run: decide and explain, store nothing.
            force: let in again what was forgotten; no document can say so, only the caller.

        Returns:
            The receipt of the record; of the first when one input became several, whose `parts` has one for each.
            Of several, those that were forgotten are left out and say so: `part.forgotten`.

        Raises:
            InputError: the input cannot be used, or says nothing but what was forgotten; nothing was stored.
            LockedError: another process holds the writer lock too long.
        """
        scope, _ = read_scope(tenant_id=tenant_id, user_id=user_id, agent_id=agent_id, run_id=run_id)
        return self._parts.intake.ingest(
            x,
            route=member(Route, "route", route),
            dry_run=dry_run,
            force=force,
            scope=scope,
            source=source,
            observed_at=observed_at,
            valid_from=valid_from,
            valid_to=valid_to,
            ttl_s=seconds(ttl),
            trust=trust,
            supersedes=supersedes,
            metadata=metadata,
            idempotency_key=idempotency_key,
        )

    add = ingest

    @overload
    def query(self, question: str, *, stream: Literal[False] = False, **given: Any) -> Answer: ...

    @overload
    def query(self, question: str, *, stream: Literal[True], **given: Any) -> AnswerStream: ...

    def query(self, question: str, *, stream: bool = False, **given: Any) -> Answer | AnswerStream:
        """Answer one question; `given` are the options of `query_many`.

        With `stream=True` an AnswerStream comes back: iterate for text, then read its `answer`.

        Raises:
            InputError: an option has another name, or a value that cannot be meant.
        """
        known_options(self.query_many, given, named="query", besides=("on_text",) if stream else ())
        if stream:
            return AnswerStream(lambda on_text: self.query_many([question], on_text=on_text, **given)[0])
        return self.query_many([question], **given)[0]

    def consolidate(
        self,
        *,
        tenant_id: str | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        budget_s: float | None = None,
        progress: Progress | None = None,
    ) -> ConsolidationReport:
        """Open a learning window now.

        Args:
            tenant_id: only shards inside this scope; likewise user_id, agent_id, run_id. None: all.
            budget_s: seconds above 0; what would not be trained and judged by then stays queued. None: the settings'.
            progress: told what is written, trained and measured.

        Raises:
            InputError: the budget is no number above 0.
        """
        positive("budget_s", budget_s)
        callback("progress", progress)
        scope, _ = read_scope(tenant_id=tenant_id, user_id=user_id, agent_id=agent_id, run_id=run_id)
        self._ledger.expire(datetime.now(UTC))
        self._parts.rerouting.climb()
        inside = None if scope == Scope() else scope
        return self._parts.consolidation.run(scope=inside, budget_s=budget_s, progress=progress)

    def forget(
        self,
        record_id: str | Sequence[str] | None = None,
        *,
        filters: Filters | None = None,
        tenant_id: str | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        everywhere: bool = False,
        weights: Literal["defer", "now"] = "defer",
        progress: Progress | None = None,
    ) -> Receipt:
        """Forget records in both halves and return the proof.

        Retrieval forgets at once; adapters that saw the records are deleted at once and rebuilt without
        them in the next window, or before this returns with `weights="now"`. Forgetting the same ids again
        returns how things stand: a receipt that was due is completed by the one after the window.

        Args:
            record_id: one id or several.
            filters: forget all that match inside the scope; without a scope, of everybody's knowledge. What
                `list(filters=…, all_statuses=True)` shows without a scope is what goes. Chosen by "source", what
                others said too stays, without that source; the receipt lists it under "said_by_others".
            tenant_id: forget everything inside this scope; likewise user_id, agent_id, run_id.
            everywhere: the filters reach into every scope, of all tenants and users.
            weights: "defer" or "now".
            progress: told about the rebuild.

        Raises:
            InputError: nothing was named, `everywhere` is not about filters alone, or `weights` is neither of the two.
            NotFoundError: a record id is unknown.
        """
        if weights not in ("defer", "now"):
            raise InputError(f"weights must be 'defer' or 'now', got {quoted(weights)}")
        callback("progress", progress)
        scope, rest = read_scope(filters, tenant_id=tenant_id, user_id=user_id, agent_id=agent_id, run_id=run_id)
        records = self._parts.forgetting.named(record_id, scope=scope, filters=rest, everywhere=everywhere)
        by_source = rest is not None and mentions(rest, "source")
        return self._parts.forgetting.forget(records, now=weights == "now", by_source=by_source, progress=progress)

    delete = forget

    # ------------------------------------------------------------ more ways in

    def ingest_many(
        self, inputs: Iterable[object], *, batch_size: int = 64, progress: Progress | None = None, **stamp: Any
    ) -> IngestSummary:
        """Ingest many inputs in batches, one transaction a batch; a bad one is reported and does not stop the rest.

        Args:
            inputs: anything `ingest` takes.
            batch_size: inputs embedded and written together.
            progress: told after each batch.
            stamp: the keyword arguments of `ingest`, for all of them; `idempotency_key` is not among them.

        Returns:
            Counts per route, and each failure as (place in the input, message).
        """
        known_options(self.ingest, stamp, named="ingest_many", besides=("dry_run",))
        callback("progress", progress)
        return self._parts.intake.ingest_many(inputs, batch_size=batch_size, progress=progress, **stamp)

    def import_from(
        self, source: object, form: str, *, batch_size: int = 64, progress: Progress | None = None, **stamp: Any
    ) -> IngestSummary:
        """Take over what another memory exported, with its times and scopes; a second run adds nothing.

        Args:
            source: a `.json` or `.jsonl` file, or the objects themselves.
            form: "mem0", "langgraph", "llama_index" or "jsonl" (our own lines or records, each with its own stamp).
            batch_size: rows embedded and written together.
            progress: told after each batch.
            stamp: the keyword arguments of `ingest`, for all rows; a row never leaves the scope given here.

        Returns:
            Counts per route, and each failure as (place of the row from 0, message).

        Raises:
            InputError: an unknown form, or nothing that holds rows.
        """
        rows = self._parts.intake.imported(source, form)
        return self.ingest_many(rows, batch_size=batch_size, progress=progress, **stamp)

    def update(self, record_id: str, x: object = None, *, metadata: Mapping[str, Json] | None = None) -> Record:
        """Replace a record's metadata in place, or its content by a new record that supersedes it.

        The new record fills the slot of the old one, unless it names another, and ends when that would have ended.
        What was replaced stays, for `known_at`, until the record is forgotten.

        Returns:
            The record that now holds: the same one, or its successor.

        Raises:
            InputError: the content or the metadata cannot be used, or the record is forgotten.
            NotFoundError: the record is unknown.
        """
        return self._parts.intake.update(record_id, x, metadata=metadata)

    def feedback(
        self,
        answer_id: Answer | str | Sequence[Turn | Mapping[str, str]],
        *,
        correction: str | None = None,
        accepted: bool = False,
        tenant_id: str | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
    ) -> IngestReceipt:
        """Turn an answer into training material: as it was, if accepted, or as it should have been.

        A correction takes the place of what was accepted or corrected for the same question before, whatever its case
        and punctuation; an acceptance never takes the place of a correction.

        Args:
            answer_id: a recent answer as `query` returned it, or its id; or an agent's finished turn: chat messages,
                of which the last one is the assistant's answer to the last one of the user.
            correction: the right answer.
            accepted: the answer was right.
            tenant_id: scope of an agent's turn; likewise user_id, agent_id, run_id. An answer has its own.

        Raises:
            InputError: neither or both were given, the messages are no finished turn, a scope was given for an
                answer, or an answer is accepted that differs from a standing correction.
            NotFoundError: the answer is unknown or too long ago.
        """
        scope, _ = read_scope(tenant_id=tenant_id, user_id=user_id, agent_id=agent_id, run_id=run_id)
        given = answer_id.id if isinstance(answer_id, Answer) else answer_id
        return self._parts.verdicts.take(given, correction=correction, accepted=accepted, scope=scope)

    def route(self, text: str, *, policy: Path | str | None = None, trust: Trust | str = Trust.USER) -> Decision:
        """Explain where a text would go, without storing anything.

        Args:
            text: as it would be ingested.
            policy: a shipped policy's name or a file; None is this memory's own.
            trust: who would vouch for it.
        """
        named = None if policy is None else read_policy(policy)
        return self._parts.intake.route(text, policy=named, trust=trust)

    def replay_routing(self, policy: Path | str) -> Replay:
        """Return what would move under another policy, why, and what learning again would cost; nothing moves.

        Args:
            policy: a shipped policy's name or a file.
        """
        return self._parts.rerouting.replay(read_policy(policy))

    def apply_routing(self, replay: Replay) -> list[Record]:
        """Carry out what `replay_routing` showed; records that changed meanwhile are left alone.

        What leaves the weights is masked at once and its shard is rebuilt without it in the next window; what is to be
        learned waits for that window. A record that would be dropped is set aside for review: only `forget` forgets.

        Returns:
            The records that moved, as they stand now.
        """
        return self._parts.rerouting.apply(replay)

    # ------------------------------------------------------------ more ways to ask

    def query_many(
        self,
        questions: Sequence[str],
        *,
        mode: Mode | str = Mode.HYBRID,
        task: str | None = None,
        filters: Filters | None = None,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
        passages: int | None = None,
        neighbours: int | None = None,
        max_new_tokens: int | None = None,
        tenant_id: str | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        on_text: Callable[[str], None] | None = None,
        progress: Progress | None = None,
    ) -> list[Answer]:
        """Answer many questions, generated in batches; much faster than one by one.

        Args:
            questions: each answered on its own.
            mode: "hybrid", "retrieval_only" or "weights_only".
            task: name of a Task of this scope, whose skill answers: its adapter, voted over the views under which it
                was studied, or else its demonstrations as chat turns. Evidence, preferences and filters have no part.
            filters: conditions on the evidence; never widen the scope.
            as_of: evidence as things stood then; adapters, which know only the present, stay out.
            known_at: evidence that the memory had then, as it had it then: what came or changed later has no part. As
                of that time too, unless `as_of` says another. Adapters stay out; what is forgotten stays forgotten.
            passages: most evidence passages per question; None takes answer.passages.
            neighbours: parts before and after each passage of a document that come along as evidence, 0 to 3, beyond
                `passages`; None takes retrieval.neighbours.
            max_new_tokens: longest answer; None takes answer.max_new_tokens, for a task what its own answers need.
            tenant_id: scope; likewise user_id, agent_id, run_id.
            on_text: streams the text of a single question.
            progress: told after each generated batch.

        Raises:
            InputError: a question or an option cannot be used; nothing was asked.
            NotFoundError: this scope has no task of that name.
        """
        callback("on_text", on_text)
        callback("progress", progress)
        scope, rest = read_scope(filters, tenant_id=tenant_id, user_id=user_id, agent_id=agent_id, run_id=run_id)
        return self._parts.asking.answer(
            questions,
            mode=mode,
            task=task,
            scope=scope,
            filters=rest,
            as_of=moment("as_of", as_of),
            known_at=moment("known_at", known_at),
            passages=passages,
            neighbours=neighbours,
            max_new_tokens=max_new_tokens,
            on_text=on_text,
            progress=progress,
        )

    def search(
        self,
        query: str,
        *,
        top_k: int = 10,
        filters: Filters | None = None,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
        neighbours: int | None = None,
        explain: bool = False,
        tenant_id: str | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
    ) -> list[Hit]:
        """Return the passages closest to the query, current ones only (or as of a time); no model is loaded.

        With `explain=True` each hit says in `explanation` where its score came from.

        Args:
            query: what is sought.
            top_k: how many at most, neighbours apart.
            filters: conditions on the records; never widen the scope.
            as_of: as things stood then; None is now.
            known_at: by what the memory had recorded then; None is now.
            neighbours: parts before and after each hit of a document that come along, 0 to 3; None takes
                retrieval.neighbours. They stand around their hit in the document's order, name it in `beside`, and
                are of those that this call may see.
            explain: fill `explanation`.
            tenant_id: scope; likewise user_id, agent_id, run_id.
        """
        scope, rest = read_scope(filters, tenant_id=tenant_id, user_id=user_id, agent_id=agent_id, run_id=run_id)
        return self._parts.asking.search(
            query,
            scope=scope,
            top_k=top_k,
            filters=rest,
            as_of=moment("as_of", as_of),
            known_at=moment("known_at", known_at),
            neighbours=neighbours,
            explain=explain,
        )

    def context(
        self,
        question: str,
        *,
        mode: Mode | str = Mode.HYBRID,
        task: str | None = None,
        filters: Filters | None = None,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
        passages: int | None = None,
        neighbours: int | None = None,
        max_tokens: int | None = None,
        tenant_id: str | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
    ) -> Context:
        """Return what `query` would send to the model, without generating: for your own model.

        Args:
            question: as the user asked it.
            mode: as for `query_many`; likewise filters, as_of, passages, neighbours.
            task: name of a Task of this scope, whose demonstrations come as chat turns, learned or not: a model of
                your own has no adapter. In "weights_only" they stay out.
            max_tokens: most tokens of the messages, as this memory's model counts them. What matters least is left
                out, by whole pieces, as `trace` says; the question never. None: nothing is left out.
            tenant_id: scope; likewise user_id, agent_id, run_id.

        Raises:
            InputError: the question alone is longer than `max_tokens`.
            NotFoundError: this scope has no task of that name.
        """
        scope, rest = read_scope(filters, tenant_id=tenant_id, user_id=user_id, agent_id=agent_id, run_id=run_id)
        return self._parts.asking.context(
            question,
            mode=mode,
            task=task,
            scope=scope,
            filters=rest,
            as_of=moment("as_of", as_of),
            known_at=moment("known_at", known_at),
            passages=passages,
            neighbours=neighbours,
            max_tokens=max_tokens,
        )

    def explain(self, answer: Answer | str) -> Explanation:
        """Tell what a recent answer came from: evidence, adapters or the base model, by leaving each out.

        Args:
            answer: as `query` returned it, or its id.

        Raises:
            NotFoundError: it is unknown, too long ago, or stood on something that is forgotten.
            AdapterError: a version it was written with is deleted since.
        """
        return self._parts.asking.explain(answer.id if isinstance(answer, Answer) else answer)

    # ------------------------------------------------------------ more of learning and forgetting

    def train_generator(
        self, lessons: Sequence[Lesson], *, rounds: int = 1, progress: Progress | None = None
    ) -> GeneratorReport:
        """Let the model learn to write better self-edits, and use the one that does (SEAL's outer loop).

        Safe to kill: the same call goes on where it was. From its promotion on, the generator writes for every
        memory opened on this folder; `memory.adapters` lists its versions, rolls them back and disables them. As many
        retired ones as of a shard are kept (`window.keep_versions`).

        Args:
            lessons: passages with questions and gold answers, at least two; a share of them is held out for the gate.
            rounds: how often self-edits are sampled, rewarded and learned from.
            progress: told what is rewarded and trained.

        Raises:
            InputError: fewer than two lessons, or no round.
        """
        listed("train_generator", lessons, "Lesson(text, questions)")
        whole("rounds", rounds, 1)
        callback("progress", progress)
        report = self._parts.outer_loop().run(lessons, rounds=rounds, progress=progress)
        self._parts.upkeep.retain(GENERATOR, self._parts.settings.window.keep_versions)
        return report

    def benchmark(
        self,
        questions: Sequence[Example],
        *,
        windows: int = 4,
        misses: float = 0.3,
        seed: int = 0,
        tenant_id: str | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        progress: Progress | None = None,
    ) -> BenchmarkReport:
        """Replay this memory's records window by window in a temporary one, and measure what each half keeps.

        Nothing in this memory changes. It takes about as long as learning everything anew, `windows` times smaller.
        The teacher, if there is one, writes again. Routes and slots are those of the records, so judge and proposer are
        not asked; the temporary memory searches with FAISS, whatever vector store this one has.

        Args:
            questions: Example(question, what a right answer must say, as whole words); never seen in training.
            windows: in how many parts the records are told, in order of recording.
            misses: share of the asked records that retrieval cannot find in the rows "misses", in [0, 1].
            seed: which ones.
            tenant_id: replay what this scope sees; likewise user_id, agent_id.
            progress: told about questions written, training, and windows.

        Raises:
            InputError: there is no question, or no record says what a question's answer says.
        """
        listed("benchmark", questions, "Example(question, right answer)")
        whole("windows", windows, 1)
        callback("progress", progress)
        scope, _ = read_scope(tenant_id=tenant_id, user_id=user_id, agent_id=agent_id, run_id=None)
        return replay(
            self._ledger.find(scope=scope, filters={"kind": {"ne": Kind.TASK.value}}),  # no question reaches one
            questions,
            open_memory=self._parts.beside,
            scope=scope,
            windows=windows,
            misses=misses,
            seed=seed,
            progress=progress,
        )

    def purge(self, *, older_than: timedelta | float = 0.0) -> Receipt:
        """Delete for good what has outlived its `ttl`: a job for every night.

        Until then it is hidden, but kept for `as_of` and history. Unlike what is forgotten, it may be said again.

        Args:
            older_than: only what ran out at least this long ago, a timedelta or seconds.

        Raises:
            InputError: a negative time.
        """
        return self._parts.forgetting.purge(older_than_s=seconds(older_than))

    def check_receipt(self, receipt: Receipt | Mapping[str, Json]) -> bool:
        """Tell whether a receipt, or its JSON read again, is word for word what was signed with `forget.key_file`.

        Raises:
            ConfigError: no key is set, or it cannot be read.
            InputError: it is no signed receipt, or another key signed it.
        """
        return self._parts.forgetting.check_receipt(receipt)

    def forget_audit(
        self,
        texts: Sequence[str],
        *,
        controls: Sequence[str],
        tenant_id: str | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
    ) -> Audit:
        """Check that no serving adapter knows forgotten texts better than texts that were never told.

        Args:
            texts: what was forgotten, as you kept it: the memory has no copy any more.
            controls: at least two texts of the same form that this memory has never seen.
            tenant_id: look at this scope's adapters only; likewise user_id, agent_id, run_id. None: all.

        Raises:
            InputError: there are no texts, or fewer than two controls, or a text is among the controls.
        """
        scope, _ = read_scope(tenant_id=tenant_id, user_id=user_id, agent_id=agent_id, run_id=run_id)
        return self._parts.forgetting.audit(texts, controls, scope=scope)

    # ------------------------------------------------------------ look

    def get(self, record_id: str) -> Record:
        """Return one record; NotFoundError when there is none."""
        return self._ledger.get(record_id)

    def history(self, record_id: str, *, after: int = 0, limit: int | None = None) -> list[Event]:
        """Return what happened to a record and to the other values of its slot, oldest first.

        Args:
            record_id: any of them.
            after: only events with an id greater than this one; page with the last event's id.
            limit: how many at most.
        """
        whole("after", after, 0, most=2**63 - 1)  # what SQL counts rows to
        at_least("limit", limit, 0)
        return self._ledger.history(record_id, after=after, limit=limit)

    def list(
        self,
        *,
        filters: Filters | None = None,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
        all_statuses: bool = False,
        limit: int | None = None,
        after: str | None = None,
        tenant_id: str | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
    ) -> list[Record]:
        """Return the records a query in this scope sees, in order of recording; page with `after`.

        With `known_at` they are those that this call returned then, as they stood then, without what is forgotten.
        """
        at_least("limit", limit, 0)
        scope, rest = read_scope(filters, tenant_id=tenant_id, user_id=user_id, agent_id=agent_id, run_id=run_id)
        return self._ledger.find(
            scope=scope,
            filters=rest,
            as_of=moment("as_of", as_of),
            known_at=moment("known_at", known_at),
            all_statuses=all_statuses,
            limit=limit,
            after=after,
        )

    def where(self, record_id: str) -> Mapping[str, Json]:
        """Return where a record lives now: retrieval, queue, adapters, and which of these are masked."""
        return where(self._ledger, record_id)

    def trace(self, id: str) -> Mapping[str, Json]:
        """Return everything known about a record's way, or about an adapter version's making."""
        return trace(self._ledger, id)

    def studied(self, record_id: str) -> tuple[str, ...]:
        """Return the prompts that were written to learn a record by, held-out ones included."""
        self._ledger.get(record_id)  # an unknown id was never studied, but says so
        return tuple(item.prompt for edit in self._ledger.self_edits([record_id]) for item in edit.items)

    def doctor(self) -> Mapping[str, Json]:
        """Check ledger, index and adapters; return counts and problems, each with what mends it."""
        found = problems(self._ledger, self._parts.retriever, self._parts.store)
        return {
            "healthy": not found,
            "problems": found,
            "folder": str(self._parts.folder),
            "settings": self._parts.settings.fingerprint(),
            "policy": self._parts.intake.policy,
            "encoder": self._parts.encoder.fingerprint,
            **self._ledger.counts(),
        }

    # ------------------------------------------------------------ open and keep

    @classmethod
    def open(
        cls,
        folder: Path | str,
        *,
        vector_store: object | None = None,
        teacher: object | None = None,
        judge: TextModel | None = None,
        proposer: TextModel | None = None,
        extractor: object | None = None,
        for_reindex: bool = False,
        **groups: Mapping[str, Any],
    ) -> HybridMemory:
        """Open the memory in a folder; it is created when it is not there.

        Args:
            folder: holds memory.toml (settings, optional), ledger, index and adapters.
            vector_store: a LlamaIndex vector store (`BasePydanticVectorStore`) to search in instead of FAISS; give it
                at every opening. The ledger keeps all vectors, so it may be changed, lost or left out.
            teacher: writes the study material when `self_edit.generator` is "teacher": any LlamaIndex LLM, or another
                object with `complete(prompt)` or `chat(messages)`; `self_edit.teacher` may name one instead.
            judge: any LlamaIndex LLM; asked about what the classifier leaves undecided, within routing.judge_calls.
            proposer: any LlamaIndex LLM; asked which slot a short sentence fills that the rules do not read.
            extractor: any LlamaIndex LLM, or another object with `complete(prompt)` or `chat(messages)`; states the
                turns of conversations as sentences that stand alone; `ingest.extractor` may name one instead.
            for_reindex: open although the vectors are another encoder's; only `reindex` works then.
            groups: settings by group, such as `answer={"passages": 3}`; they win over memory.toml.

        Raises:
            ConfigError: a setting is unknown or out of range, or a teacher is asked for and there is none;
                or the extractor cannot be asked or imported.
            PolicyError: the routing policy cannot be used.
            ModelError: a model is missing; the message has the command that gets it.
            IndexMismatchError: the store was built with another encoder.
            LedgerError: the database is damaged or newer than this package.
        """
        from hybrid_memory.build import build

        place = read_path("the folder of a memory", folder)
        file = place / "memory.toml"
        parts = build(
            place,
            Settings.load(file if os.path.exists(file) else None, **groups),
            vector_store=vector_store,
            teacher=teacher,
            judge=judge,
            proposer=proposer,
            extractor=extractor,
            for_reindex=for_reindex,
        )
        return cls(parts)

    @classmethod
    def from_config(
        cls,
        config: Path | str | Mapping[str, Any],
        *,
        vector_store: object | None = None,
        teacher: object | None = None,
        judge: TextModel | None = None,
        proposer: TextModel | None = None,
        extractor: object | None = None,
    ) -> HybridMemory:
        """Open a memory from a TOML file or a dict: `folder` beside the groups of settings.

        Args:
            config: path of the file, or its content.
            vector_store: as for `open`; likewise teacher, judge, proposer, extractor.

        Raises:
            ConfigError: as `open`, or `folder` is missing.
        """
        from hybrid_memory.build import build

        folder, settings = folder_and_settings(config)
        parts = build(
            folder,
            settings,
            vector_store=vector_store,
            teacher=teacher,
            judge=judge,
            proposer=proposer,
            extractor=extractor,
        )
        return cls(parts)

    @classmethod
    def restore(cls, path: Path | str, folder: Path | str, **groups: Mapping[str, Any]) -> HybridMemory:
        """Unpack an export into a new folder and open it.

        Args:
            path: what `export` wrote.
            folder: new or empty.
            groups: settings by group, as for `open`; with `ledger={"url": "postgresql://…"}` an empty database on a
                server takes over the ledger.

        Raises:
            InputError: the file is no export, or the folder is not empty.
        """
        from hybrid_memory.archive import restore

        options: dict[str, Any] = dict(groups)
        return cls.open(restore(read_path("an export", path), read_path("a folder", folder)), **options)

    def export(self, path: Path | str) -> Path:
        """Write ledger, adapters and settings into one .tar.gz; the index is rebuilt on restore."""
        from hybrid_memory.archive import export

        return export(self._parts.folder, self._ledger, read_path("what is exported to", path))

    def reindex(self, *, progress: Progress | None = None) -> int:
        """Embed every passage again with this memory's encoder and swap the index; return how many."""
        callback("progress", progress)
        return self._parts.retriever.reindex(self._parts.encoder, progress)

    def close(self) -> None:
        """Save the index snapshot and close the ledger; every later call but this one raises ClosedError."""
        if self._closed:
            return
        self._closed = True
        try:
            self._assembled.retriever.save()
        except (LedgerError, IndexMismatchError) as error:  # the snapshot is a cache: the next opening builds it again
            log.warning("%s", error)
        finally:
            self._assembled.ledger.close()

    def __enter__(self) -> HybridMemory:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()
