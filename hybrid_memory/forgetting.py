"""Forget records in both halves, and prove it.

Flow:    forget -> ledger and index at once; adapters that saw the records deleted; shards rebuilt now or next window
Imports: errors, types, protocols, receipts, upkeep, and the consolidation beside it.

Deletion from weights is exact because a shard is rebuilt from a ledger that no longer has the record;
approximate unlearning only hides (Deeb and Roger 2024, arXiv 2410.08827).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from hybrid_memory.answer_log import ANSWERED_FROM, AnswerLog
from hybrid_memory.arguments import listed
from hybrid_memory.audit import audit, is_extracted
from hybrid_memory.consolidation import Consolidation
from hybrid_memory.errors import ConfigError, InputError, NotFoundError
from hybrid_memory.protocols import Encoder, Filters, LanguageModel, Ledger, Progress, RemembersVectors, Retriever
from hybrid_memory.receipts import check, sign
from hybrid_memory.types import (
    OWN_WORDS,
    AdapterStatus,
    Answer,
    Audit,
    FloatArray,
    Json,
    Receipt,
    Record,
    Scope,
    Status,
    quoted,
)
from hybrid_memory.upkeep import Upkeep

__all__ = ["Forgetting"]

NOT_PROMISED = (
    "exports and backups made before",
    "what a PostgreSQL server keeps in its own log",
    "lessons of the outer loop: its journals, and the generator that was trained on them",
    "accepted answers of which no source is known (an adapter's alone, an agent's turn)",
    "copies that other programs or servers took (answers already given, adapters loaded elsewhere)",
    "what the base model knew before anything was ingested",
)


class Forgetting:
    """Carries out `memory.forget`, `purge` and `forget_audit`."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        retriever: Retriever,
        encoder: Encoder,
        upkeep: Upkeep,
        consolidation: Consolidation,
        answers: AnswerLog,
        forget_opinions: Callable[[Sequence[str]], int],
        language_model: Callable[[], LanguageModel],
        key: Callable[[], bytes | None],
    ) -> None:
        """`language_model` is called for the probe only: forgetting itself loads no model. `key` signs receipts.

        `forget_opinions` drops what a judge said about texts, and tells how often it did.
        """
        self._key = key
        self._ledger = ledger
        self._retriever = retriever
        self._encoder = encoder
        self._upkeep = upkeep
        self._consolidation = consolidation
        self._answers = answers
        self._forget_opinions = forget_opinions
        self._language_model = language_model

    def named(
        self, record_id: str | Sequence[str] | None, *, scope: Scope, filters: Filters | None, everywhere: bool = False
    ) -> list[Record]:
        """Return the records to forget, by id or by scope and filters; only ids find what is forgotten already.

        Without a scope filters reach everybody's knowledge, as in `list`; with `everywhere` all scopes.

        Raises:
            InputError: nothing is named, ids and filters are, or `everywhere` is not about filters alone.
            NotFoundError: a record id is unknown, or outside the scope.
        """
        if everywhere and (filters is None or record_id is not None or scope != Scope()):
            raise InputError("everywhere=True goes with filters alone: it forgets what they match in every scope")
        if record_id is not None:
            if filters is not None:
                raise InputError("give record ids or filters, not both")
            ids = [record_id] if isinstance(record_id, str) else record_id
            listed("forget", ids, "record ids, or one")
            return [self._inside(one, scope) for one in dict.fromkeys(ids)]
        if filters is None and scope == Scope():
            raise InputError("name what to forget: a record id, a scope, or filters; everything is never the default")
        inside = everywhere or scope != Scope()
        found = self._ledger.find(scope=scope, inside=inside, filters=filters, all_statuses=True)
        return [record for record in found if record.status is not Status.FORGOTTEN]

    def _inside(self, record_id: str, scope: Scope) -> Record:
        record = self._ledger.get(record_id)
        if not scope.covers(record.scope):
            raise NotFoundError(f"there is no record {quoted(record_id)} inside the scope that was given; leave it out")
        return record

    def forget(
        self,
        records: Sequence[Record],
        *,
        now: bool,
        by_source: bool = False,
        may_return: bool = False,
        progress: Progress | None = None,
    ) -> Receipt:
        """Remove the records and the accepted answers that stood on them; with `now`, rebuild the shards first.

        With `by_source` they were chosen by who said them: what others said too only loses that source. With
        `may_return` they may be said again: what ran out is not unwanted. Of records that are forgotten already
        the receipt says how things stand now, which completes one that was due.
        """
        key = self._key()  # a key that is no key must stop it here
        named = {record.id: record.source for record in records if by_source}
        spared = self._ledger.withdraw(list(named), set(named.values())) if named else []
        said = [text for record in records for text in _texts(record) if record.id not in spared or text != record.text]
        records = [record for record in records if record.id not in spared]
        derived = self._derived(records)
        records = [*records, *derived]
        ids = [record.id for record in records]
        already = {record.id for record in records if record.status is Status.FORGOTTEN}
        known = [version for version in self._ledger.versions() if not set(ids).isdisjoint(version.record_ids)]
        # These first: a process that dies later finds adapters and index by the ledger, but not these.
        answers = self._answers.forget(ids, [version.id for version in known])
        opinions = self._forget_opinions([*said, *(record.text for record in derived)])
        owners, vectors = self._ledger.record_vectors(ids)
        if isinstance(self._encoder, RemembersVectors):
            self._encoder.forget_vectors(vectors)
        removed = self._ledger.forget(ids, may_return=may_return)
        seen = [version for version in known if not already.isdisjoint(version.record_ids)]
        adapters = sorted({*_names(removed["adapters"]), *(version.id for version in seen)})
        shards = sorted({*_names(removed["shards"]), *(version.shard_id for version in seen)})
        answers += self._answers.forget(ids, adapters)  # what was answered between the two
        kept = [version for version in self._ledger.versions() if version.status is not AdapterStatus.PURGED]
        files, left = self._upkeep.delete([version for version in kept if version.id in adapters])
        self._retriever.catch_up()
        self._retriever.save()
        if now and (due := self._due(shards, adapters)):
            self._consolidation.run(shards=due, progress=progress)
        found = self._still_found(records, dict(zip(owners, vectors, strict=True)))
        counts = {name: removed[name] for name in ("passages", "vectors", "self_edits", "queue")}
        journal_due = not self._ledger.empty_journal()
        receipt = Receipt(
            records=tuple(ids),
            retrieval={
                **counts,
                "derived": [record.id for record in derived],
                "said_by_others": list(spared),
                "logged_answers": answers,
                "judge_opinions": opinions,
                "still_found": found,
                "journal_due": journal_due,
            },
            weights=self._weights(
                [record for record in records if record.id not in already],
                shards,
                adapters,
                files=files,
                left=left,
                probe=now,
            ),
            not_promised=NOT_PROMISED,
            at=datetime.now(UTC),
            already=tuple(one for one in ids if one in already),
        )
        return receipt if key is None else sign(receipt, key)

    def _derived(self, records: Sequence[Record]) -> list[Record]:
        """Return the accepted answers that stood on one of the records, or on such an answer."""
        accepted = self._ledger.find(
            scope=None, filters={f"metadata.{ANSWERED_FROM}": {"exists": True}}, all_statuses=True
        )
        gone = {record.id for record in records}
        derived: list[Record] = []
        for record in accepted:  # in the order in which they came: an answer stands on what was there before
            if record.id not in gone and not gone.isdisjoint(_names(record.metadata[ANSWERED_FROM])):
                gone.add(record.id)
                derived.append(record)
        return derived

    def purge(self, *, older_than_s: float) -> Receipt:
        """Remove what ran out at least so many seconds ago; it may be said again."""
        if isinstance(older_than_s, bool) or not isinstance(older_than_s, int | float) or not 0 <= older_than_s <= 1e10:
            raise InputError(f"older_than must be 0 to 1e10 seconds (three centuries), got {quoted(older_than_s)}")
        now = datetime.now(UTC)
        self._ledger.expire(now)
        ran_out = {"lte": (now - timedelta(seconds=older_than_s)).isoformat()}
        over: Filters = {"status": Status.EXPIRED.value, "expires_at": ran_out}
        records = self._ledger.find(scope=None, filters=over, all_statuses=True)
        return self.forget(records, now=False, may_return=True)

    def audit(self, texts: Sequence[str], controls: Sequence[str], *, scope: Scope) -> Audit:
        """Compare forgotten texts with controls under the adapters that serve in a scope; an empty one means all."""
        shards = self._ledger.shards(scope=None if scope == Scope() else scope)
        serving = {shard.active for shard in shards if not shard.masked}
        adapters = [version for version in self._ledger.versions() if version.id in serving]
        return audit(texts, controls, adapters=adapters, language_model=self._language_model)

    def check_receipt(self, receipt: Receipt | Mapping[str, Json]) -> bool:
        """Tell whether a receipt is word for word what was signed; see `receipts.check`."""
        key = self._key()
        if key is None:
            raise ConfigError("there is no key to check receipts with; set forget.key_file")
        return check(receipt, key)

    def forget_answers(self, answers: Sequence[Answer]) -> None:
        """Drop answers from the log whose sources or adapters were forgotten while they were written."""
        sources = sorted({hit.record.id for answer in answers for hit in answer.sources})
        gone = [one for one in sources if self._ledger.get(one).status is Status.FORGOTTEN]
        purged = [version.id for version in self._ledger.versions() if version.status is AdapterStatus.PURGED]
        used = {adapter for answer in answers for adapter in answer.adapters}
        if gone or used.intersection(purged):
            self._answers.forget(gone, sorted(used.intersection(purged)))

    def _still_found(self, records: Sequence[Record], vectors: Mapping[str, FloatArray]) -> int:
        """Probe the retrieval half: search for each record by its own words and vector; return how many are found."""
        found = 0
        for record in records:
            if record.id in vectors:
                hits = self._retriever.search(record.text, vector=vectors[record.id], scope=record.scope, top_k=10)
                found += any(hit.record.id == record.id for hit in hits)
        return found

    def _weights(
        self,
        records: Sequence[Record],
        shards: Sequence[str],
        adapters: Sequence[str],
        *,
        files: int,
        left: Sequence[str],
        probe: bool,
    ) -> dict[str, Json]:
        """Return the receipt's half for the weights; the probe asks only what is rebuilt already."""
        due = self._due(shards, adapters)
        return {
            "state": "due" if due else "rebuilt" if adapters else "clean",
            "shards": list(shards),
            "due": due,
            "due_when": "the next consolidation window; until then these shards have no adapter" if due else None,
            "adapters_deleted": [one for one in adapters if one not in left],
            "adapters_left": list(left),
            "files_deleted": files,
            "extracted": self._extracted(records) if probe and records and adapters and not due else None,
        }

    def _due(self, shards: Sequence[str], gone: Sequence[str]) -> list[str]:
        """Return those of the shards that still wait to be rebuilt without what the adapters that are gone knew."""
        asked = [shard for shard in self._ledger.shards() if shard.id in shards and shard.dirty]
        return [shard.id for shard in asked if shard.active is None or shard.active in gone]

    def _extracted(self, records: Sequence[Record]) -> int:
        """Probe the weights half: return how many records a serving adapter of their scope can still finish (0)."""
        active = [version for version in self._ledger.versions() if version.status is AdapterStatus.ACTIVE]
        count = 0
        for record in records:
            seen = {shard.id for shard in self._ledger.shards(scope=record.scope)}
            serving = [version for version in active if version.shard_id in seen]
            count += bool(serving) and is_extracted(record.text, serving, self._language_model())
        return count


def _texts(record: Record) -> list[str]:
    """Return what was said, and in which words the speaker had said it."""
    own = record.metadata.get(OWN_WORDS)
    return [record.text, own] if isinstance(own, str) else [record.text]


def _names(value: Json) -> tuple[str, ...]:
    return tuple(str(name) for name in value) if isinstance(value, list | tuple) else ()
