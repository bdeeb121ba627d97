"""What each stage offers to the flow; the flow knows nothing else about them.

Imports: types (and nothing heavier).
Any object with these members fits; nobody derives from anything. Implementations
are named in build.py only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from hybrid_memory.types import (
    AdapterVersion,
    Answer,
    Context,
    Decision,
    Directives,
    Draft,
    Entry,
    Event,
    Explanation,
    Finding,
    FloatArray,
    Generation,
    GeneratorReport,
    Hit,
    IdArray,
    IngestReceipt,
    Json,
    Learning,
    Lesson,
    Mode,
    Passage,
    Record,
    Scope,
    SelfEdit,
    Shard,
    StudyItem,
    Trust,
    Turn,
    Verdict,
)

__all__ = [
    "AdapterStore",
    "Answerer",
    "CandidateTrainer",
    "Candidates",
    "Encoder",
    "Filters",
    "Gate",
    "GeneratorTrainer",
    "LanguageModel",
    "Ledger",
    "Progress",
    "Reader",
    "RemembersVectors",
    "Retriever",
    "Router",
    "Screen",
    "SelfEditGenerator",
    "TextModel",
    "Trainer",
]

Filters: TypeAlias = Mapping[str, Json]
"""`{"source": "wiki"}`, `{"metadata.city": {"in": ["Oslo"]}}`, `{"or": [{...}, {...}]}`."""


class Progress(Protocol):
    """Told how far a long stage is; the CLI draws a bar from it."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """`stage` names the work, `done` of `total` units are finished, `note` is a rate or a name."""
        ...


class Encoder(Protocol):
    """Turns text into vectors."""

    @property
    def dim(self) -> int:
        """Length of every vector this encoder returns."""
        ...

    @property
    def fingerprint(self) -> str:
        """Names model and settings; vectors of different fingerprints never meet in one index."""
        ...

    @property
    def vocabulary(self) -> Sequence[str]:
        """Whole lower-case words the encoder knows, commonest first; may be empty."""
        ...

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Return an array of shape (len(texts), dim), float32; row i belongs to texts[i]."""
        ...


class Reader(Protocol):
    """Turns one input into drafts."""

    def read(
        self,
        x: object,
        *,
        scope: Scope,
        source: str | None = None,
        observed_at: datetime | None = None,
        valid_from: datetime | None = None,
        valid_to: datetime | None = None,
        ttl_s: float | None = None,
        trust: Trust | str | None = None,
        supersedes: str | None = None,
        metadata: Mapping[str, Json] | None = None,
        idempotency_key: str | None = None,
    ) -> list[Draft]:
        """Return one draft per record the input becomes; the arguments are those of `HybridMemory.ingest`."""
        ...

    def imported(self, source: object, form: str) -> list[object]:
        """Return the rows of another memory's export, each of which `read` takes."""
        ...


@runtime_checkable
class RemembersVectors(Protocol):
    """An encoder that keeps vectors beyond the call; forgetting tells it."""

    def forget_vectors(self, vectors: FloatArray) -> int:
        """Delete the kept vectors that equal one of these, shape (n, dim); return how many there were."""
        ...


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
            confirmations: how many distinct sources said the same before, per draft.
        """
        ...


class Retriever(Protocol):
    """Finds passages: dense and lexical, fused, inside one scope."""

    def search(
        self,
        question: str,
        *,
        vector: FloatArray,
        scope: Scope,
        top_k: int,
        filters: Filters | None = None,
        as_of: datetime | None = None,
        explain: bool = False,
    ) -> list[Hit]:
        """Return the best `top_k` current hits for the question, best first."""
        ...

    def require_same_encoder(self) -> None:
        """Raise IndexMismatchError when the stored vectors were made by another encoder; one short query."""
        ...

    def catch_up(self) -> int:
        """Take in what the ledger has and the index lacks; return how many passages that was."""
        ...

    def reindex(self, encoder: Encoder, progress: Progress | None = None) -> int:
        """Embed every passage again with `encoder` and swap the index; return how many."""
        ...

    def save(self) -> None:
        """Write the snapshot aside and rename it into place."""
        ...

    def check(self) -> list[str]:
        """Return what is wrong with index and snapshot, one sentence each; empty when all is well."""
        ...


class LanguageModel(Protocol):
    """Writes and scores text, with or without adapters."""

    @property
    def fingerprint(self) -> str:
        """Names the base weights; adapters of another base are refused."""
        ...

    def generate(
        self,
        prompts: Sequence[Sequence[Turn]],
        *,
        adapters: Sequence[AdapterVersion] = (),
        max_new_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
        begun: Sequence[str] | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> list[Generation]:
        """Answer each chat; `adapters` are summed. `on_text` streams the text of a single prompt.

        `begun`: what each answer begins with already, one per chat; what is returned goes on from there.
        """
        ...

    def complete(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        temperature: float,
        seed: int,
        stop: str | None = "\n",
        samples: int = 1,
    ) -> list[list[str]]:
        """Continue each plain text with the base model, `samples` times, up to `stop` (None: to the end token)."""
        ...

    def score(
        self, pairs: Sequence[tuple[Sequence[Turn], str]], *, adapters: Sequence[AdapterVersion] = ()
    ) -> list[float]:
        """Return the mean natural log-probability per token of each response after its chat."""
        ...

    def drift(self, prompts: Sequence[Sequence[Turn]], *, adapters: Sequence[AdapterVersion]) -> float:
        """Return the mean KL(base || adapted) per token, in nats, over the base's own answers."""
        ...

    def release(self, adapter_id: str) -> None:
        """Drop an adapter from memory; nothing happens when it is not loaded."""
        ...


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


class TextModel(Protocol):
    """A language model that only writes, as LlamaIndex has them: the reply is text, or has the text as `.text`."""

    def complete(self, prompt: str) -> object:
        """Return the continuation of a prompt."""
        ...


class SelfEditGenerator(Protocol):
    """Writes study material for records."""

    @property
    def name(self) -> str:
        """How it appears in provenance, such as "model" or "compiled"."""
        ...

    def write(self, records: Sequence[Record], *, seed: int, progress: Progress | None = None) -> list[SelfEdit]:
        """Return one self-edit per record, in order; an empty one says in `dropped` why."""
        ...


class Trainer(Protocol):
    """The inner loop: study material in, adapter files out."""

    def train(
        self,
        items: Sequence[StudyItem],
        *,
        seed: int,
        folder: Path,
        directives: Directives | None = None,
        learning_rate_scale: float = 1.0,
        progress: Progress | None = None,
        deadline_s: float | None = None,
    ) -> Mapping[str, Json]:
        """Train a fresh adapter, write it into `folder`, return tokens, steps, seconds, losses."""
        ...


class Candidates(Protocol):
    """Adapters that were trained together, in memory only."""

    @property
    def reports(self) -> Sequence[Mapping[str, Json]]:
        """What each one's training was: steps, tokens, losses, and `failure` ("" if there was none)."""
        ...

    def score(self, pairs: Sequence[tuple[Sequence[Turn], str]]) -> list[list[float]]:
        """Return each candidate's mean natural log-probability per token of each response after its chat."""
        ...

    def generate(self, prompts: Sequence[Sequence[Turn]], *, max_new_tokens: int) -> list[list[Generation]]:
        """Return each candidate's greedy answers."""
        ...


class CandidateTrainer(Protocol):
    """The inner loop over several self-edits of one passage at once."""

    def train(
        self,
        candidates: Sequence[Sequence[StudyItem]],
        *,
        seed: int,
        directives: Sequence[Directives] | None = None,
        progress: Progress | None = None,
    ) -> Candidates:
        """Train one adapter per candidate from one initialisation; siblings differ by their material only."""
        ...


class GeneratorTrainer(Protocol):
    """The outer loop: the generator learns from what its self-edits did."""

    def run(self, lessons: Sequence[Lesson], *, rounds: int = 1, progress: Progress | None = None) -> GeneratorReport:
        """Sample, adapt, reward, select, train, gate; a run that was killed is continued by the same call."""
        ...


class Gate(Protocol):
    """Decides whether a trained adapter may serve."""

    def judge(
        self,
        candidate: AdapterVersion,
        self_edits: Sequence[SelfEdit],
        *,
        learned_before: Sequence[str],
        always_on: bool,
        beside: Sequence[AdapterVersion] = (),
    ) -> Verdict:
        """Measure the candidate on held-out material; see Verdict."""
        ...


class AdapterStore(Protocol):
    """Immutable adapter versions on disk."""

    def stage(self, shard_id: str, number: int) -> AbstractContextManager[Path]:
        """Give a folder to write a candidate in; it is deleted unless `publish` is called on it."""
        ...

    def publish(self, folder: Path, manifest: Mapping[str, Json], metrics: Mapping[str, Json]) -> Path:
        """Write manifest (with file hashes) and metrics, fsync, rename into place; return the final folder."""
        ...

    def verify(self, path: str) -> None:
        """Raise AdapterError when a file of the version is missing or differs from its manifest."""
        ...

    def purge(self, path: str) -> int:
        """Delete the version's files; return how many there were."""
        ...

    def sweep(self, known: Iterable[str]) -> list[str]:
        """Delete candidates and folders that no ledger row names; return what was removed."""
        ...


class Ledger(Protocol):
    """The truth: records, passages, self-edits, shards, adapters, queue, events. One writer at a time."""

    # --- writing records

    def write(self, entries: Sequence[Entry]) -> list[IngestReceipt]:
        """Store all entries in one transaction: record, slot, supersession, passages, queue, event.

        Durable when it returns. Idempotent by key and by content within a scope.
        """
        ...

    def confirmations(self, drafts: Sequence[Draft]) -> list[int]:
        """Return for each draft how many distinct other sources gave the same text in its scope."""
        ...

    def update(self, record_id: str, *, metadata: Mapping[str, Json] | None = None) -> Record:
        """Replace a record's metadata; text and scope never change in place."""
        ...

    def set_route(self, record_id: str, decision: Decision, reason: str) -> Record:
        """Move a record to another route (replay, review) and queue or unqueue it."""
        ...

    def expire(self, now: datetime) -> list[str]:
        """Mark records whose time is over; return their ids."""
        ...

    # --- reading records

    def get(self, record_id: str) -> Record:
        """Return the record; NotFoundError when there is none."""
        ...

    def find(
        self,
        *,
        scope: Scope | None,
        inside: bool = False,
        filters: Filters | None = None,
        as_of: datetime | None = None,
        all_statuses: bool = False,
        limit: int | None = None,
        after: str | None = None,
    ) -> list[Record]:
        """Return records in id order.

        Args:
            scope: those a query in this scope sees; None means every scope (maintenance only).
            inside: those that lie inside the scope instead (forgetting, export).
            filters: further conditions; never widen the scope.
            as_of: as things stood then.
            all_statuses: also superseded, expired, quarantined ones.
            limit: how many at most.
            after: only ids greater than this one (keyset pagination).
        """
        ...

    def history(self, record_id: str, *, after: int = 0, limit: int | None = None) -> list[Event]:
        """Return events of the record and of the values before and after it in its slot, oldest first.

        At most `limit`, with an event id greater than `after` (keyset pagination).
        """
        ...

    def events(self, *, after: int = 0, limit: int = 1000) -> list[Event]:
        """Return events in order."""
        ...

    # --- passages

    def visible(self, *, scope: Scope, filters: Filters | None = None, as_of: datetime | None = None) -> IdArray:
        """Return the ids (int64, sorted) of the passages a query may see."""
        ...

    def visible_since(
        self, *, scope: Scope, filters: Filters | None = None, event: int, after: datetime
    ) -> tuple[int, IdArray, IdArray]:
        """Return the newest event, the passages of records that changed meanwhile, and those of them a query may see.

        A record changes by an event after `event`, or because its time began or ended after `after`.
        """
        ...

    def texts_after(self, passage_id: int, *, limit: int) -> tuple[list[int], list[str]]:
        """Return ids and texts of the passages after an id, in id order."""
        ...

    def lexical(
        self, question: str, *, scope: Scope, limit: int, filters: Filters | None = None, as_of: datetime | None = None
    ) -> list[tuple[int, float]]:
        """Return (passage id, BM25 score, higher is better) by full text, best first, inside the selection."""
        ...

    def passages(self, ids: Sequence[int]) -> list[tuple[Passage, Record]]:
        """Return passages with their records, in the order of `ids`."""
        ...

    def vectors_after(self, passage_id: int, *, limit: int) -> tuple[list[int], FloatArray]:
        """Return ids and stored vectors of the passages after an id, in id order."""
        ...

    def vectors(self, ids: Sequence[int]) -> tuple[list[int], FloatArray]:
        """Return those of the passage ids that are there, in the order given, and their stored vectors."""
        ...

    def set_vectors(self, ids: Sequence[int], vectors: FloatArray, encoder: str) -> None:
        """Replace the stored vectors of passages (reindexing)."""
        ...

    def record_vectors(self, record_ids: Sequence[str]) -> tuple[list[str], FloatArray]:
        """Return the vector of every passage of the records, with the record id of each row."""
        ...

    def removals_after(self, sequence: int) -> tuple[int, list[int]]:
        """Return the newest removal number and the ids of the passages removed after `sequence`."""
        ...

    # --- learning

    def pending(self, *, scope: Scope | None = None) -> list[Record]:
        """Return the records that wait for a window, oldest first, and are not leased."""
        ...

    def lease(self, record_ids: Sequence[str], *, worker: str, lease_s: float) -> list[str]:
        """Claim queue entries; return those that were free. A lease that ran out is free again."""
        ...

    def unlease(self, record_ids: Sequence[str], *, worker: str) -> None:
        """Give claimed queue entries back."""
        ...

    def settle(self, *, learning: Mapping[str, tuple[Learning, str]]) -> None:
        """Set record id -> (learning state, detail) and take them off the queue."""
        ...

    def save_self_edits(self, self_edits: Sequence[SelfEdit]) -> None:
        """Store material; replaces what the same records had."""
        ...

    def self_edits(self, record_ids: Sequence[str]) -> list[SelfEdit]:
        """Return stored material of the records, in their order; records without any are skipped."""
        ...

    def shards(self, *, scope: Scope | None = None) -> list[Shard]:
        """Return the shards a query in this scope sees (None: all)."""
        ...

    def shard_records(self, shard_id: str) -> list[Record]:
        """Return the shard's active records, queued ones included, in id order."""
        ...

    def assign(self, record_ids: Sequence[str], *, shard: Shard) -> None:
        """Put records into a shard (created when new) and mark it dirty."""
        ...

    # --- adapters

    def next_number(self, shard_id: str) -> int:
        """Return the version number after the greatest one this shard ever had, from 1."""
        ...

    def promote(
        self,
        version: AdapterVersion,
        *,
        learning: Mapping[str, tuple[Learning, str]],
    ) -> AdapterVersion:
        """In one transaction: store the version as ACTIVE, retire the old one, settle the records, clean the shard."""
        ...

    def reject(self, version: AdapterVersion) -> None:
        """Store a version that did not pass, for the record."""
        ...

    def activate(self, shard_id: str, version_id: str | None) -> None:
        """Point a shard at an older version (rollback) or at none (disable)."""
        ...

    def versions(self, *, shard_id: str | None = None) -> list[AdapterVersion]:
        """Return adapter versions, oldest first."""
        ...

    def mark_purged(self, version_ids: Sequence[str]) -> None:
        """Remember that the files of these versions are deleted."""
        ...

    # --- forgetting

    def forget(self, record_ids: Sequence[str], *, may_return: bool = False) -> Mapping[str, Json]:
        """Remove the records' text, passages, vectors, FTS rows, self-edits in one transaction.

        Leaves a tombstone (salted hash) unless it may return, marks their shards dirty and masked, returns counts.
        """
        ...

    # --- keeping

    def clock(self) -> int:
        """Return the number of the newest event: it moves with every change, so caches know when to look again."""
        ...

    def meta(self, key: str) -> str | None:
        """Return a value of the meta table."""
        ...

    def set_meta(self, key: str, value: str) -> None:
        """Set a value of the meta table."""
        ...

    def counts(self) -> Mapping[str, Json]:
        """Return how many records per status, route and learning state, passages, queue, adapters, bytes."""
        ...

    def check(self) -> list[str]:
        """Return what is wrong with the database, one sentence each."""
        ...

    def backup(self, path: Path) -> None:
        """Write a consistent copy of the database to `path`."""
        ...

    def close(self) -> None:
        """Close every connection and give the writer lock back."""
        ...
