"""The ledger as the flow sees it: `protocols.Ledger` over SQLite or PostgreSQL.

Flow:    every method opens one transaction and hands its connection to the module that does the work.
Imports: protocols, types, and the other modules of the ledger.

Reading methods see one snapshot each and never wait. Writing methods hold the writer's lock while they run, are
durable when they return, and leave nothing behind when they raise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from hybrid_memory.ledger import (
    adapters,
    changes,
    copying,
    forgetting,
    keeping,
    learning,
    reading,
    searching,
    shards,
    writing,
)
from hybrid_memory.ledger.clock import from_micros, now_micros, to_micros
from hybrid_memory.ledger.database import Database
from hybrid_memory.ledger.forgetting import DUE, JOURNAL
from hybrid_memory.ledger.known import SALT
from hybrid_memory.ledger.schema import prepare
from hybrid_memory.protocols import Filters
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

__all__ = ["SqlLedger"]

PATIENCE_S = 0.2
"""How long forgetting waits for searches that began before it, so that the journal can go at once."""


class SqlLedger:
    """The truth, in one database. Safe to share between threads; several processes may open the same one."""

    def __init__(self, database: Database, *, adapters: Path | None = None) -> None:
        self._database = database
        self._adapters = adapters

    @classmethod
    def open(
        cls,
        url: str,
        *,
        lock_path: Path,
        lock_timeout_s: float,
        adapters: Path | None = None,
        former: Path | None = None,
    ) -> SqlLedger:
        """Open a ledger; the file, its folder and its tables are made when they are missing.

        Args:
            url: SQLAlchemy URL, such as "sqlite:////var/lib/acme/ledger.sqlite" or "postgresql://host/database".
            lock_path: file that SQLite's writers of all processes lock; next to the database.
            lock_timeout_s: how long a write waits for another process's write, in seconds, 0 or more.
            adapters: the folder where adapter versions lie now; a memory may have been moved or restored since
                their paths were written. None gives the paths as they were written.
            former: SQLite file whose content a new ledger takes over, if there is such a file (moving to a server).

        Raises:
            LedgerError: the database is damaged, another program's, written by a newer version, or new although
                there are adapters of an older one.
            MissingExtraError: PostgreSQL needs a package that is not installed.
            LockedError: another process kept the lock while the tables had to be made.
        """
        database = Database(url, lock_path=lock_path, lock_timeout_s=lock_timeout_s)
        if former is not None and database.file is not None and former.resolve() == database.file.resolve():
            former = None
        try:
            prepare(database, created=partial(copying.begin, name=database.name, former=former, adapters=adapters))
        except BaseException:
            database.close()
            raise
        ledger = cls(database, adapters=adapters)
        # a process that forgot something may have died, or closed while others were reading
        database.wipe_due = database.file is not None and ledger.meta(JOURNAL) == DUE
        return ledger

    # --- writing records

    def write(self, entries: Sequence[Entry]) -> list[IngestReceipt]:
        """Store all entries in one transaction and return a receipt for each, in order.

        What says what was forgotten is left out, unless its entry has `force`; its receipt is `forgotten`.

        Raises:
            InputError: an entry cannot be used; nothing was stored.
            IndexMismatchError: a reindex has changed the encoder since the entries were embedded; nothing was stored.
            NotFoundError: `supersedes` names no record; nothing was stored.
        """
        with self._database.writing() as connection:
            keeping.require_encoder(connection, {entry.encoder for entry in entries})
            return writing.write(connection, entries, now=now_micros())

    def confirmations(self, drafts: Sequence[Draft]) -> list[int]:
        """Return for each draft how many distinct other sources gave the same text in its scope."""
        with self._database.reading() as connection:
            return reading.confirmations(connection, drafts)

    def update(self, record_id: str, *, metadata: Mapping[str, Json] | None = None) -> Record:
        """Replace a record's metadata (None leaves it) and return the record."""
        if metadata is None:
            return self.get(record_id)
        with self._database.writing() as connection:
            return changes.set_metadata(connection, record_id, metadata, now=now_micros())

    def set_route(self, record_id: str, decision: Decision, reason: str) -> Record:
        """Move a record to another route and queue or unqueue it; out of quarantine it takes its slot's place."""
        with self._database.writing() as connection:
            return changes.set_route(connection, record_id, decision, reason, now=now_micros())

    def expire(self, now: datetime) -> list[str]:
        """Mark records whose time is over as expired, or superseded if a successor has begun; return their ids."""
        time = to_micros(now, "now")
        with self._database.reading() as connection:
            if not changes.anything_over(connection, now=time):
                return []  # the usual case, asked before every query: no need for the writer's lock
        with self._database.writing() as connection:
            return changes.expire(connection, now=time)

    # --- reading records

    def get(self, record_id: str) -> Record:
        """Return the record, whatever its status; NotFoundError when there is none."""
        with self._database.reading() as connection:
            return reading.get(connection, record_id)

    def current(self, record_ids: Sequence[str]) -> set[str]:
        """Return those of the ids whose records an adapter may speak for: they hold now and are not stale."""
        with self._database.reading() as connection:
            return reading.current(connection, record_ids)

    def told_before(self, scope: Scope, turns: Iterable[tuple[str, str | None]]) -> list[Record]:
        """Return what is recorded in the scope of turns (words, question): in these words, or stated anew."""
        with self._database.reading() as connection:
            return reading.told_before(connection, scope, turns)

    def imported_before(self, rows: Iterable[Mapping[str, Json]]) -> list[Record]:
        """Return what is evidence now of rows of other memories' exports, each named by its metadata."""
        with self._database.reading() as connection:
            return reading.imported_before(connection, rows)

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
        """Return records in id order; see `protocols.Ledger.find`. By default: those that are evidence now."""
        with self._database.reading() as connection:
            return reading.find(
                connection,
                scope=scope,
                inside=inside,
                filters=filters,
                as_of=as_of,
                known_at=known_at,
                all_statuses=all_statuses,
                limit=limit,
                after=after,
            )

    def history(self, record_id: str, *, after: int = 0, limit: int | None = None) -> list[Event]:
        """Return events of the record and of the values before and after it, oldest first; page by event id."""
        with self._database.reading() as connection:
            return reading.history(connection, record_id, after=after, limit=limit)

    def events(self, *, after: int = 0, limit: int = 1000) -> list[Event]:
        """Return at most `limit` events with an id greater than `after`, in order."""
        with self._database.reading() as connection:
            return reading.read_events(connection, after=after, limit=limit)

    # --- passages

    def visible(
        self,
        *,
        scope: Scope,
        filters: Filters | None = None,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
    ) -> IdArray:
        """Return the ids of the passages a query may see: shape (n,), int64, ascending."""
        with self._database.reading() as connection:
            return searching.visible(connection, scope=scope, filters=filters, as_of=as_of, known_at=known_at)

    def visible_since(
        self, *, scope: Scope, filters: Filters | None = None, event: int, after: datetime
    ) -> tuple[int, datetime | None, IdArray, IdArray]:
        """Return the newest event, when the next record begins or ends, what changed, and what of it a query may see.

        A record changes by an event with a number greater than `event`, or because its time began or ended
        after `after`; passages are named. With it, an answer of `visible` is brought up to date, and stays so
        until the clock or the time has moved on.
        """
        with self._database.reading() as connection:
            clock, until, touched, seen = searching.visible_since(
                connection,
                scope=scope,
                filters=filters,
                event=event,
                after=to_micros(after, "after"),
                now=now_micros(),
            )
        return clock, None if until is None else from_micros(until), touched, seen

    def texts_after(self, passage_id: int, *, limit: int, sentences: bool = True) -> tuple[list[int], list[str]]:
        """Return at most `limit` ids and texts of the passages after an id, in id order; with or without sentences."""
        with self._database.reading() as connection:
            return searching.texts_after(connection, passage_id, limit=limit, sentences=sentences)

    def passages(self, ids: Sequence[int], *, known_at: datetime | None = None) -> list[tuple[Passage, Record]]:
        """Return passages with their records, in the order of `ids`; forgotten ones are left out."""
        with self._database.reading() as connection:
            return searching.read_passages(connection, [int(key) for key in ids], known_at=known_at)

    def first_passages(self, ids: Sequence[int]) -> dict[int, int]:
        """Return the id of a passage -> that of the first of its record, of those that are there."""
        with self._database.reading() as connection:
            return searching.first_passages(connection, [int(key) for key in ids])

    def vectors_after(self, passage_id: int, *, limit: int) -> tuple[list[int], FloatArray]:
        """Return ids and vectors, shape (n, dim), of the passages after an id; stops where dim changes.

        A sentence's is that of the sentence in its text (`searching.CONTEXT`), as for `vectors`.
        """
        with self._database.reading() as connection:
            return searching.vectors_after(connection, passage_id, limit=limit)

    def vectors(self, ids: Sequence[int]) -> tuple[list[int], FloatArray]:
        """Return those of the passage ids that are there, in the order given, and their vectors, shape (n, dim)."""
        with self._database.reading() as connection:
            return searching.vectors(connection, ids)

    def set_vectors(self, ids: Sequence[int], vectors: FloatArray, encoder: str) -> None:
        """Replace the stored vectors of passages; `vectors` has one row per id."""
        with self._database.writing() as connection:
            searching.set_vectors(connection, ids, vectors, encoder)

    def record_vectors(self, record_ids: Sequence[str]) -> tuple[list[str], FloatArray]:
        """Return the vector of every passage of the records, with the record id of each row; a sentence's own alone."""
        with self._database.reading() as connection:
            return searching.record_vectors(connection, record_ids)

    def removals_after(self, sequence: int) -> tuple[int, list[int]]:
        """Return the newest removal number and the ids of the passages removed after `sequence`."""
        with self._database.reading() as connection:
            return searching.removals_after(connection, sequence)

    # --- learning

    def pending(self, *, scope: Scope | None = None) -> list[Record]:
        """Return the queued records inside the scope (None: all) that nobody has leased, oldest first."""
        with self._database.reading() as connection:
            return learning.pending(connection, scope, now=now_micros())

    def lease(self, record_ids: Sequence[str], *, worker: str, lease_s: float) -> list[str]:
        """Claim queue entries for `lease_s` seconds from now; return those that were free or its own."""
        with self._database.writing() as connection:
            now = now_micros()
            until = now + int(lease_s * 1_000_000)
            return learning.lease(connection, record_ids, worker=worker, until=until, now=now)

    def unlease(self, record_ids: Sequence[str], *, worker: str) -> None:
        """Give back the queue entries that this worker has claimed."""
        with self._database.writing() as connection:
            learning.unlease(connection, record_ids, worker=worker)

    def settle(self, *, learning: Mapping[str, tuple[Learning, str]]) -> None:
        """Set record id -> (learning state, detail) and take them off the queue."""
        with self._database.writing() as connection:
            _settle(connection, learning, now=now_micros())

    def save_self_edits(self, self_edits: Sequence[SelfEdit]) -> None:
        """Store material in place of what the same records had."""
        with self._database.writing() as connection:
            learning.save_self_edits(connection, self_edits, now=now_micros())

    def self_edits(self, record_ids: Sequence[str]) -> list[SelfEdit]:
        """Return stored material of the records, in their order; records without any are skipped."""
        with self._database.reading() as connection:
            return learning.read_self_edits(connection, record_ids)

    def shards(self, *, scope: Scope | None = None) -> list[Shard]:
        """Return the shards a query in this scope sees (None: all), by id."""
        with self._database.reading() as connection:
            return shards.read_shards(connection, scope)

    def shard_records(self, shard_id: str) -> list[Record]:
        """Return the shard's active records that are queued or learned, in id order."""
        with self._database.reading() as connection:
            return shards.shard_records(connection, shard_id)

    def assign(self, record_ids: Sequence[str], *, shard: Shard) -> None:
        """Put records into a shard (created when new) and mark it dirty."""
        with self._database.writing() as connection:
            shards.assign(connection, record_ids, shard, now=now_micros())

    # --- adapters

    def next_number(self, shard_id: str) -> int:
        """Return the version number after the greatest one this shard ever had, from 1."""
        with self._database.reading() as connection:
            return adapters.next_number(connection, shard_id)

    def promote(
        self,
        version: AdapterVersion,
        *,
        learning: Mapping[str, tuple[Learning, str]],
    ) -> AdapterVersion:
        """In one transaction: store the version as ACTIVE, retire the old one, settle the records, clean the shard.

        The shard stays dirty when its records changed while the version was trained.
        """
        with self._database.writing() as connection:
            return adapters.promote(connection, version, learning=learning, now=now_micros())

    def reject(self, version: AdapterVersion) -> None:
        """Store a version that did not pass, for the record."""
        with self._database.writing() as connection:
            adapters.reject(connection, version, now=now_micros())

    def activate(self, shard_id: str, version_id: str | None) -> None:
        """Point a shard at an older version (rollback; learning states follow) or at none (disable; they stay)."""
        with self._database.writing() as connection:
            adapters.activate(connection, shard_id, version_id, now=now_micros())

    def roll_back(self, targets: Mapping[str, str | None]) -> None:
        """In one transaction: let each shard serve the version named for it, or none; the records follow."""
        with self._database.writing() as connection:
            adapters.roll_back(connection, targets, now=now_micros())

    def versions(self, *, shard_id: str | None = None) -> list[AdapterVersion]:
        """Return adapter versions, oldest first."""
        with self._database.reading() as connection:
            found = adapters.versions(connection, shard_id)
        if self._adapters is None:
            return found
        return [replace(version, path=str(self._adapters / Path(version.path).name)) for version in found]

    def mark_purged(self, version_ids: Sequence[str]) -> None:
        """Remember that the files of these versions are deleted; AdapterError when one is active."""
        with self._database.writing() as connection:
            adapters.mark_purged(connection, version_ids, now=now_micros())

    # --- forgetting

    def forget(self, record_ids: Sequence[str], *, may_return: bool = False) -> Mapping[str, Json]:
        """Remove what the records said, in one transaction, and overwrite it on disk; return what went.

        With `may_return` no tombstone is left: what ran out may be said again, what was unwanted may not.

        Keys: "records", "passages", "vectors", "self_edits", "queue" (counts), "shards" (ids due for rebuilding),
        "adapters" (ids of versions whose files have seen a forgotten record).
        """
        with self._database.writing() as connection:
            counts = forgetting.forget(connection, record_ids, now=now_micros(), may_return=may_return)
        self._database.wipe(patience_s=PATIENCE_S)
        return counts

    def salt(self) -> str:
        """Return what hashes of this ledger's texts are keyed with; made at the first call."""
        found = self.meta(SALT)
        if found is not None:
            return found
        with self._database.writing() as connection:
            return forgetting.salt(connection)

    def withdraw(self, record_ids: Sequence[str], sources: Collection[str]) -> list[str]:
        """Take these sources from records that others said too; return the ids of those records."""
        with self._database.writing() as connection:
            return changes.withdraw(connection, record_ids, sources, now=now_micros())

    def empty_journal(self) -> bool:
        """Let old pages go that a reader had kept from being overwritten; tell whether none is left.

        Each write tries that too, and `close`. What a PostgreSQL server keeps is not counted.
        """
        if self._database.wipe_due and not self._database.wipe():
            return False
        if self.meta(JOURNAL) == DUE:
            self.set_meta(JOURNAL, "empty")
        return True

    # --- keeping

    def clock(self) -> int:
        """Return the number of the newest event, 0 before the first.

        It moves with every change of a record, shard or adapter; not with vectors, leases, material and meta values,
        and not when time alone makes a record begin or end.
        """
        with self._database.reading() as connection:
            return keeping.clock(connection)

    @contextmanager
    def one_moment(self) -> Iterator[None]:
        """Let everything that this thread reads inside be of one moment, and over one connection."""
        with self._database.reading():
            yield

    def moment(self, key: str) -> tuple[int, str | None]:
        """Return `clock()` and `meta(key)`, both as of one moment and in one query."""
        with self._database.reading() as connection:
            return keeping.moment(connection, key)

    def meta(self, key: str) -> str | None:
        """Return a value of the meta table, or None."""
        with self._database.reading() as connection:
            return keeping.read_meta(connection, key)

    def set_meta(self, key: str, value: str) -> None:
        """Set a value of the meta table."""
        with self._database.writing() as connection:
            keeping.set_meta(connection, key, value)

    def counts(self) -> Mapping[str, Json]:
        """Return records per "status", "route" and "learning", "adapters" per status, rows per table, "bytes"."""
        with self._database.reading() as connection:
            return keeping.counts(connection)

    def check(self) -> list[str]:
        """Return what is wrong with the database, one sentence each; empty when all is well."""
        with self._database.reading() as connection:
            return keeping.check(connection)

    def backup(self, path: Path) -> None:
        """Write a consistent copy to `path`, always as a SQLite file; readers and writers go on meanwhile."""
        copying.backup(self._database, path)

    def close(self) -> None:
        """Close every connection and give the writer lock back."""
        self._database.close()


_settle = learning.settle  # the protocol's parameter `learning` hides the module inside that method
