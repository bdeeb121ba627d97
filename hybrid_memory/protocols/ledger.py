"""What the ledger offers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Protocol

from hybrid_memory.protocols.shared import Filters
from hybrid_memory.types import (
    AdapterVersion,
    Decision,
    Draft,
    Entry,
    Event,
    FloatArray,
    IdArray,
    IngestReceipt,
    Json,
    Learning,
    Passage,
    Record,
    Scope,
    SelfEdit,
    Shard,
)

__all__ = ["Ledger"]


class Ledger(Protocol):
    """The truth: records, passages, self-edits, shards, adapters, queue, events. One writer at a time."""

    # --- writing records

    def write(self, entries: Sequence[Entry]) -> list[IngestReceipt]:
        """Store all entries in one transaction: record, slot, supersession, passages, queue, event.

        Durable when it returns. Idempotent by key and by content within a scope. What says what was forgotten is left
        out, unless its entry has `force`; its receipt is `forgotten`. Refused when a reindex has given the memory
        another encoder than the entries were embedded with.
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

    def current(self, record_ids: Sequence[str]) -> set[str]:
        """Return those of the ids whose records an adapter may speak for: they hold now and are not stale."""
        ...

    def told_before(self, scope: Scope, turns: Iterable[tuple[str, str | None]]) -> list[Record]:
        """Return what is recorded in the scope of turns: words, and the question they answer (None: none).

        Records that say these words, and such that state them anew, of any status but forgotten, in id order. Others
        that differ from them by a full stop or a capital may be among them.
        """
        ...

    def imported_before(self, rows: Iterable[Mapping[str, Json]]) -> list[Record]:
        """Return what is evidence now of rows of other memories' exports, each named by its metadata, in any scope.

        In id order of those of one row; metadata without an id of a row names none.
        """
        ...

    def find(
        self,
        *,
        scope: Scope | None,
        inside: bool = False,
        filters: Filters | None = None,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
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
            known_at: by what had been recorded then, as it was listed then; with `as_of` None, its own present.
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

    def visible(
        self,
        *,
        scope: Scope,
        filters: Filters | None = None,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
    ) -> IdArray:
        """Return the ids (int64, sorted) of the passages a query may see."""
        ...

    def visible_since(
        self, *, scope: Scope, filters: Filters | None = None, event: int, after: datetime
    ) -> tuple[int, datetime | None, IdArray, IdArray]:
        """Return the newest event, when the next record begins or ends, what changed, and what of it a query may see.

        A record changes by an event after `event`, or because its time began or ended after `after`; passages are
        named. Until the clock or the time moves on, nothing else changes.
        """
        ...

    def texts_after(self, passage_id: int, *, limit: int, sentences: bool = True) -> tuple[list[int], list[str]]:
        """Return ids and texts of the passages after an id, in id order; with or without sentences."""
        ...

    def passages(self, ids: Sequence[int], *, known_at: datetime | None = None) -> list[tuple[Passage, Record]]:
        """Return passages with their records, as these stood then, in the order of `ids`."""
        ...

    def first_passages(self, ids: Sequence[int]) -> dict[int, int]:
        """Return the id of a passage -> that of the first of its record, of those that are there."""
        ...

    def vectors_after(self, passage_id: int, *, limit: int) -> tuple[list[int], FloatArray]:
        """Return ids of the passages after an id, in id order, and the vectors by which they are found.

        A sentence is found by its own vector mixed with that of its text.
        """
        ...

    def vectors(self, ids: Sequence[int]) -> tuple[list[int], FloatArray]:
        """Return those of the passage ids that are there, in the order given, and their vectors, likewise."""
        ...

    def set_vectors(self, ids: Sequence[int], vectors: FloatArray, encoder: str) -> None:
        """Replace the stored vectors of passages (reindexing)."""
        ...

    def record_vectors(self, record_ids: Sequence[str]) -> tuple[list[str], FloatArray]:
        """Return the vector of every passage of the records, with the record id of each row; a sentence's own alone."""
        ...

    def removals_after(self, sequence: int) -> tuple[int, list[int]]:
        """Return the newest removal number and the ids of the passages removed after `sequence`."""
        ...

    # --- learning

    def pending(self, *, scope: Scope | None = None) -> list[Record]:
        """Return the records that wait for a window, oldest first, and are not leased."""
        ...

    def lease(self, record_ids: Sequence[str], *, worker: str, lease_s: float) -> list[str]:
        """Claim queue entries; return those that were free, a lease that ran out among them, or the worker's own."""
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

    def roll_back(self, targets: Mapping[str, str | None]) -> None:
        """In one transaction: let each shard serve the version named for it, or none.

        Records that a version knows come back to its shard, wherever they have moved since; other learned ones of
        these shards are declined.
        """
        ...

    def versions(self, *, shard_id: str | None = None) -> list[AdapterVersion]:
        """Return adapter versions, oldest first."""
        ...

    def mark_purged(self, version_ids: Sequence[str]) -> None:
        """Remember that the files of these versions are deleted."""
        ...

    # --- forgetting

    def forget(self, record_ids: Sequence[str], *, may_return: bool = False) -> Mapping[str, Json]:
        """Remove the records' text, passages, vectors, self-edits in one transaction.

        Leaves a tombstone (salted hash) unless it may return, marks their shards dirty and masked, returns counts.
        """
        ...

    def withdraw(self, record_ids: Sequence[str], sources: Collection[str]) -> list[str]:
        """Take sources from those of the records that others said too; return the ids of these, which stay.

        Another source takes their place: one that vouched, if there is one, or else trust falls to external.
        """
        ...

    def salt(self) -> str:
        """Return what hashes of this ledger's texts are keyed with: an unsalted hash of a short text can be guessed."""
        ...

    def empty_journal(self) -> bool:
        """Let what was forgotten go from the database's journal; False while somebody still reads from before."""
        ...

    # --- keeping

    def clock(self) -> int:
        """Return the number of the newest event: it moves with every change, so caches know when to look again."""
        ...

    def one_moment(self) -> AbstractContextManager[None]:
        """Let everything that this thread reads inside be of one moment; write nothing inside."""
        ...

    def moment(self, key: str) -> tuple[int, str | None]:
        """Return `clock()` and `meta(key)` as of one moment."""
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
